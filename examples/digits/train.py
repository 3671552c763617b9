"""Train a small neural network on the handwritten digits of scikit-learn, and say how good it is."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one chip is one core here

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 40

images, labels = load_digits(return_X_y=True)
train_images, test_images, train_labels, test_labels = train_test_split(
    images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels
)
print(f"{len(train_images)} digits to learn from, {len(test_images)} to be judged by", flush=True)

model = MLPClassifier(hidden_layer_sizes=(256, 128), batch_size=32, learning_rate_init=1e-3, random_state=0)
for epoch in range(1, EPOCHS + 1):
    model.partial_fit(train_images, train_labels, classes=np.arange(10))
    if epoch % 5 == 0 or epoch == 1:
        accuracy = model.score(test_images, test_labels)
        print(f"epoch {epoch:3d}/{EPOCHS}  loss {model.loss_:.4f}  accuracy {accuracy:.3f}", flush=True)

accuracy = model.score(test_images, test_labels)
print(f"final accuracy {accuracy:.3f}")
if accuracy < 0.95:
    raise SystemExit("the classifier did not learn: accuracy below 0.95")

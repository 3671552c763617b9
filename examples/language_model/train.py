"""A language model in plain NumPy: from the last 8 letters, guess the next. Prints the loss while it falls.

Saves its weights in `FLEXAI_CHECKPOINT_DIR` now and then: a later attempt goes on where the last one was.
"""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one chip is one core here

import numpy as np

CONTEXT, EMBEDDING, HIDDEN = 8, 16, 128
BATCH, STEPS, RATE = 128, 2400, 2e-3

text = Path("text.txt").read_text()
alphabet = sorted(set(text))
letters = np.array([alphabet.index(letter) for letter in text])
contexts = np.lib.stride_tricks.sliding_window_view(letters[:-1], CONTEXT)
targets = letters[CONTEXT:]
random = np.random.default_rng(7)


def new_weights():
    def normal(*shape, scale):
        return random.normal(0, scale, shape)

    inputs = CONTEXT * EMBEDDING
    return {
        "embedding": normal(len(alphabet), EMBEDDING, scale=0.5),
        "hidden": normal(inputs, HIDDEN, scale=inputs**-0.5),
        "hidden_bias": np.zeros(HIDDEN),
        "out": normal(HIDDEN, len(alphabet), scale=HIDDEN**-0.5),
        "out_bias": np.zeros(len(alphabet)),
    }


def forward(weights, batch):
    inputs = weights["embedding"][batch].reshape(len(batch), -1)
    hidden = np.tanh(inputs @ weights["hidden"] + weights["hidden_bias"])
    scores = hidden @ weights["out"] + weights["out_bias"]
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores)
    return inputs, hidden, chances / chances.sum(axis=1, keepdims=True)


def loss_and_slopes(weights, batch, wanted):
    inputs, hidden, chances = forward(weights, batch)
    rows = np.arange(len(batch))
    loss = -np.log(chances[rows, wanted] + 1e-12).mean()
    error = chances
    error[rows, wanted] -= 1
    error /= len(batch)
    back = (error @ weights["out"].T) * (1 - hidden**2)
    embedding = np.zeros_like(weights["embedding"])
    np.add.at(embedding, batch.ravel(), (back @ weights["hidden"].T).reshape(-1, EMBEDDING))
    return loss, {
        "embedding": embedding,
        "hidden": inputs.T @ back,
        "hidden_bias": back.sum(axis=0),
        "out": hidden.T @ error,
        "out_bias": error.sum(axis=0),
    }


def sample(weights, start, length):
    window = [alphabet.index(letter) for letter in start[-CONTEXT:]]
    made = start
    for _ in range(length):
        chances = forward(weights, np.array([window[-CONTEXT:]]))[2][0]
        window.append(int(random.choice(len(alphabet), p=chances)))
        made += alphabet[window[-1]]
    return made


checkpoint = Path(os.environ.get("FLEXAI_CHECKPOINT_DIR", ".")) / "weights.npz"
first_step, weights = 0, new_weights()
if checkpoint.exists():
    with np.load(checkpoint) as saved:
        first_step = int(saved["step"])
        weights = {name: saved[name] for name in weights}
    print(f"going on from step {first_step}")
means = {name: np.zeros_like(value) for name, value in weights.items()}
squares = {name: np.zeros_like(value) for name, value in weights.items()}
print(
    f"{len(text)} letters, {len(alphabet)} different; chance alone is a loss of {np.log(len(alphabet)):.3f}",
    flush=True,
)

recent = None
for step in range(first_step + 1, STEPS + 1):
    rows = random.integers(0, len(targets), BATCH)
    loss, slopes = loss_and_slopes(weights, contexts[rows], targets[rows])
    recent = loss if recent is None else 0.98 * recent + 0.02 * loss
    for name, slope in slopes.items():  # Adam
        means[name] += 0.1 * (slope - means[name])
        squares[name] += 0.001 * (slope**2 - squares[name])
        mean = means[name] / (1 - 0.9 ** (step - first_step))
        square = squares[name] / (1 - 0.999 ** (step - first_step))
        weights[name] -= RATE * mean / (np.sqrt(square) + 1e-8)
    if step % 200 == 0 or step == 1:
        print(f"step {step:5d}/{STEPS}  loss {recent:.3f}", flush=True)
    if step % 800 == 0:
        unfinished = checkpoint.with_name("unfinished.npz")
        np.savez(unfinished, step=step, **weights)
        unfinished.replace(checkpoint)

print("what it writes now:\n" + sample(weights, "Alice was ", 160))
if recent is not None and recent > 2.2:
    raise SystemExit("the model did not learn: loss above 2.2")

"""The steps of a small pipeline; they meet in one folder: noisy points, polynomials through them, the best of those."""

import json
import random
import sys
from pathlib import Path


def prepare(folder: Path) -> None:
    """Points of a parabola, with noise."""
    draw = random.Random(7)
    points = [(x / 10, 2 * (x / 10) ** 2 - (x / 10) + draw.gauss(0, 0.05)) for x in range(-10, 11)]
    (folder / "points.json").write_text(json.dumps(points))
    print(f"{len(points)} points")


def fit(folder: Path, degree: int) -> None:
    """The polynomial of this degree that lies nearest to the points, by gradient descent."""
    points = json.loads((folder / "points.json").read_text())
    weights = [0.0] * (degree + 1)
    for _ in range(4000):
        slopes = [0.0] * (degree + 1)
        for x, y in points:
            error = sum(weight * x**power for power, weight in enumerate(weights)) - y
            for power in range(degree + 1):
                slopes[power] += 2 * error * x**power / len(points)
        weights = [weight - 0.1 * slope for weight, slope in zip(weights, slopes, strict=True)]
    loss = sum((sum(w * x**p for p, w in enumerate(weights)) - y) ** 2 for x, y in points) / len(points)
    (folder / f"fit-{degree}.json").write_text(
        json.dumps({"degree": degree, "loss": loss, "weights": weights})
    )
    print(f"degree {degree}: loss {loss:.5f}")


def report(folder: Path) -> None:
    """Every fit, the nearest first."""
    fits = sorted(
        (json.loads(path.read_text()) for path in folder.glob("fit-*.json")), key=lambda fit: fit["loss"]
    )
    for one in fits:
        print(f"degree {one['degree']}: loss {one['loss']:.5f}")
    print(f"{len(fits)} fits; a line is not enough: {fits[-1]['degree'] == 1}")


if __name__ == "__main__":
    step, place, *degrees = sys.argv[1:]
    {"prepare": prepare, "fit": fit, "report": report}[step](Path(place), *map(int, degrees))

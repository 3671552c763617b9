"""Pi by throwing darts at a quarter of a circle. Saves what it has now and then, and once more when it has to go."""

import json
import os
import random
import time
from pathlib import Path

from flexai.client import preempted, progress

ROUNDS = int(os.environ.get("ROUNDS", "1000"))
DARTS = 20_000
SAVED_EVERY = 50

STATE = Path(os.environ.get("FLEXAI_CHECKPOINT_DIR", ".")) / "darts.json"


def main():
    rounds, hits = load()
    print(f"from round {rounds}, {hits} hits", flush=True)
    while rounds < ROUNDS and not preempted():
        begun = time.monotonic()
        hits += throw(random.Random(rounds))
        rounds += 1
        pi = 4 * hits / (rounds * DARTS)
        progress(rounds, loss=abs(pi - 3.141592653589793), throughput=DARTS / (time.monotonic() - begun))
        if rounds % SAVED_EVERY == 0:
            save(rounds, hits)
    save(rounds, hits)
    print(
        f"until round {rounds}, {hits} hits, pi is about {4 * hits / (rounds * DARTS or 1):.5f}", flush=True
    )


def throw(dice):
    return sum(dice.random() ** 2 + dice.random() ** 2 < 1 for _ in range(DARTS))


def load():
    if not STATE.exists():
        return 0, 0
    found = json.loads(STATE.read_text())
    return found["rounds"], found["hits"]


def save(rounds, hits):
    """Whole or not at all: whoever reads it finds one state or the other."""
    progress(checkpoint="saving")
    beside = STATE.with_suffix(".new")
    beside.write_text(json.dumps({"rounds": rounds, "hits": hits}))
    beside.replace(STATE)
    progress(checkpoint="saved")


main()

"""What a job says of itself, and hears, from inside (any program may do the same with the two files).

    from flexai.client import preempted, progress

    for step in range(first, last):
        loss = train_one_step()
        progress(step, loss=loss, throughput=samples_a_second)
        if step % 100 == 0 or preempted():
            progress(checkpoint="saving")
            save(os.environ["FLEXAI_CHECKPOINT_DIR"])
            progress(checkpoint="saved")
        if preempted():
            break

Outside a job nothing is told, and nobody is preempted. Needs the standard library alone.
"""

from __future__ import annotations

import atexit
import json
import operator
import os
import signal
import threading
import time
from typing import Literal, SupportsFloat, SupportsIndex

SHORTEST_SECONDS = 0.2
"""The file is written no more often, except for checkpoints; the last words are written when the program ends."""

Checkpoint = Literal["saving", "saved"]


class _Teller:
    """The words of this process, as the file has them or soon will."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: dict[str, object] = {}
        self._written_at = float("-inf")
        self._is_behind = False

    def tell(self, words: dict[str, object], *, at_once: bool) -> None:
        """The words add to those before."""
        with self._lock:
            self._words |= words
            self._is_behind = True
            if at_once or time.monotonic() - self._written_at >= SHORTEST_SECONDS:
                self._write()

    def last_step(self) -> object:
        """The step told last; None before the first."""
        return self._words.get("step")

    def finish(self) -> None:
        """Nothing is left unwritten."""
        with self._lock:
            if self._is_behind:
                self._write()

    def _write(self) -> None:
        path = os.environ.get("FLEXAI_PROGRESS_FILE")
        if not path:
            return
        self._written_at = time.monotonic()
        beside = f"{path}.new"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(json.dumps(self._words) + "\n")
            os.replace(beside, path)
        except OSError:
            return  # a full disk must not end a training run; the next words try again
        self._is_behind = False


_teller = _Teller()
atexit.register(_teller.finish)


def progress(
    step: SupportsIndex | None = None,
    *,
    throughput: SupportsFloat | None = None,
    loss: SupportsFloat | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """The job's page shows it within seconds, and the scheduler uses it: `throughput` (of the whole job, a second,
    in any unit) decides how many replicas an elastic job gets, `checkpoint="saved"` what it would cost to take its
    chips. What is left out stays as it was told before. Where several replicas tell, the first one is shown.

    Raises TypeError for what is no number, ValueError for another word than saving and saved.
    """
    words: dict[str, object] = {}
    if step is not None:
        words["step"] = operator.index(step)
    if throughput is not None:
        words["throughput"] = float(throughput)
    if loss is not None:
        words["loss"] = float(loss)
    if checkpoint is not None:
        words |= _checkpoint(checkpoint, words.get("step"))
    _teller.tell(words, at_once=checkpoint is not None)


def _checkpoint(said: Checkpoint, step: object) -> dict[str, object]:
    if said not in ("saving", "saved"):
        raise ValueError(f'checkpoint is "saving" or "saved", not {said!r}')
    if said == "saving":
        return {"checkpoint": said}
    at = _teller.last_step() if step is None else step
    return {"checkpoint": said, "checkpoint_at": time.time(), "checkpoint_step": at}


def preempted() -> bool:
    """True once the platform has asked for the chips: save, and end within the grace period of the spec.

    The platform also sends a signal, which ends a program that does not handle it. From the first call in the main
    thread on it does not, unless the job is cancelled; a handler that the program has of its own is left as it is.
    """
    path = os.environ.get("FLEXAI_PREEMPT_FILE")
    if path is None:
        return False
    _outlive_the_notice()
    return os.path.exists(path)


def _outlive_the_notice() -> None:
    number = getattr(signal, os.environ.get("FLEXAI_PREEMPT_SIGNAL", "SIGTERM"), signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
        signal.signal(number, _hear)


def _hear(number: int, _frame: object) -> None:
    """Of a notice the loop learns by `preempted`; without one the signal means what it always means."""
    if not os.path.exists(os.environ.get("FLEXAI_PREEMPT_FILE", "")):
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

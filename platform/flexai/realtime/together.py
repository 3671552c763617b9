"""Questions of many connections that are answered by one look at the database.

When a web process starts anew, every agent of the cluster comes at once: a transaction for each would take minutes, in
which those who wait give up and come again. Here one look is under way at a time and whoever comes meanwhile is in the
next, so that a crowd is let in as fast as the database takes it, in the order in which it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from flexai.common.errors import FlexaiError
from flexai.realtime.intake import AWAY
from flexai.realtime.threads import Threads

log = logging.getLogger(__name__)

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Look: TypeAlias = Callable[[Sequence[Question]], Sequence[Answer | FlexaiError]]


class Together(Generic[Question, Answer]):
    """Lives on the event loop; `look` runs on a thread and answers each question, in order, or refuses it."""

    def __init__(self, threads: Threads, look: Look[Question, Answer], *, most: int) -> None:
        self._threads = threads
        self._look = look
        self._most = most
        self._asked: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer. Raises the refusal, or what the look raised."""
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked.append((question, waiting))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await waiting

    async def _run(self) -> None:
        while self._asked:
            turn, self._asked = self._asked[: self._most], self._asked[self._most :]
            turn = [(question, waiting) for question, waiting in turn if not waiting.done()]
            if not await self._answer(turn):
                for one in turn:
                    await self._answer([one])

    async def _answer(self, turn: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> bool:
        """False when what one of several asks ends the look for all, and each is to be looked at alone."""
        if not turn:
            return True
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._threads.run(self._look, [question for question, _ in turn])
        except AWAY as error:
            answers = [error] * len(turn)
        except Exception as error:
            if len(turn) > 1:
                log.exception("%d connections could not be answered together; each is tried alone", len(turn))
                return False
            answers = [error]
        for (_, waiting), answer in zip(turn, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, BaseException):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
        return True

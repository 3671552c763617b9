"""Questions that wait are answered together, each by its own answer, and one that is bad costs the others nothing."""

from __future__ import annotations

import asyncio

import pytest
from django.db import OperationalError

from flexai.common.errors import FlexaiError, NotFound
from flexai.realtime.together import Together


class Here:
    """Runs it at once, but not before others have had their turn."""

    async def run(self, look, questions):
        await asyncio.sleep(0)
        return look(questions)


def asked(look, questions, *, most=100):
    """What each question came to: an answer or an exception."""

    async def run():
        together = Together(Here(), look, most=most)
        return await asyncio.gather(*(together.ask(one) for one in questions), return_exceptions=True)

    return asyncio.run(run())


def test_those_who_wait_are_answered_by_one_look_and_never_more_than_so_many():
    looks = []

    def look(questions):
        looks.append(list(questions))
        return [2 * one for one in questions]

    assert asked(look, range(25), most=10) == [2 * one for one in range(25)]
    assert looks == [list(range(10)), list(range(10, 20)), list(range(20, 25))]


def test_a_refusal_is_of_the_one_who_asked():
    answers = asked(lambda questions: [NotFound("no") if one == 1 else one for one in questions], range(3))
    assert answers[0::2] == [0, 2]
    assert isinstance(answers[1], FlexaiError)


def test_what_one_asks_may_end_the_look_and_the_others_are_answered():
    def look(questions):
        if 3 in questions:
            raise ValueError("three")
        return list(questions)

    answers = asked(look, range(5))
    assert [one for one in answers if not isinstance(one, ValueError)] == [0, 1, 2, 4]
    assert isinstance(answers[3], ValueError)


def test_a_database_that_is_away_is_told_to_all_and_not_asked_for_each():
    looks = []

    def look(questions):
        looks.append(questions)
        raise OperationalError("gone")

    assert all(isinstance(one, OperationalError) for one in asked(look, range(50)))
    assert len(looks) == 1


def test_who_has_left_is_not_asked_for():
    seen = []

    def look(questions):
        seen.extend(questions)
        return list(questions)

    async def run():
        together = Together(Here(), look, most=1)
        waiting = [asyncio.ensure_future(together.ask(one)) for one in range(3)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        assert await asyncio.gather(*waiting[:2]) == [0, 1]
        with pytest.raises(asyncio.CancelledError):
            await waiting[2]

    asyncio.run(run())
    assert seen == [0, 1]

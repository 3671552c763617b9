"""Replicas that wait for their secrets: taken up once the server has given them, refused where it says that it cannot.

Values are in memory alone, and only from the answer to the start. Nothing of such a replica is on disk before: an agent
that starts anew is told of it again and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from node_agent.protocol import SecretsGiven, WantedReplica
from node_agent.reconcile import Key


class Secrets:
    """What stands between the images and the executor."""

    def __init__(self, refuse: Callable[[WantedReplica, str, str], None]) -> None:
        """`refuse` ends a replica that never began, with an outcome and a sentence."""
        self._refuse = refuse
        self._waiting: dict[Key, WantedReplica] = {}
        self._here: dict[Key, Mapping[str, str]] = {}

    def ready(self, wanted: Iterable[WantedReplica], is_here: Callable[[Key], bool]) -> list[WantedReplica]:
        """Those that can be taken up now: they need no secrets, or have them, or are taken up already."""
        ready: list[WantedReplica] = []
        waiting: dict[Key, WantedReplica] = {}
        kept: dict[Key, Mapping[str, str]] = {}
        for replica in wanted:
            key = (replica.attempt, replica.replica, replica.generation)
            if not replica.secrets or replica.desired == "stop" or is_here(key):
                ready.append(replica)
            elif key in self._here:
                ready.append(replica)
                kept[key] = self._here[key]
            else:
                waiting[key] = replica
        self._waiting, self._here = waiting, kept
        return ready

    def lacking(self) -> list[Key]:
        """Those that wait."""
        return list(self._waiting)

    def give(self, given: SecretsGiven) -> None:
        """The replica can be taken up, or is refused; one that does not wait is left alone."""
        key = (given.attempt, given.replica, given.generation)
        wanted = self._waiting.pop(key, None)
        if wanted is None:
            return
        if given.refused:
            self._refuse(wanted, "start_failed", given.refused)
        elif not given.values.keys() >= set(wanted.secrets):
            self._refuse(wanted, "start_failed", "The server did not give all secrets that it asks for.")
        else:
            self._here[key] = given.values

    def take(self, wanted: WantedReplica) -> Mapping[str, str]:
        """The values of one that `ready` has just given; they are kept here no longer."""
        return self._here.pop((wanted.attempt, wanted.replica, wanted.generation), {})

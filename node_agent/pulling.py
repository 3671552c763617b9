"""Replicas that wait for their image: taken up once it is here, refused when it cannot be had, and told of meanwhile.

Nothing of them is on disk before: an agent that starts anew is told of them again and begins again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from node_agent.clocks import wall_ms
from node_agent.containers import Image
from node_agent.images import Failed, Images
from node_agent.outbox import Track
from node_agent.protocol import ReplicaReport, WantedReplica
from node_agent.reconcile import Key

NO_IMAGE = "no_image"
"""Outcome where nothing but another image would help."""


class Silence:
    """The log of what has not begun."""

    def read_log(self, offset: int, limit: int) -> bytes:
        """See `outbox.Source`."""
        return b""


class Pulling:
    """What stands between the wanted state and the executor."""

    def __init__(
        self, images: Images | None, on_change: Callable[[Track], None],
        refuse: Callable[[WantedReplica, str, str], None],
    ) -> None:  # fmt: skip
        """`on_change` is called for each track that has more to send; `refuse` ends a replica that never began, with an
        outcome and a sentence. Without `images` none are run here."""
        self._images = images
        self._on_change = on_change
        self._refuse = refuse
        self._told: dict[Key, str] = {}

    def ready(self, wanted: Iterable[WantedReplica], is_here: Callable[[Key], bool]) -> list[WantedReplica]:
        """Those that can be taken up now: they need no image, or it is here, or they are already."""
        ready: list[WantedReplica] = []
        waiting: dict[Key, str] = {}
        for replica in wanted:
            key = (replica.attempt, replica.replica, replica.generation)
            if not replica.image or replica.desired == "stop" or is_here(key) or self._has_image(replica):
                ready.append(replica)
            elif self._images is not None and not is_here(key):
                waiting[key] = self._images.said(replica.image)
        for key, sentence in waiting.items():
            if self._told.get(key) != sentence:
                self._tell(key, sentence)
        self._told = waiting
        return ready

    def image_of(self, wanted: WantedReplica) -> Image | None:
        """The image of one that `ready` has just given."""
        return self._images.known(wanted.image) if self._images is not None else None

    def _has_image(self, wanted: WantedReplica) -> bool:
        if self._images is None:
            self._refuse(wanted, "start_failed", "This node runs no images.")
            return False
        found = self._images.find(wanted.image)
        if isinstance(found, Failed):
            self._refuse(wanted, NO_IMAGE if found.is_final else "start_failed", found.sentence)
            return False
        return found is not None

    def _tell(self, key: Key, sentence: str) -> None:
        attempt, replica, generation = key
        track = Track(key, Silence())
        track.add(
            ReplicaReport(
                attempt=attempt, replica=replica, generation=generation, state="starting", at=wall_ms(),
                note="pulling", sentence=sentence,
            )
        )  # fmt: skip
        self._on_change(track)

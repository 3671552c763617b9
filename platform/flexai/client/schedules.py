"""Schedules: specs of which jobs are made at the instants of a cron expression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from flexai.client.transport import Transport
from flexai.client.types import Schedule, Spec


class Schedules:
    """The schedules that the token may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: Spec) -> Schedule:
        """Jobs of this spec are made from now on, as its `schedule` says. Raises InvalidInput, NeverFits, Conflict."""
        return cast("Schedule", self._transport.send("POST", "/schedules", body=spec))

    def list(self, *, team: str | None = None, limit: int | None = None) -> Iterator[Schedule]:
        """Every schedule, newest first; at most `limit`."""
        return self._transport.pages("/schedules", limit=limit, team=team)

    def get(self, schedule_id: str) -> Schedule:
        """One schedule. Raises NotFound."""
        return cast("Schedule", self._transport.get(f"/schedules/{schedule_id}"))

    def pause(self, schedule_id: str) -> Schedule:
        """Nothing is made until it is resumed."""
        return cast("Schedule", self._transport.send("POST", f"/schedules/{schedule_id}/pause", body={}))

    def resume(self, schedule_id: str) -> Schedule:
        """Its next job is made at the next instant from now."""
        return cast("Schedule", self._transport.send("POST", f"/schedules/{schedule_id}/resume", body={}))

    def delete(self, schedule_id: str) -> None:
        """It makes no more jobs; those it made stay."""
        self._transport.send("DELETE", f"/schedules/{schedule_id}")

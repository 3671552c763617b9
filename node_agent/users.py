"""One unprivileged user per organization, for an agent with root. The map is kept, so that files stay readable."""

from __future__ import annotations

import json
import os
from pathlib import Path

FIRST_UID = 200_000
LAST_UID = 265_535
"""A range that no distribution gives to people or services; one organization each."""


class Users:
    """Organization → uid (and gid of the same number)."""

    def __init__(self, path: Path) -> None:
        """Read the map from `path`, if there is one. Raises `ValueError` when it is damaged."""
        self._path = path
        self._uids: dict[str, int] = {}
        if path.exists():
            loaded = json.loads(path.read_text())
            if not isinstance(loaded, dict) or len(set(loaded.values())) != len(loaded):
                raise ValueError(f"{path} is damaged: two organizations would share a user")
            self._uids = {str(name): int(uid) for name, uid in loaded.items()}

    def uid_of(self, organization: str) -> int:
        """The organization's user, given to it for ever at the first call. Raises `OSError` when it cannot be kept."""
        uid = self._uids.get(organization)
        if uid is None:
            uid = max(self._uids.values(), default=FIRST_UID - 1) + 1
            if uid > LAST_UID:
                raise OSError(f"more than {LAST_UID - FIRST_UID + 1} organizations on one node")
            self._keep({**self._uids, organization: uid})
        return uid

    def _keep(self, uids: dict[str, int]) -> None:
        beside = self._path.with_suffix(".new")
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(uids, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        self._uids = uids

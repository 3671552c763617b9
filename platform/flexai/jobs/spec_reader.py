"""Reads one object of a spec field by field, and collects what is wrong instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from flexai.common.errors import FieldError
from flexai.jobs import quantities
from flexai.jobs.quantities import Wrong, said
from flexai.jobs.vocabulary import BUILT, nearest, unknown_key

T = TypeVar("T")

MAX_ERRORS = 100
"""More are not told: whoever sends so many does not read them."""
MAX_PATH = 255
_SLUG = re.compile(r"[a-zA-Z0-9_-]{1,63}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_RESERVED_ENV = "FLEXAI_"
_SIMULATION_ENV = "FLEXAI_SIMULATE_"
"""Meant to be set: tells a simulated node how the job goes there, and nothing to any other."""


class Reader:
    """One object of the spec at `where` ("" is the top); inner readers share errors and roundings."""

    def __init__(
        self, raw: Mapping[str, Any], where: str = "", parent: Reader | None = None, kind: str | None = None
    ) -> None:
        self.raw = raw
        self.where = where
        self.kind = where if kind is None else kind
        """By which the vocabulary knows its keys; where it stands, but for the items of lists."""
        self.errors: list[FieldError] = parent.errors if parent else []
        self.roundings: list[str] = parent.roundings if parent else []

    def only_known(self) -> None:
        """Reports every key that has no place here."""
        known = BUILT[self.kind]
        for key in self.raw:
            if len(self.errors) >= MAX_ERRORS:
                break
            if key not in known:
                self._add(unknown_key(key, self.where, self.kind))

    def inside(self, key: str) -> Reader:
        """The reader of the object under `key`; empty when it is absent or no object."""
        given = self.raw.get(key)
        if given is not None and not isinstance(given, Mapping):
            self.wrong(key, f"must be an object, not {said(given)}")
            given = None
        inner = Reader(given or {}, key, self)
        inner.only_known()
        return inner

    def wrong(self, key: str, message: str, hint: str = "") -> None:
        """Reports the field `key` of this object."""
        self._add(FieldError(self._path(key), message, hint))

    def rounded(self, sentence: str) -> None:
        """Notes a rounding, to be shown."""
        self.roundings.append(sentence)

    def checked(self, key: str, value: object, check: Callable[[object], T], otherwise: T) -> T:
        """What `check` makes of the value; on Wrong it is reported and `otherwise` stands in."""
        try:
            return check(value)
        except Wrong as error:
            self.wrong(key, error.message, error.hint)
            return otherwise

    def read(self, key: str, check: Callable[[object], T]) -> T | None:
        """The checked value, or None when the field is absent."""
        given = self.raw.get(key)
        if given is None:
            return None
        try:
            return check(given)
        except Wrong as error:
            self.wrong(key, error.message, error.hint)
            return None

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        found = self.read(key, lambda value: quantities.whole(value, least, most))
        return default if found is None else found

    def wholes(self, key: str, least: int, most: int, at_most: int) -> list[int]:
        items = self._list(key, at_most)
        return [
            self.checked(key, item, lambda value: quantities.whole(value, least, most), least)
            for item in items
        ]

    def duration(self, key: str, default: Any, *, least: int, most: int = quantities.MAX_DURATION_MS) -> Any:
        found = self.read(key, lambda value: quantities.duration_ms(value, least=least, most=most))
        return default if found is None else found

    def flag(self, key: str, default: bool) -> bool:
        given = self.raw.get(key)
        if given is None:
            return default
        if not isinstance(given, bool):
            self.wrong(key, f"must be true or false, not {said(given)}")
            return default
        return given

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        given = self.raw.get(key)
        if given is None:
            return default
        return self._one_of(key, given, known, default)

    def choices(self, key: str, known: Sequence[str], default: Sequence[str]) -> list[str]:
        if self.raw.get(key) is None:
            return list(default)
        return sorted({self._one_of(key, item, known, known[0]) for item in self._list(key, len(known))})

    def line(self, key: str, default: str, most: int) -> str:
        """One printable line."""
        given = self.raw.get(key)
        if given is None:
            return default
        if not isinstance(given, str) or not given.strip() or len(given) > most or not given.isprintable():
            self.wrong(key, f"must be 1 to {most} printable characters on one line, not {said(given)}")
            return default
        return given.strip()

    def slug(self, key: str) -> str:
        """A name such as a team's; "" when absent."""
        given = self.raw.get(key)
        return "" if given is None else self._slug(key, given)

    def slugs(self, key: str, at_most: int) -> list[str]:
        given = self.raw.get(key)
        items = [given] if isinstance(given, str) else self._list(key, at_most)
        return list(dict.fromkeys(self._slug(key, item) for item in items))

    def text_at(self, path: str, value: object, max_bytes: int, *, filled: bool = False) -> str:
        """Text for a process: any but NUL and broken Unicode; `path` is the whole path."""
        if not isinstance(value, str):
            self._add(FieldError(path, f"must be text, not {said(value)}"))
            return ""
        if filled and not value.strip():
            self._add(FieldError(path, "is empty"))
        elif "\0" in value:
            self._add(FieldError(path, "holds a NUL character"))
        elif not _is_unicode(value):
            self._add(FieldError(path, "holds half a surrogate pair, which is no character"))
        elif len(value.encode()) > max_bytes:
            self._add(FieldError(path, f"has more than {max_bytes // 1024} KiB"))
        return value

    def environment(self, key: str, at_most: int) -> dict[str, str]:
        """Names and texts; whole numbers become text, other values have to be quoted."""
        made: dict[str, str] = {}
        for name, value in self._map(key, at_most).items():
            path = f"{key}.{said_key(name)}"
            if why := why_no_variable(name):
                self._add(FieldError(path, *why))
            else:
                made[name] = self._value(path, value, 128 * 1024)
        return made

    def labels(self, key: str, at_most: int) -> dict[str, str]:
        made: dict[str, str] = {}
        for name, value in self._map(key, at_most).items():
            path = f"{key}.{said_key(name)}"
            if not isinstance(name, str) or not _LABEL.fullmatch(name):
                self._add(FieldError(path, "is no label", "use up to 63 letters, digits, . _ / -"))
                continue
            text = self._value(path, value, 1024)
            if len(text) > 200 or not (text.isprintable() or not text):
                self._add(FieldError(path, "must be at most 200 printable characters"))
            made[name] = text
        return made

    def files(self, key: str, at_most: int, max_bytes: int) -> dict[str, str]:
        """Relative paths, each inside the job's folder, none under another file, and their texts."""
        made: dict[str, str] = {}
        for name, value in self._map(key, at_most).items():
            path = f"{key}.{said_key(name)}"
            why = why_no_path(name)
            if why:
                self._add(FieldError(path, why, "give a path below the job's folder, such as src/train.py"))
                continue
            made[str(name)] = self.text_at(path, value, max_bytes)
        for name in made:
            for above in PurePosixPath(name).parents:
                if str(above) in made:
                    self._add(
                        FieldError(f"{key}.{said_key(name)}", f"{str(above)!r} is a file, not a folder")
                    )
        return made

    def folder(self, key: str) -> str:
        """A folder: absolute, or below the job's own; "" when absent."""
        given = self.raw.get(key)
        if given is None:
            return ""
        path = given.rstrip("/") or "/" if isinstance(given, str) else given
        why = why_no_path(path.lstrip("/") or "root" if isinstance(path, str) else path, most=4096)
        if why:
            self.wrong(key, why, "give an absolute folder, or one below the job's own")
            return ""
        return str(path)

    def patterns(self, key: str, at_most: int) -> list[str]:
        """Relative paths with wildcards, each inside the working directory; one alone may stand without a list."""
        given = self.raw.get(key)
        made: dict[str, None] = {}
        for position, item in enumerate([given] if isinstance(given, str) else self._list(key, at_most)):
            where = key if isinstance(given, str) else f"{key}.{position}"
            plain = item.removeprefix("./").rstrip("/") if isinstance(item, str) else item
            why = why_no_path(plain)
            if why:
                self._add(
                    FieldError(self._path(where), why, "give a path below the working directory: results/**")
                )
            else:
                made[str(plain)] = None
        return list(made)

    def _value(self, path: str, value: object, max_bytes: int) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
            return str(value)
        if not isinstance(value, str):
            self._add(FieldError(path, f"must be text, not {said(value)}", "put it in quotes"))
            return ""
        return self.text_at(path, value, max_bytes)

    def _one_of(self, key: str, given: object, known: Sequence[str], default: str) -> str:
        if isinstance(given, str) and given in known:
            return given
        hint = nearest(given, known) if isinstance(given, str) else f"give {', '.join(known)}"
        self.wrong(key, f"{said(given)} is not one of {', '.join(known)}", hint)
        return default

    def _slug(self, key: str, given: object) -> str:
        if isinstance(given, str) and _SLUG.fullmatch(given):
            return given
        self.wrong(key, f"{said(given)} is no name", "use up to 63 letters, digits, _ and -")
        return ""

    def _list(self, key: str, at_most: int) -> list[Any]:
        given = self.raw.get(key)
        if given is None:
            return []
        if not isinstance(given, list) or len(given) > at_most:
            self.wrong(key, f"must be a list of at most {at_most}, not {said(given)}")
            return []
        return given

    def _map(self, key: str, at_most: int) -> Mapping[Any, Any]:
        given = self.raw.get(key)
        if given is None:
            return {}
        if not isinstance(given, Mapping) or len(given) > at_most:
            self.wrong(key, f"must be an object with at most {at_most} entries, not {said(given)}")
            return {}
        return given

    def _path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _add(self, error: FieldError) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)


def why_no_variable(name: object) -> tuple[str, str] | None:
    """What is wrong with it as a variable of a job, and what would be right; None when nothing is."""
    if not isinstance(name, str) or not _ENV.fullmatch(name):
        return "is no name of a variable", "use letters, digits and _"
    if name.startswith(_RESERVED_ENV) and not name.startswith(_SIMULATION_ENV):
        return f"names beginning with {_RESERVED_ENV} are the platform's own", ""
    return None


def said_key(key: object) -> str:
    """A key as a path shows it: short and printable."""
    text = str(key)[:60]
    return text if text.isprintable() else repr(text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def why_no_path(name: object, most: int = MAX_PATH) -> str:
    """What is wrong with it as a path below a folder; "" when nothing is."""
    if not isinstance(name, str) or not name or not name.isprintable():
        return "is no path"
    if len(name.encode()) > most:
        return f"is longer than {most} bytes"
    if name.startswith(("/", "~")) or "\\" in name:
        return "must be relative, with / between folders"
    parts = name.split("/")
    if ".." in parts:
        return "may not leave the job's folder with .."
    if "" in parts or "." in parts:
        return "has an empty or . part"
    return ""

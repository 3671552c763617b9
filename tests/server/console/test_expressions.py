"""The console's theme works without evaluating text: Alpine comes in its build for that, and what it cannot read is
known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import unfold
from django.contrib.staticfiles import finders

from flexai import console

ALPINE = "unfold/js/alpine/alpine.js"
_ATTRIBUTES = re.compile(r"""\s(?:x-[a-z.:-]+|[:@][a-z.:-]+)=(?:"([^"]*)"|'([^']*)')""")
_TAGS = re.compile(r"{[%{].*?[%}]}", re.DOTALL)
_STATEMENTS = re.compile(r"=>|;\s*\S|^if\b|\bnew\b|`")

REWRITTEN = {
    "activeTab = getCurrentTab() || ''''; $watch('sidebarDesktopOpen', value => "
    "localStorage.setItem('sidebarDesktopOpen', value ? '1' : '0'));",
    "sidebarDesktopOpen = !sidebarDesktopOpen; localStorage.setItem('sidebarDesktopOpen', "
    "sidebarDesktopOpen ? '1' : '0');",
    "if (!$event.metaKey && !$event.ctrlKey) selectItem(truefalse, false)",
}
"""By `expressions.js`, into what the build can read."""
NOT_SHOWN = {
    "openSearchResults = true; currentIndex = 0",
    "openSearchResults = false; if ($refs.searchInput.value === '') { $refs.searchInput.blur() } else "
    "{ $refs.searchInput.value = '' }",
}
"""Of a search field in the side bar, which the console does not have."""


def test_alpine_is_the_build_that_evaluates_nothing_and_is_what_its_makers_gave_out() -> None:
    found = finders.find(ALPINE)
    assert found is not None
    path = Path(found)
    assert path.is_relative_to(Path(console.__file__).parent), "ours comes before the theme's"
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() in path.with_name("README.md").read_text()
    assert b"CSP Parser Error" in content
    assert not re.search(rb"new Function|AsyncFunction|\beval\(", content)


def test_what_the_build_cannot_read_is_rewritten_or_not_shown() -> None:
    """A new release of the theme with another such expression fails here. Its further packages are not installed."""
    found = {text for text in _expressions() if _STATEMENTS.search(text)}
    assert found == REWRITTEN | NOT_SHOWN


def _expressions() -> Iterator[str]:
    for folder in (Path(unfold.__file__).parent, Path(console.__file__).parent):
        for page in folder.rglob("*.html"):
            if "contrib" not in page.parts:
                for either in _ATTRIBUTES.findall(_TAGS.sub("", page.read_text())):
                    yield " ".join("".join(either).split())

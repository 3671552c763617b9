"""Our pages of the console use the classes that its stylesheet has: it is built from its own pages, not from ours."""

from __future__ import annotations

import re
from pathlib import Path

import unfold

from flexai import console

_TAGS = re.compile(r"{[%{].*?[%}]}", re.DOTALL)
_CLASSES = re.compile(r'class="([^"]*)"')
_SELECTORS = re.compile(r"\.((?:\\.|[\w-])+)")


def test_every_class_of_our_pages_has_a_style() -> None:
    sheet = Path(unfold.__file__).parent / "static/unfold/css/styles.css"
    styled = {re.sub(r"\\(.)", r"\1", name) for name in _SELECTORS.findall(sheet.read_text())}
    used = {
        (page.name, name)
        for page in Path(console.__file__).parent.rglob("*.html")
        for classes in _CLASSES.findall(_TAGS.sub(" ", page.read_text()))
        for name in classes.split()
    }
    assert len(used) > 50, "pages were found"
    assert sorted((page, name) for page, name in used if name not in styled) == []

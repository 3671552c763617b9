"""`flexai login` from a browser: a code is shown here, and typed there by who is signed in."""

from __future__ import annotations

import os
import sys
import webbrowser
from urllib.parse import urlsplit

from rich.text import Text

from flexai.cli import output
from flexai.cli.exits import NOT_ALLOWED, Refusal
from flexai.client import NotFound, Problem, SignIn, UnexpectedAnswer, WaitTimeout, begin_sign_in


def sign_in_by_browser(url: str, machine: str, *, opens: bool) -> str:
    """A token of whoever confirms the code in a browser, which is opened where there is one. Raises Refusal where it
    was refused or nobody came."""
    try:
        begun = begin_sign_in(url, machine)
    except NotFound:
        raise Refusal(
            f"{url} knows no sign-in by browser.",
            hint="Sign in with a password (`--username NAME`) or a token (`--token -`).",
        ) from None
    if urlsplit(begun.page).scheme not in ("http", "https"):
        raise UnexpectedAnswer(f"{url} named {output.printable(begun.page)!r}, which is no page.")
    _show(begun, is_open=opens and _open(begun.page))
    try:
        return begun.token()
    except WaitTimeout as error:
        raise Refusal(str(error), exit_code=NOT_ALLOWED, code="expired_token") from None
    except Problem as problem:
        if problem.code not in ("access_denied", "expired_token"):
            raise
        raise Refusal(problem.detail, exit_code=NOT_ALLOWED, code=problem.code) from None


def _show(begun: SignIn, *, is_open: bool) -> None:
    page, code = output.printable(begun.page), output.printable(begun.code)
    how = "The page is opening in your browser" if is_open else "Open this page in a browser"
    lines = Text.assemble(
        f"{how}:  ", (page, "bold"), "\nand type there this code:  ", (code, f"bold {output.hue('running')}"),
        ("\nWaiting until you confirm; Ctrl-C stops.", "dim"),
    )  # fmt: skip
    output.err().print(lines)


def _open(page: str) -> bool:
    """Whether a browser with windows was started; one that draws into this terminal would cover the code."""
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    try:
        return has_screen and webbrowser.open(page)
    except (webbrowser.Error, OSError):
        return False

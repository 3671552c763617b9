"""The live platform, and a browser signed in to it, are there for every end-to-end test."""

from tests.support.browser import chromium, dark_page, page, session
from tests.support.platform import platform

__all__ = ["chromium", "dark_page", "page", "platform", "session"]

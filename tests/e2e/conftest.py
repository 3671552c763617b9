"""The live platform is there for every end-to-end test."""

from tests.support.platform import platform

__all__ = ["platform"]

"""Builds the dashboard into the wheel; an editable install builds it too. Filled by the frontend."""

from __future__ import annotations

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FrontendBuildHook(BuildHookInterface):  # type: ignore[misc]
    PLUGIN_NAME = "custom"

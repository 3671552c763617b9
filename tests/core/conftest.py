"""Hypothesis under mutation testing: a failure is enough, the smallest one is not looked for."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("mutation", phases=(Phase.explicit, Phase.generate), database=None, deadline=None)

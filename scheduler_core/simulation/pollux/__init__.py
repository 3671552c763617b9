"""Elastic training on the Pollux workloads: the published simulator rebuilt, and the engine's rule on it (E1)."""

from scheduler_core.simulation.pollux.command import register, run

__all__ = ["register", "run"]

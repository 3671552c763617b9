"""Workloads replayed in time under a virtual clock: baselines and the engine in one table."""

from scheduler_core.simulation.replay.commands import register, run

__all__ = ["register", "run"]

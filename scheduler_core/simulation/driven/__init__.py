"""The engine itself on a simulated cell: `scheduler_core.Scheduler`, told by its feed what happens."""

from scheduler_core.simulation.driven.driving import Driven, Run, drive

__all__ = ["Driven", "Run", "drive"]

"""The engine itself on a simulated cell: `scheduler_core.Scheduler`, told by its feed what happens."""

from scheduler_core.simulation.driven.driving import Driven, Engine, Run, drive
from scheduler_core.simulation.driven.keeping import Keeping

__all__ = ["Driven", "Engine", "Keeping", "Run", "drive"]

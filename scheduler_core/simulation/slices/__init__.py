"""Useful utilisation under backlog: slices against whole chips (figure 4)."""

from scheduler_core.simulation.slices.command import register, run

__all__ = ["register", "run"]

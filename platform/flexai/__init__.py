"""Flexai: teams submit jobs, a scheduler assigns and reassigns chips by live demand."""

__version__ = "0.1.0"

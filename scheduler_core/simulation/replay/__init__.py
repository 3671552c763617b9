"""Workloads replayed in time under a virtual clock: baselines and the engine in one table."""

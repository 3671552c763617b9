"""Snapshot, feed, apply, cycles and verdicts. Owns no scheduling rule: those live in `scheduler_core`."""

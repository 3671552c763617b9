"""Ids, clock, errors, events: words without business meaning, used by every app."""

"""What the platform does in numbers. Each module is a command: `python -m benchmarks.NAME --json`.

Each starts a platform of its own with `flexai up` in an empty folder (PostgreSQL with fsync and
synchronous_commit on), measures through the public API as a user would, and stops it.
`python -m benchmarks` runs all.
"""

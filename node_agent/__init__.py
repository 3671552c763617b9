"""The daemon on each node: chips, shims, telemetry, logs. It executes what is wanted; it decides nothing."""

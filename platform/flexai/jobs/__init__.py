"""Job spec, jobs, attempts, replicas, allocations, events, logs, and the moves between their states."""

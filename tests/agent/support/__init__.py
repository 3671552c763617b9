"""What the agent's tests share: a small real server, and agents as real processes."""

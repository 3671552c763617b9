"""Sockets: agents (plain ASGI) and browsers (Channels), fed by one hub per web process. Knows no rule of its own."""

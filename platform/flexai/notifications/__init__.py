"""Telling the world outside: webhooks and mail, from an outbox that is written where things happen."""

"""Wiring only: settings, urls, asgi, celery. The Celery application exists wherever the settings are read."""

from flexai.config.celery import app as celery_app

__all__ = ["celery_app"]

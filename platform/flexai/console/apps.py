from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "flexai.console"
    default_auto_field = "django.db.models.BigAutoField"

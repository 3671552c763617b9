from django.apps import AppConfig
from django.core.checks import Tags, register

from flexai.console.checks import check_second_factor


class ConsoleConfig(AppConfig):
    name = "flexai.console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        register(check_second_factor, Tags.security, deploy=True)

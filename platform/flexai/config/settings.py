"""Settings, all from the environment; the names are listed in `docs/operations.md`."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from flexai.config.mail import mail_settings
from flexai.console.look import UNFOLD as UNFOLD
from flexai.tenancy.roles import Role

PACKAGE = Path(__file__).resolve().parent.parent


def _flag(name: str, default: str = "0") -> bool:
    return os.environ.get(name, default).lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def _group_roles(text: str) -> list[tuple[str, str, str, str]]:
    """`GROUP=ORGANIZATION/TEAM:ROLE, GROUP=ORGANIZATION:ROLE` as (group, organization, team or nothing, role)."""
    found = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        group, _, place = item.rpartition("=")
        where, _, role = place.rpartition(":")
        organization, _, team = where.partition("/")
        if not group or not organization or role not in set(Role):
            message = f"FLEXAI_OIDC_GROUPS has {item!r}; write GROUP=ORGANIZATION/TEAM:ROLE, by commas"
            raise ImproperlyConfigured(message)
        found.append((group.strip(), organization.strip(), team.strip(), role))
    return found


def _database(url: str) -> dict[str, object]:
    """`postgresql://user:password@host:port/name`, or `postgresql://user@/name?host=/socket/folder&port=5432`."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(f"DATABASE_URL must begin with postgresql://, not {parts.scheme}://")
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "flexai.common.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "flexai",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.get("host", parts.hostname or ""),
        "PORT": query.get("port", str(parts.port or "")),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 24, "timeout": 5}},
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
    }


def _mib(name: str, default: int) -> int:
    """Bytes, from a number of MiB."""
    return int(os.environ.get(name, str(default))) * 1024 * 1024


def outputs_backend() -> dict[str, object]:
    """A bucket of an S3-compatible object store when one is named, with the credentials that AWS's tools take from the
    environment; else a folder, which all server processes have to share."""
    bucket = os.environ.get("FLEXAI_OUTPUTS_S3_BUCKET", "")
    if not bucket:
        folder = os.environ.get("FLEXAI_OUTPUTS_DIR") or str(DATA_DIR / "outputs")
        modes = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": folder, "allow_overwrite": True, **modes},
        }
    options: dict[str, object] = {"bucket_name": bucket, "location": "flexai-outputs", "file_overwrite": True}
    if endpoint := os.environ.get("FLEXAI_OUTPUTS_S3_ENDPOINT"):
        options["endpoint_url"] = endpoint
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}


DEBUG = _flag("FLEXAI_DEBUG")
SECRET_KEY = os.environ.get("FLEXAI_SECRET_KEY") or ("insecure-for-development-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("FLEXAI_SECRET_KEY is not set: give a random string of 50 or more characters")
SECRET_KEY_FALLBACKS = _list("FLEXAI_SECRET_KEY_FALLBACKS", "")
"""Former keys: what was signed or sealed under them still counts. After `reseal` what is sealed needs none of them."""
DATA_DIR = Path(os.environ.get("FLEXAI_DATA_DIR", "~/.flexai")).expanduser()
SINGLE_ORGANIZATION = _flag("FLEXAI_SINGLE_ORGANIZATION")
"""True under `flexai up` without root: all jobs run as one user, so a second organization is refused."""
ALLOWED_HOSTS = _list("FLEXAI_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CURRENCY = os.environ.get("FLEXAI_CURRENCY", "EUR")
"""In which prices and costs are told."""
PRIVATE_ISSUERS = _list("FLEXAI_PRIVATE_ISSUERS", "")
"""Origins of issuers of identities on private addresses (`https://gitlab.corp.example`); others must be public."""
PRIVATE_RECEIVERS = _list("FLEXAI_PRIVATE_RECEIVERS", "")
"""Where webhooks may lead beside the public internet: origins, hosts and networks (`10.1.0.0/16`)."""
PUBLIC_URL = os.environ.get("FLEXAI_PUBLIC_URL", "")
"""The dashboard's address, for links in mails and messages."""
OIDC_ISSUER = os.environ.get("FLEXAI_OIDC_ISSUER", "")
"""Whoever this OpenID Connect provider knows signs in by it; nothing: by password alone."""
OIDC_CLIENT_ID = os.environ.get("FLEXAI_OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = os.environ.get("FLEXAI_OIDC_CLIENT_SECRET", "")
OIDC_NAME = os.environ.get("FLEXAI_OIDC_NAME", "single sign-on")
"""As the button on the sign-in page names it."""
OIDC_SCOPES = os.environ.get("FLEXAI_OIDC_SCOPES", "openid profile email")
OIDC_GROUPS_CLAIM = os.environ.get("FLEXAI_OIDC_GROUPS_CLAIM", "groups")
OIDC_GROUPS = _group_roles(os.environ.get("FLEXAI_OIDC_GROUPS", ""))
"""Which groups of the provider have which role where."""
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_GROUPS):
    raise ImproperlyConfigured("FLEXAI_OIDC_ISSUER needs FLEXAI_OIDC_CLIENT_ID and FLEXAI_OIDC_GROUPS")
CSRF_TRUSTED_ORIGINS = _list("FLEXAI_TRUSTED_ORIGINS", "")

INSTALLED_APPS = [
    "flexai.console",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "channels",
    "flexai.common",
    "flexai.tenancy",
    "flexai.notifications",
    "flexai.cluster",
    "flexai.jobs",
    "flexai.scheduling",
]
"""The console comes before its theme: a file of its own takes the place of one of the theme's."""
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "flexai.api.middleware.ConsoleMessages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "flexai.api.middleware.ContentSecurityPolicy",
    "flexai.api.etags.Tags",
]
ROOT_URLCONF = "flexai.config.urls"
ASGI_APPLICATION = "flexai.config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": _database(os.environ.get("DATABASE_URL", "postgresql:///flexai"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "tenancy.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

MAIL_URL = os.environ.get("FLEXAI_MAIL_URL", "")
"""The server that mails go through; nothing: none are sent, and a job that asks for one is refused."""
_mail = mail_settings(MAIL_URL)
EMAIL_BACKEND = _mail.backend
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = (
    _mail.host,
    _mail.port,
    _mail.user,
    _mail.password,
)
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.starts_tls, _mail.is_tls
EMAIL_FILE_PATH = _mail.folder
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("FLEXAI_MAIL_FROM") or "Flexai <flexai@localhost>"

LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "flexai.config.formats"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = os.environ.get("FLEXAI_STATIC_ROOT") or None
"""Where a server that has run `collectstatic` finds the files; else they are served from where they are installed."""
FRONTEND_DIST = PACKAGE / "frontend_dist"
STATICFILES_DIRS = [("app", str(FRONTEND_DIST))] if FRONTEND_DIST.is_dir() else []
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_IMMUTABLE_FILE_TEST = r"/static/app/assets/[^/]+-[A-Za-z0-9_-]{8}\.[a-z0-9]+$"
"""The dashboard's built files carry a hash of their content in their names: browsers keep them for good."""
LOGIN_URL = "/login"

SECURE = _flag("FLEXAI_SECURE")
"""Behind TLS: cookies only over https, HSTS."""
CONSOLE_SECOND_FACTOR = _flag("FLEXAI_CONSOLE_SECOND_FACTOR", "1" if SECURE else "0")
"""True: operators enter the console only when they signed in with a second factor."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_ENGINE = "flexai.tenancy.browser_sessions"
SESSION_COOKIE_NAME = "flexai_session"
CSRF_COOKIE_NAME = "flexai_csrf"
CSRF_FAILURE_VIEW = "flexai.api.problems.csrf_failure"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SILENCED_SYSTEM_CHECKS = ["security.W008", "security.W021"]
"""TLS ends at a proxy, which is what redirects: health checks, agents and the command line beside the server speak
plain HTTP to it. Preloading HSTS is for good and for a whole domain: its owner's decision, taken at the proxy too."""
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 1024 * 1024
"""Bytes of a request body; a batch of 10,000 jobs fits. A single spec is held to `jobs.spec.MAX_SPEC_BYTES`."""

OUTPUTS_JOB_BYTES = _mib("FLEXAI_OUTPUTS_JOB_MIB", 1024)
OUTPUTS_JOB_FILES = int(os.environ.get("FLEXAI_OUTPUTS_JOB_FILES", "1000"))
OUTPUTS_ORGANIZATION_BYTES = _mib("FLEXAI_OUTPUTS_ORGANIZATION_MIB", 10 * 1024)
OUTPUTS_ORGANIZATION_FILES = int(os.environ.get("FLEXAI_OUTPUTS_ORGANIZATION_FILES", "100000"))
OUTPUTS_DAYS = int(os.environ.get("FLEXAI_OUTPUTS_DAYS", "30"))
"""So long the files that jobs leave are kept."""
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "outputs": outputs_backend(),
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "flexai.api.authentication.TokenAuthentication",
        "flexai.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["flexai.api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["flexai.api.renderers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "flexai.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Flexai",
    "DESCRIPTION": "Submit jobs, watch them, manage teams and quotas.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "flexai.api.etags.told",
        "flexai.api.refusals.told",
    ],
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_NAME_OVERRIDES": {
        "Status": "flexai.api.schemas.common.STATUS_CHOICES",
        "Role": "flexai.api.schemas.common.ROLE_CHOICES",
        "MyRole": "flexai.api.schemas.common.MY_ROLE_CHOICES",
        "Contact": "flexai.api.schemas.common.CONTACT_CHOICES",
        "ChipState": "flexai.api.schemas.common.CHIP_STATE_CHOICES",
        "NodeState": "flexai.api.schemas.common.NODE_STATE_CHOICES",
        "NodeStatus": "flexai.api.schemas.common.NODE_STATUS_CHOICES",
        "Period": "flexai.api.schemas.tenancy.PERIOD_CHOICES",
        "QuotaRequestKind": "flexai.api.schemas.quota_requests.KINDS",
        "Action": "flexai.api.schemas.common.ACTION_CHOICES",
        "After": "flexai.api.schemas.spec.AFTER_CHOICES",
        "Notified": "flexai.api.schemas.spec.NOTIFIED_CHOICES",
        "WebhookEvent": "flexai.api.schemas.webhooks.EVENT_CHOICES",
        "WebhookTold": "flexai.api.schemas.webhooks.TOLD_CHOICES",
        "DeliveryState": "flexai.api.schemas.webhooks.DELIVERY_STATE_CHOICES",
        "OutputsState": "flexai.api.schemas.outputs.OUTPUTS_STATE_CHOICES",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("FLEXAI_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "celery": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}

"""The Python client: submit jobs, watch them, read their logs.

Stands alone: needs httpx and nothing else of Flexai.

    from flexai.client import Client

    with Client("https://flexai.example", token="flx_…") as flexai:
        job = flexai.submit({"name": "train", "commands": ["python train.py"]})
        for text in job.logs(follow=True):
            print(text, end="")
        print(job.wait()["status"])
"""

from flexai.client.client import Client
from flexai.client.errors import (
    Conflict,
    FieldError,
    FlexaiError,
    Forbidden,
    InvalidInput,
    NeverFits,
    NotFound,
    NotReached,
    Problem,
    RateLimited,
    ServerFault,
    TooLarge,
    Unauthenticated,
    UnexpectedAnswer,
    WaitTimeout,
)
from flexai.client.handle import JobHandle
from flexai.client.inside import preempted, progress
from flexai.client.logs import LogPiece
from flexai.client.signing_in import (
    SignIn,
    begin_sign_in,
    create_token_with_password,
    exchange_identity,
)
from flexai.client.types import FINAL_STATUSES, is_final
from flexai.client.webhooks import WebhookNotVerified, verify_webhook

__all__ = [
    "FINAL_STATUSES",
    "Client",
    "Conflict",
    "FieldError",
    "FlexaiError",
    "Forbidden",
    "InvalidInput",
    "JobHandle",
    "LogPiece",
    "NeverFits",
    "NotFound",
    "NotReached",
    "Problem",
    "RateLimited",
    "ServerFault",
    "SignIn",
    "TooLarge",
    "Unauthenticated",
    "UnexpectedAnswer",
    "WaitTimeout",
    "WebhookNotVerified",
    "begin_sign_in",
    "create_token_with_password",
    "exchange_identity",
    "is_final",
    "preempted",
    "progress",
    "verify_webhook",
]

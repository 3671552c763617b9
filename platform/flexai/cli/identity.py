"""The identity that a CI system gives to each of its pipelines, found in the environment.

GitHub gives one when asked, for the audience that is wanted; GitLab, and whoever else, puts it into a variable.
"""

from __future__ import annotations

import os

import httpx

from flexai.cli.exits import NOT_ALLOWED, Refusal

VARIABLE = "FLEXAI_ID_TOKEN"
"""Where a pipeline's identity token is put, as `id_tokens:` of GitLab does."""
TIMEOUT_SECONDS = 20.0


def identity_of_pipeline(audience: str) -> str:
    """The identity token. Raises Refusal, saying what the pipeline lacks."""
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return given
    url, secret = (
        os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"),
        os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    )
    if url and secret:
        return _from_github(url, secret, audience)
    if os.environ.get("GITHUB_ACTIONS"):
        hint = "Give the job `permissions: {id-token: write, contents: read}`."
    elif os.environ.get("GITLAB_CI"):
        hint = f"Give the job `id_tokens: {{{VARIABLE}: {{aud: {audience or 'trust-…'}}}}}`."
    else:
        hint = f"Put the identity token that your CI system gave into {VARIABLE}."
    raise Refusal("This pipeline has no identity.", hint=hint, exit_code=NOT_ALLOWED, code="no_identity")


def _from_github(url: str, secret: str, audience: str) -> str:
    if not audience:
        raise Refusal(
            "The trust rule must be named: --rule trust-…, or FLEXAI_TRUST_RULE.",
            exit_code=NOT_ALLOWED,
            code="no_identity",
        )
    try:
        answer = httpx.get(
            httpx.URL(url).copy_merge_params({"audience": audience}),
            headers={"Authorization": f"Bearer {secret}"},
            timeout=TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        return str(answer.json()["value"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"GitHub gave no identity token: {type(error).__name__}.",
            exit_code=NOT_ALLOWED,
            code="no_identity",
        ) from None

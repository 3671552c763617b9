"""Shapes of trust rules and of exchanging identities."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import InstantOrNullField, ObjectField, integer

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a word of RFC 8693
IDENTITY_KINDS = ("urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt")


class NewRuleSerializer(serializers.Serializer[Any]):
    """Whose identity is trusted, and as which service account."""

    account = serializers.CharField(max_length=63, help_text="Name or id of the service account.")
    name = serializers.CharField(max_length=63)
    issuer = serializers.CharField(
        max_length=255, help_text="Such as https://token.actions.githubusercontent.com or https://gitlab.com."
    )
    audience = serializers.CharField(
        required=False,
        max_length=255,
        help_text="The rule's own id when left out: best, where CI lets you choose.",
    )
    claims = ObjectField(
        help_text='A pattern, or a list of them, by claim: {"repository": "acme/train", "ref": "refs/heads/*"}. '
        "All claims have to fit; a star stands for any text."
    )
    scopes = serializers.ListField(child=serializers.ChoiceField(["read", "write"]))
    expires_in_minutes = integer(
        "How long a token lives; 60 when left out.", required=False, min_value=5, max_value=1440
    )


class RuleSerializer(serializers.Serializer[Any]):
    """A trust rule."""

    id = serializers.CharField()
    account = serializers.CharField(help_text="The service account's name.")
    team = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    issuer = serializers.CharField()
    audience = serializers.CharField()
    claims = ObjectField()
    scopes = serializers.ListField(child=serializers.CharField())
    expires_in_minutes = integer()
    created_at = serializers.DateTimeField()
    last_used_at = InstantOrNullField()


class RuleListSerializer(serializers.Serializer[Any]):
    """A page of trust rules."""

    items = RuleSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ExchangeSerializer(serializers.Serializer[Any]):
    """An identity to be exchanged, in the words of RFC 8693."""

    grant_type = serializers.ChoiceField([GRANT], required=False)
    subject_token = serializers.CharField(help_text="The identity token (a JWT) that your CI system gave.")
    subject_token_type = serializers.ChoiceField(list(IDENTITY_KINDS), required=False)
    requested_token_type = serializers.ChoiceField([ACCESS_TOKEN], required=False)
    rule = serializers.CharField(
        required=False,
        max_length=32,
        help_text="The trust rule's id; needed where it is not the token's audience.",
    )


class ExchangedSerializer(serializers.Serializer[Any]):
    """A token for a while."""

    access_token = serializers.CharField(help_text="Send it as a bearer token.")
    issued_token_type = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = integer("Seconds.")
    scope = serializers.CharField(help_text="Scopes, with a space between.")

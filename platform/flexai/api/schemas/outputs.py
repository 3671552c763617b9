"""Shapes of what jobs leave."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import InstantOrNullField, integer

OUTPUTS_STATE_CHOICES = [(word, word) for word in ("none", "awaited", "complete", "lost", "removed")]


class OutputFileSerializer(serializers.Serializer[Any]):
    """One file."""

    path = serializers.CharField(help_text="Below the working directory, with / between folders.")
    size = integer("Bytes.")


class OutputsSerializer(serializers.Serializer[Any]):
    """What an attempt's replica 0 left."""

    attempt = serializers.IntegerField(allow_null=True, help_text="Null: there has been none.")
    state = serializers.ChoiceField(
        OUTPUTS_STATE_CHOICES,
        help_text="awaited: more may come; complete: this is all; lost: the node never brought the rest.",
    )
    sentence = serializers.CharField(allow_blank=True, help_text="Why it is so, for people.")
    said = serializers.ListField(
        child=serializers.CharField(), help_text="What was left out, and why: limits, links, names."
    )
    bytes = integer("Of all files.")
    kept_until = InstantOrNullField(allow_null=True)
    files = OutputFileSerializer(many=True)


class OutputsRemovedSerializer(serializers.Serializer[Any]):
    """What became of a removal."""

    attempts = integer("Of how many attempts there were files.")


class OfferedSerializer(serializers.Serializer[Any]):
    """What a node holds of an attempt's outputs."""

    files = OutputFileSerializer(many=True)
    said = serializers.ListField(child=serializers.CharField(), required=False)


class EndedSerializer(serializers.Serializer[Any]):
    """What else was left out."""

    said = serializers.ListField(child=serializers.CharField(), required=False)


class TakenSerializer(serializers.Serializer[Any]):
    """Where a node goes on."""

    complete = serializers.BooleanField(help_text="Nothing more is to be sent.")
    stored = serializers.ListField(
        child=serializers.IntegerField(allow_null=True),
        help_text="By file: bytes stored. Null: the file is not to be sent.",
    )

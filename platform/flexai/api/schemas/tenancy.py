"""Shapes of people, teams, quotas and tokens."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import MY_ROLE_CHOICES, ROLE_CHOICES, InstantOrNullField, ObjectField, integer

PERIOD_CHOICES = [(word, word) for word in ("month", "total")]


class CredentialsSerializer(serializers.Serializer[Any]):
    """Who signs in."""

    username = serializers.CharField()
    password = serializers.CharField()
    code = serializers.CharField(
        required=False,
        help_text="Of the second factor; needed where the answer is 401 with the code second_factor.",
    )


class PasswordSerializer(serializers.Serializer[Any]):
    """The password, once more."""

    password = serializers.CharField()


class PasswordAndCodeSerializer(serializers.Serializer[Any]):
    """The password, and a code of the second factor."""

    password = serializers.CharField()
    code = serializers.CharField()


class CodeSerializer(serializers.Serializer[Any]):
    """A code of the authenticator."""

    code = serializers.CharField()


class SecondFactorSerializer(serializers.Serializer[Any]):
    """Whether signing in with a password needs a code."""

    active = serializers.BooleanField()
    has_password = serializers.BooleanField(
        help_text="False: your provider signs you in, and is where a second factor is set."
    )
    recovery_codes_left = integer()


class BegunSerializer(serializers.Serializer[Any]):
    """What the authenticator has to be told; shown this once."""

    secret = serializers.CharField(help_text="In base 32.")
    uri = serializers.CharField(help_text="otpauth://…, for a QR code.")


class RecoveryCodesSerializer(serializers.Serializer[Any]):
    """For the day on which the authenticator is lost; shown this once."""

    recovery_codes = serializers.ListField(child=serializers.CharField())


class SessionSerializer(serializers.Serializer[Any]):
    """Whether this browser is signed in."""

    authenticated = serializers.BooleanField()
    single_sign_on = serializers.CharField(
        allow_null=True, help_text="Name of the provider at /sign-in/oidc; null where there is none."
    )


class MeUserSerializer(serializers.Serializer[Any]):
    """The user."""

    username = serializers.CharField()
    email = serializers.CharField(allow_blank=True)
    is_operator = serializers.BooleanField()


class OrganizationSerializer(serializers.Serializer[Any]):
    """A tenant."""

    id = serializers.CharField()
    name = serializers.CharField()
    slug = serializers.CharField()


class MyTeamSerializer(serializers.Serializer[Any]):
    """A team and your role in it."""

    id = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(ROLE_CHOICES)


class MeSerializer(serializers.Serializer[Any]):
    """Who you are here."""

    user = MeUserSerializer()
    organization = OrganizationSerializer()
    organizations = OrganizationSerializer(
        many=True, help_text="Where you may act; with a token, its own alone."
    )
    teams = MyTeamSerializer(many=True)
    version = serializers.CharField()
    currency = serializers.CharField(help_text="What amounts of money are in, such as EUR.")
    notices = serializers.ListField(child=serializers.CharField())


class MyOrganizationSerializer(serializers.Serializer[Any]):
    """One of your organizations."""

    organization = serializers.CharField(max_length=63, help_text="Id or short name.")


class QuotaSerializer(serializers.Serializer[Any]):
    """What a team has of one chip type, in milli-chips."""

    chip_type = serializers.CharField()
    guaranteed_milli = integer()
    limit_milli = integer("Null: no limit.", allow_null=True)
    over_quota_weight = integer()
    used_milli = integer("Held by the team and the teams below it now.")


class QuotaLineSerializer(serializers.Serializer[Any]):
    """A quota to be set."""

    chip_type = serializers.CharField()
    guaranteed_milli = integer(required=False)
    limit_milli = integer(required=False, allow_null=True)
    over_quota_weight = integer(required=False)


class QuotasSerializer(serializers.Serializer[Any]):
    """All quotas of a team; those left out are gone."""

    quotas = QuotaLineSerializer(many=True)


class MemberSerializer(serializers.Serializer[Any]):
    """A user's role in a team."""

    username = serializers.CharField()
    role = serializers.ChoiceField(ROLE_CHOICES)


class MemberListSerializer(serializers.Serializer[Any]):
    """A page of members."""

    items = MemberSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class NewRoleSerializer(serializers.Serializer[Any]):
    """A role to be given."""

    role = serializers.ChoiceField(ROLE_CHOICES)


class UserCapSerializer(serializers.Serializer[Any]):
    """What each single user of a team may hold of a type in it."""

    chip_type = serializers.CharField()
    limit_milli = integer("Milli-chips.", min_value=0)


class UserCapsSerializer(serializers.Serializer[Any]):
    """All caps of a team; those left out are gone."""

    user_caps = UserCapSerializer(many=True)


class NewBudgetSerializer(serializers.Serializer[Any]):
    """What a team and all below it may spend; in hours or money, or both."""

    period = serializers.ChoiceField(
        PERIOD_CHOICES,
        required=False,
        help_text="month: anew each month, in UTC; total: once, from `since` on.",
    )
    since = serializers.DateField(required=False, allow_null=True, help_text="Today when left out.")
    chip_hours = integer(required=False, allow_null=True, min_value=0)
    money_micro = integer("Millionths of the currency.", required=False, allow_null=True, min_value=0)
    soft_percent = integer(
        "From here on it is told; 80 when left out.", required=False, min_value=1, max_value=100
    )
    hard = serializers.BooleanField(
        required=False, help_text="Once it is spent, nothing with chips starts; true when left out."
    )


class BudgetSerializer(serializers.Serializer[Any]):
    """A budget, with what was spent of it in its period."""

    period = serializers.ChoiceField(PERIOD_CHOICES)
    since = serializers.DateField()
    chip_hours = integer(allow_null=True)
    money_micro = integer("Millionths of the currency.", allow_null=True)
    soft_percent = integer()
    hard = serializers.BooleanField()
    spent_chip_ms = integer("By the team and all below it; live attempts up to now.")
    spent_micro = integer("Millionths of the currency.")
    state = serializers.ChoiceField([(word, word) for word in ("ok", "warned", "spent")])


class TeamSerializer(serializers.Serializer[Any]):
    """A team."""

    id = serializers.CharField()
    name = serializers.CharField()
    organization = OrganizationSerializer()
    role = serializers.ChoiceField(MY_ROLE_CHOICES, help_text="Yours; operator where you are no member.")
    quotas = QuotaSerializer(many=True)
    user_caps = UserCapSerializer(many=True)
    budget = BudgetSerializer(allow_null=True)
    members = MemberSerializer(many=True)


class TeamListSerializer(serializers.Serializer[Any]):
    """A page of teams."""

    items = TeamSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class NewTokenSerializer(serializers.Serializer[Any]):
    """A token to be made."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(["read", "write"]))
    expires_in_days = integer(min_value=1, max_value=366)
    team = serializers.CharField(required=False, help_text="Reach only this team.")


class TokenSerializer(serializers.Serializer[Any]):
    """A token, without its secret."""

    id = serializers.CharField()
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    team = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    revoked_at = InstantOrNullField()
    last_used_at = InstantOrNullField()


class TokenCreatedSerializer(TokenSerializer):
    """A new token; the secret is shown this once."""

    token = serializers.CharField()


class TokenListSerializer(serializers.Serializer[Any]):
    """A page of tokens, newest first."""

    items = TokenSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class NewAccountSerializer(serializers.Serializer[Any]):
    """A service account to be made."""

    name = serializers.CharField(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    role = serializers.ChoiceField(ROLE_CHOICES, help_text="Up to your own.")
    team = serializers.CharField(
        required=False, allow_null=True, help_text="Its role is in this team only; else in the organization."
    )


class NewAccountTokenSerializer(serializers.Serializer[Any]):
    """A token of a service account to be made."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.ChoiceField(["read", "write"]))
    expires_in_days = integer(min_value=1, max_value=366)


class AccountSerializer(serializers.Serializer[Any]):
    """A service account."""

    id = serializers.CharField()
    name = serializers.CharField()
    username = serializers.CharField(help_text="As its jobs name it.")
    role = serializers.ChoiceField(ROLE_CHOICES, allow_null=True)
    team = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    tokens = TokenSerializer(many=True)


class AccountListSerializer(serializers.Serializer[Any]):
    """A page of service accounts."""

    items = AccountSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class JobPolicySerializer(serializers.Serializer[Any]):
    """What jobs get that leave a field out, and what they may ask for."""

    defaults = ObjectField(
        required=False,
        help_text="Fields of the spec: priority, max_duration, idle_timeout, lend, retry, cpus, memory, …",
    )
    bounds = ObjectField(
        required=False,
        help_text="max_duration, memory and shm_size (then needed), priority, chips, nodes, cpus and retries at most, "
        "isolation (the weakest that slices may have), lend (the widest), utilization_policy (the mildest with chips), "
        "node_pools (allowed), labels (needed), allowed_images (patterns), require_digest.",
    )


class AnnouncementSerializer(serializers.Serializer[Any]):
    """What an operator tells: plain text."""

    id = serializers.CharField()
    text = serializers.CharField()
    level = serializers.ChoiceField([(word, word) for word in ("info", "warning", "urgent")])
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class AnnouncementListSerializer(serializers.Serializer[Any]):
    """What is announced now."""

    items = AnnouncementSerializer(many=True)


class AuditEntrySerializer(serializers.Serializer[Any]):
    """A decision of somebody."""

    at = serializers.DateTimeField()
    actor_kind = serializers.ChoiceField(
        [(word, word) for word in ("user", "token", "agent", "scheduler", "platform")]
    )
    actor = serializers.CharField(help_text="The user, and the token where one was used.")
    action = serializers.CharField(help_text="`noun.verb`")
    object_kind = serializers.CharField()
    object_id = serializers.CharField()
    before = ObjectField(allow_null=True)
    after = ObjectField(allow_null=True)
    reason = serializers.CharField()
    address = serializers.CharField(
        help_text="Of the machine that asked; empty for what the platform decided."
    )
    request_id = serializers.CharField()


class AuditListSerializer(serializers.Serializer[Any]):
    """One page of them."""

    items = AuditEntrySerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)

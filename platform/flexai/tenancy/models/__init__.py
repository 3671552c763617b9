"""Who works here, what they are promised, and what they decided.

Chip types are plain names (`cluster.ChipType.name`): a quota may be set before the first such chip registers.

Names that begin with an underscore stand here for the migrations.
"""

from flexai.tenancy.models.access import BrowserSession as BrowserSession
from flexai.tenancy.models.access import SignInRequest as SignInRequest
from flexai.tenancy.models.access import Token as Token
from flexai.tenancy.models.access import TrustRule as TrustRule
from flexai.tenancy.models.access import UsedIdentity as UsedIdentity
from flexai.tenancy.models.access import _rule_id as _rule_id
from flexai.tenancy.models.access import _session_id as _session_id
from flexai.tenancy.models.access import _token_id as _token_id
from flexai.tenancy.models.people import ROLES as ROLES
from flexai.tenancy.models.people import Identity as Identity
from flexai.tenancy.models.people import Membership as Membership
from flexai.tenancy.models.people import Organization as Organization
from flexai.tenancy.models.people import RecoveryCode as RecoveryCode
from flexai.tenancy.models.people import SecondFactor as SecondFactor
from flexai.tenancy.models.people import ServiceAccount as ServiceAccount
from flexai.tenancy.models.people import Team as Team
from flexai.tenancy.models.people import TeamMember as TeamMember
from flexai.tenancy.models.people import User as User
from flexai.tenancy.models.people import _account_id as _account_id
from flexai.tenancy.models.people import _organization_id as _organization_id
from flexai.tenancy.models.people import _team_id as _team_id
from flexai.tenancy.models.quotas import Budget as Budget
from flexai.tenancy.models.quotas import JobPolicy as JobPolicy
from flexai.tenancy.models.quotas import Quota as Quota
from flexai.tenancy.models.quotas import QuotaRequest as QuotaRequest
from flexai.tenancy.models.quotas import TeamUse as TeamUse
from flexai.tenancy.models.quotas import UserCap as UserCap
from flexai.tenancy.models.quotas import _request_id as _request_id
from flexai.tenancy.models.records import Announcement as Announcement
from flexai.tenancy.models.records import AuditEntry as AuditEntry
from flexai.tenancy.models.records import _announcement_id as _announcement_id
from flexai.tenancy.models.secrets import Secret as Secret
from flexai.tenancy.models.secrets import _secret_id as _secret_id
from flexai.tenancy.models.usage import Price as Price
from flexai.tenancy.models.usage import UsageAmounts as UsageAmounts
from flexai.tenancy.models.usage import UsageDay as UsageDay
from flexai.tenancy.models.usage import UsageLine as UsageLine
from flexai.tenancy.roles import Role as Role

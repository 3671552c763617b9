"""Jobs and what became of them.

A job has attempts, at most one of them live (law 5); an attempt has replicas on nodes and allocations of chips.
`changed` holds the transaction id of the last change, set by a trigger: the engine's feed reads it (law 7).
A foreign key that a composite index or constraint begins with has no index of its own: every index costs each job.
Nor is one checked by the database where another one vouches for it (a job's organization is its team's), or where rows
are only ever added (history): each check is a look-up and a lock on a row that all jobs share.

Names that begin with an underscore stand here for the migrations.
"""

from flexai.jobs.models.attempts import Allocation as Allocation
from flexai.jobs.models.attempts import Attempt as Attempt
from flexai.jobs.models.attempts import AttemptProgress as AttemptProgress
from flexai.jobs.models.attempts import Guest as Guest
from flexai.jobs.models.attempts import IdleAttempt as IdleAttempt
from flexai.jobs.models.attempts import Offer as Offer
from flexai.jobs.models.attempts import Replica as Replica
from flexai.jobs.models.attempts import Straggler as Straggler
from flexai.jobs.models.attempts import _attempt_id as _attempt_id
from flexai.jobs.models.history import AttemptHour as AttemptHour
from flexai.jobs.models.history import AttemptMinute as AttemptMinute
from flexai.jobs.models.history import AttemptUse as AttemptUse
from flexai.jobs.models.history import Event as Event
from flexai.jobs.models.jobs import Batch as Batch
from flexai.jobs.models.jobs import Dependency as Dependency
from flexai.jobs.models.jobs import Job as Job
from flexai.jobs.models.jobs import JobName as JobName
from flexai.jobs.models.jobs import JobSet as JobSet
from flexai.jobs.models.jobs import Notice as Notice
from flexai.jobs.models.jobs import Schedule as Schedule
from flexai.jobs.models.jobs import _job_id as _job_id
from flexai.jobs.models.jobs import _schedule_id as _schedule_id
from flexai.jobs.models.jobs import _set_id as _set_id
from flexai.jobs.models.outputs import LogPiece as LogPiece
from flexai.jobs.models.outputs import OutputFile as OutputFile
from flexai.jobs.models.outputs import OutputLeft as OutputLeft
from flexai.jobs.models.outputs import OutputSet as OutputSet

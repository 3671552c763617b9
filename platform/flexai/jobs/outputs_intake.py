"""Takes in the outputs that a node brings: an offer, then pieces, then the end. Each can come again without harm.

A node brings only what an attempt left whose replica 0 is or was on it (law 5's fence); a set that is complete takes
nothing more. What does not fit into the limits is left out and said: no job fails for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Sum

from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.common.errors import Conflict, InvalidInput, NotFound
from flexai.jobs import outputs_store
from flexai.jobs.history import Happened, write_history
from flexai.jobs.models import Attempt, OutputFile, OutputSet
from flexai.jobs.outputs_limits import Limits, job_limits, organization_limits, size_words
from flexai.jobs.spec_reader import why_no_path
from flexai.tenancy.models import Organization
from node_agent import protocol_outputs

MAX_SENTENCE = 400
"""Characters of one sentence of a node."""
MAX_INT63 = 2**62


def offer(
    node_pk: int, attempt_id: str, offered: protocol_outputs.OutputsOffered
) -> protocol_outputs.OutputsTaken:
    """What the node holds is known, and what of it is kept is reserved; answers from where each file is to be sent.

    Raises NotFound for an attempt that is not of this node, InvalidInput, and Conflict when nothing is to be kept.
    """
    _check(offered)
    with transaction.atomic():
        attempt = _attempt(node_pk, attempt_id)
        Organization.objects.select_for_update(no_key=True).get(pk=attempt.organization_id)  # limits are sums
        found = OutputSet.objects.filter(attempt=attempt).first() or _reserve(attempt, offered)
        rows = dict(OutputFile.objects.filter(outputs=found).values_list("number", "stored"))
    return protocol_outputs.OutputsTaken(
        found.complete, [rows.get(number) for number in range(len(offered.files))]
    )


def take_piece(
    node_pk: int, attempt_id: str, number: int, offset: int, data: bytes
) -> protocol_outputs.OutputsTaken:
    """The piece is stored if it is the next; answers where the next one begins.

    Raises NotFound, InvalidInput for a piece of another size than it should have, StoreFull and Unavailable.
    """
    with transaction.atomic():
        attempt = _attempt(node_pk, attempt_id)
        file = OutputFile.objects.select_for_update().filter(outputs_id=attempt.pk, number=number).first()
        if file is None:
            raise NotFound("No such file was taken.")
        if OutputSet.objects.filter(attempt=attempt, complete=True).exists():
            return protocol_outputs.OutputsTaken(True, [file.stored])
        if offset != file.stored:
            return protocol_outputs.OutputsTaken(False, [file.stored])
        wanted = min(protocol_outputs.OUTPUT_PIECE, file.size - offset)
        if len(data) != wanted or not wanted:
            raise InvalidInput(f"The piece has {len(data)} bytes; the next of this file has {wanted}.")
        outputs_store.put_piece(attempt.public_id, number, offset, data)
        file.stored += len(data)
        file.save(update_fields=["stored"])
    return protocol_outputs.OutputsTaken(False, [file.stored])


def end(node_pk: int, attempt_id: str, ended: protocol_outputs.OutputsEnded) -> protocol_outputs.OutputsTaken:
    """Nothing more will come: what is whole is kept, the rest is gone and said. Raises NotFound."""
    with transaction.atomic():
        attempt = _attempt(node_pk, attempt_id)
        outputs = OutputSet.objects.select_for_update().filter(attempt=attempt).first()
        if outputs is None:
            raise NotFound("Nothing was offered of this attempt.")
        if outputs.complete:
            return protocol_outputs.OutputsTaken(True)
        missing = [file for file in outputs.kept.all() if file.stored < file.size]
        OutputFile.objects.filter(pk__in=[file.pk for file in missing]).delete()
        said = [*outputs.said, *_sentences(ended.said)]
        if missing:
            said.append(f"{_files(len(missing))} did not arrive whole and {_were(len(missing))} not kept.")
        outputs.said = said[: 2 * protocol_outputs.MAX_OUTPUTS_SAID]
        outputs.files -= len(missing)
        outputs.bytes -= sum(file.size for file in missing)
        outputs.complete = True
        outputs.save(update_fields=["said", "files", "bytes", "complete"])
        _tell(attempt, outputs)
    for file in missing:
        outputs_store.remove_file(attempt.public_id, file.number, file.stored)
    return protocol_outputs.OutputsTaken(True)


def _check(offered: protocol_outputs.OutputsOffered) -> None:
    if len(offered.files) > job_limits().files:
        raise InvalidInput(f"{len(offered.files)} files were offered; a job may have {job_limits().files}.")
    if len({file.path for file in offered.files}) < len(offered.files):
        raise InvalidInput("A file was offered twice.")
    for file in offered.files:
        why = why_no_path(file.path, protocol_outputs.MAX_OUTPUT_PATH)
        if why:
            raise InvalidInput(f"The path of an offered file {why}.")
        if not 0 <= file.size <= MAX_INT63:
            raise InvalidInput("The size of an offered file is out of range.")


def _attempt(node_pk: int, attempt_id: str) -> Attempt:
    attempt = (
        Attempt.objects.filter(public_id=attempt_id, replicas__index=0, replicas__node_id=node_pk)
        .select_related("job")
        .first()
    )
    if attempt is None:
        raise NotFound("This attempt's outputs are not this node's to bring.")
    return attempt


def _reserve(attempt: Attempt, offered: protocol_outputs.OutputsOffered) -> OutputSet:
    if not attempt.job.effective_spec.get("outputs"):
        raise Conflict("The job asks for no outputs.")
    if attempt.state == "ended" and attempt.outcome not in protocol_outputs.OUTPUTS_AFTER:
        raise Conflict(f"The attempt ended as {attempt.outcome}: its outputs are not kept.")
    kept, said = _within(job_limits(), offered.files)
    _make_room(attempt, kept)
    room = _room_of(attempt.organization_id)
    fitting, _ = _within(room, kept)
    if len(fitting) < len(kept):
        most = organization_limits()
        said.append(
            f"{_left_out(len(kept) - len(fitting))}: the outputs of all jobs of the organization may have "
            f"{size_words(most.bytes)} and {most.files} files. Remove some that nobody needs."
        )
    numbers = {file.path: number for number, file in enumerate(offered.files)}
    made = OutputSet.objects.create(
        attempt=attempt, organization_id=attempt.organization_id, at=clock.now(), files=len(fitting),
        bytes=sum(file.size for file in fitting), said=[*_sentences(offered.said), *said],
    )  # fmt: skip
    OutputFile.objects.bulk_create(
        OutputFile(outputs=made, number=numbers[file.path], path=file.path, size=file.size)
        for file in fitting
    )
    return made


def _within(
    room: Limits, files: Sequence[protocol_outputs.OutputFile]
) -> tuple[list[protocol_outputs.OutputFile], list[str]]:
    """Those that fit, in their order, and a sentence when some do not."""
    kept: list[protocol_outputs.OutputFile] = []
    left = room.bytes
    for file in files:
        if len(kept) < room.files and file.size <= left:
            kept.append(file)
            left -= file.size
    out = len(files) - len(kept)
    if not out:
        return kept, []
    return kept, [
        f"{_left_out(out)}: a job's outputs may have {size_words(room.bytes)} and {room.files} files."
    ]


def _make_room(attempt: Attempt, files: Sequence[protocol_outputs.OutputFile]) -> None:
    """What the job's earlier attempts left goes, the oldest first, until all of the job fits its limits."""
    limits = job_limits()
    earlier = OutputSet.objects.filter(attempt__job_id=attempt.job_id, removed_at=None)
    sets = list(earlier.exclude(attempt=attempt).order_by("attempt__number"))
    size = sum(file.size for file in files) + sum(one.bytes for one in sets)
    count = len(files) + sum(one.files for one in sets)
    gone = []
    for one in sets:
        if size <= limits.bytes and count <= limits.files:
            break
        size, count = size - one.bytes, count - one.files
        gone.append(one.pk)
    mark_removed(gone)


def mark_removed(attempt_pks: Sequence[int]) -> int:
    """The files of these attempts are nobody's to read and count against no limit; the sweep takes them from the
    store. Returns of how many attempts there were any."""
    found = OutputSet.objects.filter(pk__in=attempt_pks, removed_at=None)
    return found.update(removed_at=clock.now(), complete=True)


def _room_of(organization_pk: int) -> Limits:
    sums = OutputSet.objects.filter(organization_id=organization_pk, removed_at=None).aggregate(
        bytes=Sum("bytes"), files=Sum("files")
    )
    most = organization_limits()
    return Limits(max(0, most.bytes - (sums["bytes"] or 0)), max(0, most.files - (sums["files"] or 0)))


def _tell(attempt: Attempt, outputs: OutputSet) -> None:
    sentence = f"{_files(outputs.files)} ({size_words(outputs.bytes)}) kept as its outputs."
    with prepared_cursor() as cursor:
        write_history(
            cursor,
            [
                Happened(
                    at=clock.now(), kind="attempt.outputs", sentence=sentence, actor="agent",
                    organization=attempt.organization_id, job=attempt.job_id, attempt=attempt.number,
                    facts={"files": outputs.files, "bytes": outputs.bytes},
                )
            ],
        )  # fmt: skip


def _sentences(given: Sequence[str]) -> list[str]:
    return [
        "".join(letter if letter.isprintable() else "?" for letter in one)[:MAX_SENTENCE]
        for one in given[: protocol_outputs.MAX_OUTPUTS_SAID]
    ]


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _left_out(count: int) -> str:
    return f"{_files(count)} {_were(count)} left out"

"""Outputs by HTTP: brought by the node that ran the attempt, within limits, read and removed by who may."""

from __future__ import annotations

import errno
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import storages
from django.test import Client
from django.test.utils import override_settings

from flexai.cluster.models import Node
from flexai.common import clock
from flexai.jobs import outputs, outputs_store
from flexai.jobs.models import Attempt, Event, Job, OutputSet
from flexai.jobs.wanted import attempts_wanted_on
from flexai.tenancy.models import AuditEntry, Role
from node_agent import protocol_outputs
from node_agent.protocol import WantedOutputs
from tests.support.tenants import Tenant, a_node, a_spec, started

pytestmark = pytest.mark.django_db
PIECE = 16


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store, with small pieces."""
    monkeypatch.setattr(protocol_outputs, "OUTPUT_PIECE", PIECE)
    monkeypatch.setattr(outputs_store, "OUTPUT_PIECE", PIECE)
    backend = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "store"), "allow_overwrite": True},
    }
    with override_settings(STORAGES={**settings.STORAGES, "outputs": backend}):
        yield tmp_path / "store"


@dataclass
class Brought:
    """An attempt that has run on a node, whose agent brings what it left."""

    job: Job
    attempt: Attempt
    node: Node

    def __post_init__(self) -> None:
        self.secret = f"flxa_{self.node.name}"
        digest = hashlib.sha256(self.secret.encode()).hexdigest()
        Node.objects.filter(pk=self.node.pk).update(credential_hash=digest)

    @property
    def path(self) -> str:
        return f"/jobs/{self.job.public_id}/outputs"

    def ask(self, method: str, path: str = "", body: Any = None, *, secret: str = "", **query: Any) -> Any:
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        return getattr(Client(), method)(
            f"/api/v1/agents/outputs/{self.attempt.public_id}{path}", body if body is not None else {},
            content_type=kind, query_params=query or None,
            headers={"Authorization": f"Bearer {secret or self.secret}"},
        )  # fmt: skip

    def offer(self, files: dict[str, int], said: tuple[str, ...] = ()) -> Any:
        listed = [{"path": path, "size": size} for path, size in files.items()]
        return self.ask("post", body={"files": listed, "said": list(said)})

    def send(self, number: int, content: bytes, offset: int = 0) -> Any:
        answer = None
        for start in range(offset, len(content), PIECE):
            answer = self.ask("put", f"/{number}", content[start : start + PIECE], offset=start)
            assert answer.status_code == 200, answer.content
        return answer

    def bring(self, files: dict[str, bytes], said: tuple[str, ...] = ()) -> list[int | None]:
        """All of it, as an agent does."""
        answer = self.offer({path: len(content) for path, content in files.items()}, said)
        assert answer.status_code == 200, answer.content
        stored: list[int | None] = answer.json()["stored"]
        for number, content in enumerate(files.values()):
            if stored[number] is not None:
                self.send(number, content)
        assert self.ask("post", "/end").json()["complete"]
        return stored


@pytest.fixture
def ran(tenant: Tenant) -> Brought:
    return an_attempt(tenant)


def an_attempt(tenant: Tenant, job: Job | None = None, outcome: str = "succeeded") -> Brought:
    if job is None:
        made = tenant.api.post("/jobs", a_spec(outputs=["results/**"])).json()
        job = Job.objects.get(public_id=made["id"])
    before = Attempt.objects.filter(job=job).count()
    node = a_node()
    if before:
        attempt = Attempt.objects.create(
            organization=job.organization, cell=job.cell, job=job, number=before + 1, placed_at=clock.now(),
            running_at=clock.now(), state="ended",
        )  # fmt: skip
        attempt.replicas.create(index=0, node=node, state="ended")
    else:
        attempt = started(job, node)
    now = clock.now()
    Attempt.objects.filter(pk=attempt.pk).update(state="ended", outcome=outcome, ended_at=now)
    Job.objects.filter(pk=job.pk).update(state="succeeded", status="succeeded")
    attempt.refresh_from_db()
    job.refresh_from_db()
    return Brought(job, attempt, node)


def body(answer: Any) -> bytes:
    assert answer.status_code in (200, 206), answer.content
    return b"".join(answer.streaming_content)


FILES = {"results/a.txt": b"one", "results/empty": b"", "results/big": bytes(range(100))}


def test_what_a_node_brings_is_listed_and_read(tenant: Tenant, ran: Brought) -> None:
    assert tenant.api.get(ran.path).json()["state"] == "awaited"
    ran.bring(FILES, said=("results/p is a link out of the job's folder.",))
    told = tenant.api.get(ran.path).json()
    assert (told["attempt"], told["state"], told["bytes"]) == (1, "complete", 103)
    assert told["files"] == [{"path": path, "size": len(FILES[path])} for path in sorted(FILES)]
    assert told["said"] == ["results/p is a link out of the job's folder."]
    assert told["kept_until"] is not None
    for path, content in FILES.items():
        assert body(tenant.api.get(f"{ran.path}/file", path=path)) == content
    event = Event.objects.get(job=ran.job, kind="attempt.outputs")
    assert event.sentence == "3 files (103 bytes) kept as its outputs."
    assert tenant.api.get(f"{ran.path}/file", path="../../etc/passwd").status_code == 404


def test_a_file_is_a_download_and_never_a_page(tenant: Tenant, ran: Brought) -> None:
    ran.bring({'results/ä "x".html': b"<script>alert(1)</script>"})
    answer = tenant.api.get(f"{ran.path}/file", path='results/ä "x".html')
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer["Content-Disposition"] == "attachment; filename*=utf-8''%C3%A4%20%22x%22.html"
    assert answer["Content-Length"] == "25"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", (0, 1)), ("bytes=15-17", (15, 18)), ("bytes=90-", (90, 100)), ("bytes=-3", (97, 100)),
        ("bytes=50-999", (50, 100)),
        ("bytes=5-4", None), ("bytes=100-", None), ("bytes=-", None), ("bytes=0-1,3-4", None), ("lines=1-2", None),
    ],
)  # fmt: skip
def test_a_range_is_read_alone(
    tenant: Tenant, ran: Brought, asked: str, part: tuple[int, int] | None
) -> None:
    ran.bring(FILES)
    api = type(tenant.api)(tenant.token, Range=asked)
    answer = api.get(f"{ran.path}/file", path="results/big")
    start, end = part or (0, 100)
    assert answer.status_code == (206 if part else 200)
    assert body(answer) == FILES["results/big"][start:end]
    assert answer.get("Content-Range") == (f"bytes {start}-{end - 1}/100" if part else None)


def test_all_files_come_as_one_archive(tenant: Tenant, ran: Brought) -> None:
    files = {**FILES, "results/" + "deep/" * 40 + "ö.txt": b"far"}
    ran.bring(files)
    answer = tenant.api.get(f"{ran.path}.tar")
    whole = body(answer)
    assert len(whole) == int(answer["Content-Length"])
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert found == {f"{ran.job.public_id}-1/{path}": content for path, content in files.items()}


def test_a_cut_off_delivery_goes_on_at_the_last_whole_piece(tenant: Tenant, ran: Brought) -> None:
    content = bytes(range(50))
    ran.offer({"results/x": 50})
    ran.send(0, content[: 2 * PIECE])
    assert ran.ask("put", "/0", content[:PIECE], offset=0).json()["stored"] == [32], (
        "what comes twice is dropped"
    )
    assert ran.ask("put", "/0", content[48:], offset=48).json()["stored"] == [32], (
        "and so is what leaves a hole"
    )
    assert tenant.api.get(ran.path).json()["files"] == [], "only whole files are told"
    assert ran.offer({"results/x": 50}).json() == {"complete": False, "stored": [32]}
    ran.send(0, content, offset=32)
    assert ran.ask("post", "/end").json()["complete"]
    assert body(tenant.api.get(f"{ran.path}/file", path="results/x")) == content
    assert ran.offer({"results/x": 50}).json()["complete"]
    assert ran.ask("put", "/0", b"y" * PIECE, offset=0).json()["complete"], "nothing is changed afterwards"
    assert body(tenant.api.get(f"{ran.path}/file", path="results/x")) == content


def test_what_did_not_arrive_whole_is_dropped_and_said(tenant: Tenant, ran: Brought, store: Path) -> None:
    ran.offer({"results/a": 3, "results/b": 50})
    ran.send(0, b"one")
    ran.send(1, bytes(PIECE))
    ran.ask("post", "/end", {"said": ["The server's store is full.\x07"]})
    told = tenant.api.get(ran.path).json()
    assert [file["path"] for file in told["files"]] == ["results/a"]
    assert told["said"] == ["The server's store is full.?", "1 file did not arrive whole and was not kept."]
    assert [path.name for path in (store / ran.attempt.public_id).iterdir()] == ["0.0"]
    assert OutputSet.objects.get().bytes == 3


def test_only_the_node_of_the_attempt_brings_its_outputs(tenant: Tenant, ran: Brought) -> None:
    other = an_attempt(tenant)
    assert ran.ask("post", body={"files": []}, secret=other.secret).status_code == 404
    ran.offer({"results/a": 3})
    for method, path, sent in (("put", "/0", b"one"), ("post", "/end", {})):
        assert ran.ask(method, path, sent, secret=other.secret).status_code == 404
        assert ran.ask(method, path, sent, secret="flxa_nobody").status_code == 401
        assert ran.ask(method, path, sent, secret=tenant.token).status_code == 401
    Node.objects.filter(pk=ran.node.pk).update(credential_revoked_at=clock.now())
    assert ran.ask("put", "/0", b"one").status_code == 403
    assert ran.attempt.outputs.kept.get().stored == 0


@pytest.mark.parametrize(
    "files",
    [
        {"../x": 1}, {"/etc/passwd": 1}, {"a/../../x": 1}, {"a\x00b": 1}, {"a\nb": 1}, {"a\\b": 1}, {"": 1},
        {"x" * 1025: 1}, {"ok": -1}, {"ok": 2**63},
    ],
)  # fmt: skip
def test_what_no_agent_offers_is_refused(ran: Brought, files: dict[str, int]) -> None:
    assert ran.offer(files).status_code == 400
    assert not OutputSet.objects.exists()


def test_nothing_is_taken_that_was_not_asked_for_or_is_no_piece(tenant: Tenant, ran: Brought) -> None:
    Job.objects.filter(pk=ran.job.pk).update(effective_spec={**ran.job.effective_spec, "outputs": []})
    assert ran.offer({"results/a": 3}).status_code == 409
    Job.objects.filter(pk=ran.job.pk).update(effective_spec=ran.job.effective_spec)
    taken = an_attempt(tenant, outcome="preempted")
    assert taken.offer({"results/a": 3}).status_code == 409
    assert tenant.api.get(taken.path).json()["state"] == "none"
    ran.offer({"results/a": 20})
    assert ran.ask("put", "/0", b"short", offset=0).status_code == 400
    assert ran.ask("put", "/1", b"none", offset=0).status_code == 404
    assert ran.ask("put", "/0", bytes(9_000_000), offset=0).status_code == 413


class TestLimits:
    def test_a_job_has_its_own(self, tenant: Tenant, ran: Brought) -> None:
        with override_settings(OUTPUTS_JOB_BYTES=50, OUTPUTS_JOB_FILES=3):
            assert ran.bring({"a": bytes(40), "b": bytes(20), "c": bytes(10)}) == [0, None, 0]
        told = tenant.api.get(ran.path).json()
        assert [file["path"] for file in told["files"]] == ["a", "c"]
        assert told["said"] == ["1 file was left out: a job's outputs may have 50 bytes and 3 files."]

    def test_what_earlier_attempts_left_makes_room_the_oldest_first(
        self, tenant: Tenant, ran: Brought, store: Path
    ) -> None:
        with override_settings(OUTPUTS_JOB_BYTES=100):
            ran.bring({"a": bytes(40)})
            second = an_attempt(tenant, ran.job)
            second.bring({"a": bytes(40)})
            third = an_attempt(tenant, ran.job)
            assert third.bring({"a": bytes(50)}) == [0]
        states = [tenant.api.get(ran.path, attempt=number).json()["state"] for number in (1, 2, 3)]
        assert states == ["removed", "complete", "complete"]
        assert outputs.sweep() == 1
        left = {path.name for path in store.iterdir()}
        assert left == {second.attempt.public_id, third.attempt.public_id}

    def test_an_organization_has_its_own_and_removing_makes_room(self, tenant: Tenant, ran: Brought) -> None:
        with override_settings(OUTPUTS_ORGANIZATION_BYTES=100, OUTPUTS_ORGANIZATION_FILES=3):
            ran.bring({"a": bytes(60)})
            second = an_attempt(tenant)
            assert second.bring({"a": bytes(60), "b": bytes(10)}) == [None, 0]
            said = tenant.api.get(second.path).json()["said"]
            assert said[0].startswith(
                "1 file was left out: the outputs of all jobs of the organization may have 100"
            )
            assert tenant.api.delete(ran.path).json() == {"attempts": 1}
            assert AuditEntry.objects.latest("id").action == "job.outputs_removed"
            third = an_attempt(tenant)
            assert third.bring({"a": bytes(60)}) == [0]

    def test_one_organization_takes_no_room_of_another(
        self, tenant: Tenant, other: Tenant, ran: Brought
    ) -> None:
        with override_settings(OUTPUTS_ORGANIZATION_BYTES=100):
            ran.bring({"a": bytes(100)})
            assert an_attempt(other).bring({"a": bytes(100)}) == [0]

    def test_the_node_knows_them(self, tenant: Tenant) -> None:
        job = Job.objects.get(public_id=tenant.api.post("/jobs", a_spec(outputs="x/")).json()["id"])
        node = a_node()
        started(job, node)
        (replica,) = attempts_wanted_on([node.pk])[node.pk].replicas
        assert replica.outputs == WantedOutputs(["x"], 1 << 30, 1000)


class TestStore:
    def test_a_full_store_is_told_and_leaves_nothing(
        self, tenant: Tenant, ran: Brought, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran.offer({"results/a": 3})

        def no_room(*_: Any, **__: Any) -> str:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(type(storages["outputs"]), "_save", no_room)
        answer = ran.ask("put", "/0", b"one", offset=0)
        assert (answer.status_code, answer.json()["code"]) == (507, "store_full")
        monkeypatch.undo()
        assert ran.ask("put", "/0", b"one", offset=0).json()["stored"] == [3]

    def test_a_store_that_is_away_is_asked_again(self, ran: Brought, monkeypatch: pytest.MonkeyPatch) -> None:
        ran.offer({"results/a": 3})

        def away(*_: Any, **__: Any) -> str:
            raise ConnectionError("no route")

        with monkeypatch.context() as patch:
            patch.setattr(type(storages["outputs"]), "_save", away)
            assert ran.ask("put", "/0", b"one", offset=0).status_code == 503
        assert ran.ask("put", "/0", b"one", offset=0).json()["stored"] == [3]


class TestEnd:
    def test_the_sweep_removes_what_is_old_and_what_is_of_no_job_any_more_and_nothing_else(
        self, tenant: Tenant, ran: Brought, store: Path
    ) -> None:
        ran.bring(FILES)
        second = an_attempt(tenant)
        second.bring(FILES)
        assert outputs.sweep() == 0
        OutputSet.objects.filter(pk=ran.attempt.pk).update(at=clock.now() - timedelta(days=31))
        (store / "att-another-installation").mkdir()
        (store / "att-another-installation" / "0.0").write_text("x")
        assert outputs.sweep() == 1
        (store / "att-another-installation" / "0.0").unlink()
        (store / "att-another-installation").rmdir()
        assert [path.name for path in store.iterdir()] == [second.attempt.public_id]
        assert tenant.api.get(ran.path).json()["state"] == "removed"
        assert tenant.api.get(f"{ran.path}.tar").status_code == 404
        ran.job.delete()
        second.job.delete()
        assert outputs.sweep() == 1
        assert not list(store.iterdir())

    def test_what_never_came_is_lost_after_a_day(self, tenant: Tenant, ran: Brought) -> None:
        Node.objects.filter(pk=ran.node.pk).update(reachable=False)
        told = tenant.api.get(ran.path).json()
        assert told["sentence"] == f"They are awaited from node {ran.node.name}, which cannot be reached."
        Attempt.objects.filter(pk=ran.attempt.pk).update(ended_at=clock.now() - timedelta(hours=25))
        assert tenant.api.get(ran.path).json()["state"] == "lost"

    def test_a_job_that_asks_for_none_or_never_ran_has_none(self, tenant: Tenant) -> None:
        job = tenant.api.post("/jobs", a_spec()).json()["id"]
        assert (
            tenant.api.get(f"/jobs/{job}/outputs").json()["sentence"] == "The job's spec names no `outputs`."
        )
        job = tenant.api.post("/jobs", a_spec(outputs=["x"])).json()["id"]
        assert tenant.api.get(f"/jobs/{job}/outputs").json()["state"] == "awaited"
        tenant.api.post(f"/jobs/{job}/stop")
        assert tenant.api.get(f"/jobs/{job}/outputs").json()["state"] == "none"


def test_another_tenant_sees_and_removes_nothing(tenant: Tenant, other: Tenant, ran: Brought) -> None:
    ran.bring(FILES)
    for answer in (
        other.api.get(ran.path), other.api.get(f"{ran.path}.tar"), other.api.delete(ran.path),
        other.api.get(f"{ran.path}/file", path="results/a.txt"),
    ):  # fmt: skip
        assert answer.status_code == 404
    _, viewer = tenant.somebody(Role.VIEWER)
    assert viewer.get(ran.path).status_code == 200
    assert viewer.delete(ran.path).status_code == 403
    assert tenant.api.get(ran.path).json()["state"] == "complete"

"""The agents' socket, with real sockets, PostgreSQL and Valkey."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flexai.cluster.models import Node, NodeContact, NodeEvent
from flexai.cluster.services import revoke_credential
from flexai.cluster.telemetry import latest
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.events import publish_on_commit
from flexai.jobs.logs import read_log
from flexai.jobs.models import Attempt, Event, Job, LogPiece
from flexai.jobs.queries_live import job_usage, node_detail
from flexai.realtime import partings
from flexai.tenancy.models import Role
from flexai.tenancy.principals import Principal
from flexai.tenancy.team_secrets import set_secret
from node_agent import protocol
from tests.support.placed import PlacedWorld, report
from tests.support.web import Agent, eventually


def closes(agent, code):
    """The connection ends with this code."""
    with pytest.raises(ConnectionClosed) as ended:
        agent.hear(type(None))
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == code


@pytest.mark.parametrize("credential", ["", "flxa_wrong", "nonsense", "flx_" + "a" * 43])
def test_without_a_good_credential_the_socket_does_not_open(server, world, credential):
    node = world.a_node(reachable=False)
    with pytest.raises(InvalidStatus) as refused:
        server.agent(node, credential)
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["code"] == "unauthenticated"
    assert not Node.objects.get(pk=node.pk).reachable


def test_while_the_database_is_away_nobody_s_credential_is_called_wrong(server, world, monkeypatch):
    node = world.a_node()

    async def away(credential):
        raise OperationalError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr(server.hub.credentials, "ask", away)
        with pytest.raises(InvalidStatus) as refused:
            server.agent(node)
    assert refused.value.response.status_code == 503
    assert json.loads(refused.value.response.body)["code"] == "unavailable"
    with server.agent(node) as socket:
        Agent(socket)


def test_a_revoked_credential_is_refused_and_an_open_connection_ends_at_its_heartbeat(server, world):
    node = world.a_node()
    with server.agent(node) as socket:
        agent = Agent(socket)
        revoke_credential("user:ana", node)
        agent.say(protocol.Heartbeat(sent=1))
        assert agent.hear(protocol.Refused).code == "revoked"
    with pytest.raises(InvalidStatus) as refused:
        server.agent(node)
    assert refused.value.response.status_code == 403


def test_hello_welcome_wanted_and_contact(server, world):
    node = world.a_node(reachable=False)
    attempt = world.placed(node)
    with server.agent(node) as socket:
        agent = Agent(socket)
        assert (agent.welcome.node, agent.welcome.name) == (node.public_id, node.name)
        wanted = agent.hear(protocol.Wanted)
        assert [replica.attempt for replica in wanted.replicas] == [attempt.public_id]
        assert Node.objects.get(pk=node.pk).reachable


def test_a_life_from_wanted_to_succeeded(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.hear(protocol.Wanted)
        piece = protocol.LogPiece(attempt=attempt.public_id, replica=0, offset=0, data=b"hello\n\xff")
        agent.say(protocol.Reports(seq=1, items=[report(attempt, "starting"), report(attempt, "running")]))
        agent.say(protocol.Logs(seq=2, items=[piece]))
        agent.say(protocol.Reports(seq=3, items=[report(attempt, "ended", log_size=7)]))
        while agent.hear(protocol.Ack).seq < 3:
            pass
        assert Job.objects.get(pk=attempt.job_id).state == "succeeded"
        log = read_log(attempt.job_id)
        assert (log.data, log.ended) == (b"hello\n\xff", True)
    world.assert_counters_agree()


def test_a_wake_brings_the_wanted_state_as_it_is_now(server, world):
    node = world.a_node()
    with server.agent(node) as socket:
        agent = Agent(socket)
        assert agent.hear(protocol.Wanted).replicas == []
        with transaction.atomic():
            attempt = world.placed(node)
            publish_on_commit(nodes=[node.pk])
        wanted = agent.hear_wanted(lambda state: bool(state.replicas))
        assert wanted.replicas[0].attempt == attempt.public_id
        assert wanted.version > 1


def test_a_hundred_wakes_are_few_queries_and_no_frame_without_news(server, world, monkeypatch):
    node = world.a_node()
    from flexai.realtime import hub

    asked = []
    real = hub.attempts_wanted_on
    monkeypatch.setattr(
        hub, "attempts_wanted_on", lambda pks: asked.append(pks) or time.sleep(0.05) or real(pks)
    )
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.hear(protocol.Wanted)
        asked.clear()
        for _ in range(100):
            publish_on_commit(nodes=[node.pk, 999_999])
        time.sleep(0.5)
        assert 1 <= len(asked) < 20
        assert all(pks == [node.pk] for pks in asked)
        with pytest.raises(TimeoutError):
            agent.hear(protocol.Wanted, timeout=0.2)


def test_nothing_is_acknowledged_before_its_commit(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as socket:
        agent = Agent(socket)
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=attempt.job_id)
            agent.say(protocol.Reports(seq=1, items=[report(attempt, "running")]))
            with pytest.raises(TimeoutError):
                agent.hear(protocol.Ack, timeout=0.5)
        assert agent.hear(protocol.Ack).seq == 1
        assert Attempt.objects.get(pk=attempt.pk).state == "running"


def test_a_heartbeat_is_answered_once_the_renewal_is_committed(server, world):
    node = world.a_node()
    with server.agent(node) as socket:
        agent = Agent(socket)
        before = NodeContact.objects.get(node=node).renewed_at
        with transaction.atomic():
            NodeContact.objects.select_for_update().get(node=node)
            agent.say(protocol.Heartbeat(sent=4711))
            with pytest.raises(TimeoutError):
                agent.hear(protocol.Renewed, timeout=0.5)
        assert agent.hear(protocol.Renewed).sent == 4711
        assert NodeContact.objects.get(node=node).renewed_at > before


def test_a_replay_after_a_lost_acknowledgement_changes_nothing(server, world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    frames = [
        protocol.Logs(
            seq=1, items=[protocol.LogPiece(attempt=attempt.public_id, replica=0, offset=0, data=b"abc")]
        ),
        protocol.Reports(seq=2, items=[report(attempt, "running"), report(attempt, "ended", log_size=3)]),
    ]
    chip = protocol.ChipInfo(index=0, type="H100", memory_mib=80_000, isolation=["exclusive"])
    for _ in range(2):
        with server.agent(node) as socket:
            agent = Agent(socket, chips=[chip])
            for frame in frames:
                agent.say(frame)
            while agent.hear(protocol.Ack).seq < 2:
                pass
    assert LogPiece.objects.count() == 1
    assert Event.objects.filter(job=attempt.job, kind="attempt.ended").count() == 1
    world.assert_counters_agree()


def test_a_missing_message_ends_the_connection_and_a_doubled_one_changes_nothing(server, world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    with server.agent(node) as socket:
        agent = Agent(socket)
        for _ in range(2):
            agent.say(protocol.Reports(seq=1, items=[report(attempt, "running")]))
        assert agent.hear(protocol.Ack).seq == 1
        agent.say(protocol.Reports(seq=3, items=[report(attempt, "ended")]))
        assert agent.hear(protocol.Refused).code == "gap"
        closes(agent, 4410)
    assert Attempt.objects.get(pk=attempt.pk).state == "running"


def test_a_wanted_state_that_never_arrived_is_sent_again(server, world):
    node = world.a_node()
    world.placed(node)
    with server.agent(node) as socket:
        agent = Agent(socket)
        first = agent.hear_wanted(lambda state: bool(state.replicas))
        agent.say(protocol.Heartbeat(sent=1, wanted_version=0))
        agent.hear(protocol.Renewed)
        agent.say(protocol.Heartbeat(sent=2, wanted_version=0))
        assert agent.hear(protocol.Wanted).replicas == first.replicas


def test_an_agent_that_speaks_for_another_node_is_refused_and_nothing_changes(server, world):
    mine, other = world.a_node(), world.a_node()
    attempt = world.placed(other)
    with server.agent(mine) as socket, server.agent(other) as undisturbed:
        agent, bystander = Agent(socket), Agent(undisturbed)
        piece = protocol.LogPiece(attempt=attempt.public_id, replica=0, offset=0, data=b"lies")
        agent.say(protocol.Logs(seq=1, items=[piece]))
        agent.say(protocol.Reports(seq=2, items=[report(attempt, "ended")]))
        assert agent.hear(protocol.Refused).code == "foreign"
        closes(agent, 4403)
        bystander.say(protocol.Heartbeat(sent=1))
        bystander.hear(protocol.Renewed)
    assert Attempt.objects.get(pk=attempt.pk).state == "placed"
    assert LogPiece.objects.count() == 0
    assert NodeEvent.objects.filter(node=mine, reason_code="foreign").exists()


MALFORMED = {
    "not json": "{",
    "no tag": "{}",
    "unknown tag": '{"t":"sudo"}',
    "wrong type": '{"t":"reports","seq":"one","items":[]}',
    "bad outcome": '{"t":"reports","seq":1,"items":[{"attempt":"a","replica":0,"state":"ended","outcome":"boom"}]}',
    "bad base64": '{"t":"logs","seq":1,"items":[{"attempt":"a","replica":0,"offset":0,"data":"***"}]}',
    "negative offset": '{"t":"logs","seq":1,"items":[{"attempt":"a","replica":0,"offset":-1,"data":"YQ=="}]}',
    "huge number": '{"t":"heartbeat","sent":' + "9" * 400 + "}",
    "deep nesting": "[" * 100_000,
    "a second hello": '{"t":"hello","version":1,"boot_id":"b","agent_version":"1",'
    '"inventory":{"cpu_milli":1,"memory_mib":1}}',
    "short telemetry": b"FXT1",
    "telemetry of another version": b"FXT9" + b"\x00" * 40,
}


@pytest.mark.parametrize("frame", list(MALFORMED.values()), ids=list(MALFORMED))
def test_a_malformed_frame_ends_its_connection_and_no_other(server, world, frame):
    node, other = world.a_node(), world.a_node()
    with server.agent(node) as socket, server.agent(other) as undisturbed:
        agent, bystander = Agent(socket), Agent(undisturbed)
        agent.socket.send(frame)
        refused = agent.hear(protocol.Refused)
        assert refused.code == "malformed"
        closes(agent, 4400)
        bystander.say(protocol.Heartbeat(sent=1))
        bystander.hear(protocol.Renewed)
        eventually(
            lambda: NodeEvent.objects.filter(
                node=node, kind="agent.refused", reason_code="malformed"
            ).exists()
        )


@pytest.mark.parametrize(
    "frame",
    ["x" * (protocol.MAX_TEXT_FRAME + 1), b"x" * (protocol.MAX_BINARY_FRAME + 1)],
    ids=["text", "binary"],
)
def test_an_oversized_frame_is_refused(server, world, frame):
    node = world.a_node()
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.socket.send(frame)
        assert agent.hear(protocol.Refused).code == "too_large"
        closes(agent, 1009)


def test_a_flood_of_refusals_is_counted_not_written_each_time(server, world):
    node = world.a_node()
    for _ in range(5):
        with server.agent(node) as socket:
            agent = Agent(socket)
            agent.socket.send("{")
            agent.hear(protocol.Refused)
    eventually(lambda: NodeEvent.objects.filter(node=node, kind="agent.refused").exists())
    assert NodeEvent.objects.filter(node=node, kind="agent.refused").count() == 1


def test_another_version_or_no_hello_is_refused(server, world, monkeypatch):
    node = world.a_node(reachable=False)
    with server.agent(node) as socket:
        socket.send('{"t":"heartbeat","sent":1}')
        assert "must be a Hello" in socket.recv(timeout=60)
    with server.agent(node) as socket:
        socket.send(
            '{"t":"hello","version":99,"boot_id":"b","agent_version":"1","inventory":{"cpu_milli":1,"memory_mib":1}}'
        )
        assert json.loads(socket.recv(timeout=60))["code"] == "version"
    from flexai.realtime import agents

    monkeypatch.setattr(agents, "HELLO_SECONDS", 0.2)
    with server.agent(node) as socket:
        assert json.loads(socket.recv(timeout=60))["code"] == "hello_late"
    assert not Node.objects.get(pk=node.pk).reachable


def test_a_second_connection_of_a_node_replaces_the_first(server, world):
    node = world.a_node()
    with server.agent(node) as first, server.agent(node) as second:
        old = Agent(first)
        new = Agent(second)
        closes(old, 4409)
        new.say(protocol.Heartbeat(sent=5))
        assert new.hear(protocol.Renewed).sent == 5
        assert Node.objects.get(pk=node.pk).reachable


def test_a_node_that_goes_is_unreachable_and_back_when_it_returns(server, world, monkeypatch):
    monkeypatch.setattr(partings, "CONTACT_SECONDS", 1.2)
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as socket:
        Agent(socket)
    assert Node.objects.get(pk=node.pk).reachable
    eventually(lambda: not Node.objects.get(pk=node.pk).reachable)
    assert Job.objects.get(pk=attempt.job_id).status == "unreachable"
    with server.agent(node) as socket:
        Agent(socket)
        assert Node.objects.get(pk=node.pk).reachable
        assert Job.objects.get(pk=attempt.job_id).status == "starting"


def test_many_nodes_that_go_at_once_are_a_few_statements_and_all_unreachable(server, world, monkeypatch):
    monkeypatch.setattr(partings, "CONTACT_SECONDS", 0.5)
    calls = []
    heard, lose = partings.services.heard, partings.contact.lose_contact
    monkeypatch.setattr(partings.services, "heard", lambda *a, **k: (calls.append("heard"), heard(*a, **k)))
    monkeypatch.setattr(
        partings.contact, "lose_contact", lambda *a, **k: (calls.append("lost"), lose(*a, **k))
    )
    nodes = [world.a_node() for _ in range(20)]
    with ExitStack() as stack:
        agents = [Agent(stack.enter_context(server.agent(node))) for node in nodes]
        for agent in agents:
            agent.socket.socket.close()
        eventually(lambda: not Node.objects.filter(reachable=True).exists())
    assert max(calls.count("heard"), calls.count("lost")) < 20


@pytest.mark.parametrize("ahead_ms", [300_000, -300_000])
def test_what_a_node_with_a_wrong_clock_says_is_put_where_it_was_by_ours(server, world, ahead_ms):
    node = world.a_node()
    attempt = world.placed(node)
    placed_at = clock.now() - timedelta(minutes=2)
    Attempt.objects.filter(pk=attempt.pk).update(placed_at=placed_at)
    ran, ended = (clock.to_ms(clock.now()) - back for back in (60_000, 30_000))
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.say(protocol.Heartbeat(sent=1, wall=clock.to_ms(clock.now()) + ahead_ms))
        moves = [
            report(attempt, "running", at=ran + ahead_ms), report(attempt, "ended", at=ended + ahead_ms)
        ]  # fmt: skip
        agent.say(protocol.Reports(seq=1, items=moves))
        agent.hear(protocol.Ack)
    attempt.refresh_from_db()
    for told, true in ((attempt.running_at, ran), (attempt.ended_at, ended)):
        assert abs(clock.to_ms(told) - true) < 5_000


def test_a_missing_replica_is_asked_for_its_end_and_its_job_waits_again(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.say(protocol.Reports(seq=1, items=[report(attempt, "running")]))
        agent.hear(protocol.Ack)
    with server.agent(node) as socket:
        agent = Agent(socket)
        [replica] = agent.hear(protocol.Wanted).replicas
        assert (replica.desired, replica.stop_outcome) == ("stop", "node_lost")
        agent.say(
            protocol.Reports(seq=1, items=[report(attempt, "ended", outcome="node_lost", exit_code=None)])
        )
        agent.hear(protocol.Ack)
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.state, job.failures) == ("queued", 0)


def test_an_end_that_was_on_its_way_counts_although_the_node_has_forgotten_the_replica(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.say(protocol.Reports(seq=1, items=[report(attempt, "running")]))
        agent.hear(protocol.Ack)
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.say(protocol.Reports(seq=1, items=[report(attempt, "ended")]))
        agent.hear(protocol.Ack)
    assert Job.objects.get(pk=attempt.job_id).state == "succeeded"


def test_a_new_boot_id_ends_earlier_attempts_before_the_wanted_state(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as socket:
        Agent(socket)
    with server.agent(node) as socket:
        agent = Agent(socket, boot_id="boot-2")
        assert agent.hear(protocol.Wanted).replicas == []
    assert Attempt.objects.get(pk=attempt.pk).outcome == "node_lost"


def test_the_database_away_delays_and_loses_nothing(server, world):
    node = world.a_node()
    attempts = [world.placed(node) for _ in range(3)]
    with server.agent(node) as socket:
        agent = Agent(socket)
        for seq, attempt in enumerate(attempts, 1):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            agent.say(protocol.Reports(seq=seq, items=[report(attempt, "running"), report(attempt, "ended")]))
        while agent.hear(protocol.Ack).seq < 3:
            pass
    assert {job.state for job in Job.objects.filter(cell=world.cell)} == {"succeeded"}


def test_valkey_forgetting_its_subscribers_is_healed(server, world):
    node = world.a_node()
    with server.agent(node) as socket:
        agent = Agent(socket)
        agent.hear(protocol.Wanted)
        valkey().client_kill_filter(_type="pubsub")
        attempt = world.placed(node)
        wanted = agent.hear_wanted(lambda state: bool(state.replicas))
        assert wanted.replicas[0].attempt == attempt.public_id


def test_a_changed_inventory_is_followed_and_a_wrong_one_refused(server, world):
    node = world.a_node()
    good = protocol.ChipInfo(index=0, type="H100", memory_mib=80_000)
    with server.agent(node) as socket:
        agent = Agent(socket, chips=[good])
        sick = protocol.ChipInfo(index=0, type="H100", memory_mib=80_000, healthy=False, health_note="XID 79")
        agent.say(protocol.InventoryChanged(protocol.Inventory(cpu_milli=1, memory_mib=1, chips=[sick])))
        eventually(lambda: node.chips.get().health_note == "XID 79")
        assert not node.chips.get().healthy
        agent.say(
            protocol.InventoryChanged(protocol.Inventory(cpu_milli=1, memory_mib=1, chips=[good, good]))
        )
        assert agent.hear(protocol.Refused).code == "malformed"
    assert node.chips.get().health_note == "XID 79"


def test_telemetry_reaches_nodes_jobs_and_the_minute(server, world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    chip = protocol.ChipInfo(index=0, type="H100", memory_mib=80_000, isolation=["exclusive"])
    frame = protocol.pack_telemetry(
        protocol.Telemetry(
            at=clock.to_ms(clock.now()), host_cpu_permille=250, host_memory_mib=1234,
            chips=[protocol.ChipSample(0, 870, 4096, 61, 300_000)],
            replicas=[protocol.ReplicaSample(protocol.replica_key(attempt.public_id, 0), 1500, 77, 99)],
        )
    )  # fmt: skip
    with server.agent(node) as socket:
        agent = Agent(socket, chips=[chip])
        agent.socket.send(frame)
        eventually(lambda: latest([node.pk]))
    detail = node_detail(node.public_id, organizations=None)
    assert detail["use"] == {"cpu_permille": 250, "memory_mib": 1234}
    [live] = detail["chips"]
    assert (live["use_permille"], live["live_memory_mib"], live["temperature_c"]) == (870, 4096, 61)
    assert live["job"] == {"id": attempt.job.public_id, "name": "train"}
    [replica] = job_usage(attempt.job_id)["replicas"]
    assert (replica["cpu_permille"], replica["memory_mib"]) == (1500, 77)
    assert replica["chips"][0]["use_permille"] == 870
    hidden = node_detail(node.public_id, organizations=[PlacedWorld().organization.pk])
    assert hidden["chips"][0]["job"] is None
    assert hidden["chips"][0]["used_milli"] == 1000


def test_secrets_are_given_to_the_node_that_starts_the_replica_and_to_no_other(server, world):
    owner = Principal(world.user, world.organization, Role.OWNER)
    set_secret(owner, world.team, "HF", "hidden")
    node, other = world.a_node(), world.a_node()
    attempt = world.placed(node, secrets={"TOKEN": "HF"})
    question = protocol.SecretsAsked([(attempt.public_id, 0, 1)])
    with server.agent(node) as socket:
        agent = Agent(socket)
        assert agent.hear(protocol.Wanted).replicas[0].secrets == ["TOKEN"]
        agent.say(question)
        given = agent.hear(protocol.SecretsGiven)
        assert (given.attempt, given.values, given.refused) == (attempt.public_id, {"TOKEN": "hidden"}, "")
    with server.agent(other) as socket:
        agent = Agent(socket)
        agent.say(question)
        assert agent.hear(protocol.Refused).code == "foreign"
        closes(agent, 4403)
    for wrong in ([("a\0", 0, 1)], [("a", -1, 1)], [("a", 0, 1)] * (protocol.MAX_ASKED + 1)):
        with server.agent(node) as socket:
            agent = Agent(socket)
            agent.say(protocol.SecretsAsked(wrong))
            assert agent.hear(protocol.Refused).code == "malformed"

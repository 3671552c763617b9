"""The browsers' socket: who may open it, who hears what, and what happens to those who do not listen."""

from __future__ import annotations

import json
import socket
import time

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flexai.common.broker import valkey
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.reports import take_reports
from flexai.tenancy.browser_sessions import SessionStore
from flexai.tenancy.models import Membership, TeamMember, Token, User
from flexai.tenancy.tokens import create_token
from node_agent import protocol
from tests.support.placed import PlacedWorld, report
from tests.support.web import Agent, heard_until


def a_member(world: PlacedWorld, name: str = "ana", role: str = "member") -> User:
    user = User.objects.create_user(username=name, password="correct horse battery")
    Membership.objects.create(organization=world.organization, user=user, role=role)
    return user


def session_of(user: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def by_session(server, key: str, origin: str | None = None):
    headers = {"Cookie": f"flexai_session={key}"}
    return server.browser(additional_headers=headers, origin=origin or f"http://127.0.0.1:{server.port}")


def by_token(server, world, user, scopes=("read",), team=None):
    _, secret = create_token(user, world.organization, "t", scopes, 1, team)
    return server.browser(subprotocols=[f"flexai.bearer.{secret}"])


def subscribe(socket, *topics):
    socket.send(json.dumps({"subscribe": list(topics)}))


def settled(socket, topic):
    """The subscriptions sent before have been taken: a topic that nobody may hear is answered."""
    subscribe(socket, topic)
    heard_until(socket, lambda message: message["topic"] == topic and message["kind"] == "refused")


def test_nobody_without_a_session_or_token(server, world):
    with pytest.raises(InvalidStatus) as refused:
        server.browser(origin=f"http://127.0.0.1:{server.port}")
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus):
        server.browser(subprotocols=["flexai.bearer.flx_" + "a" * 43])
    with pytest.raises(InvalidStatus):
        by_session(server, "nonsense")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_page_with_a_good_cookie_is_refused(server, world, origin):
    key = session_of(a_member(world))
    with by_session(server, key):
        pass
    with pytest.raises(InvalidStatus):
        by_session(server, key, origin)


def test_an_expired_revoked_or_scopeless_token_is_refused(server, world):
    user = a_member(world)
    with by_token(server, world, user) as socket:
        assert socket.subprotocol.startswith("flexai.bearer.")
    with pytest.raises(InvalidStatus):
        by_token(server, world, user, scopes=("write",))
    _, secret = create_token(user, world.organization, "t", ("read",), 1)
    from flexai.common import clock

    Token.objects.update(revoked_at=clock.now())
    with pytest.raises(InvalidStatus):
        server.browser(subprotocols=[f"flexai.bearer.{secret}"])


def test_a_member_hears_of_its_teams_jobs(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    topic = f"team:{world.team.public_id}:jobs"
    with by_session(server, session_of(a_member(world))) as socket:
        subscribe(socket, topic, f"job:{attempt.job.public_id}")
        settled(socket, "job:none")
        take_reports(node.pk, [report(attempt, "running")])
        for expected in (topic, f"job:{attempt.job.public_id}"):
            message = heard_until(socket, lambda one, expected=expected: one["topic"] == expected)
            assert (message["kind"], message["id"]) == ("job", attempt.job.public_id)
            assert message["version"] == 1
            assert message["data"]["status"] == "running"


def test_another_tenant_hears_nothing(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    stranger = a_member(PlacedWorld(), "eve", "owner")
    with by_session(server, session_of(stranger)) as socket:
        topics = [
            f"team:{world.team.public_id}:jobs",
            f"job:{attempt.job.public_id}",
            "team:::jobs",
            "everything",
        ]
        subscribe(socket, *topics)
        refused = {heard_until(socket, lambda one: one["kind"] == "refused")["topic"] for _ in topics}
        assert refused == set(topics)
        take_reports(node.pk, [report(attempt, "running")])
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.5)


def test_a_token_of_one_team_hears_that_team_only(server, world):
    user = a_member(world)
    with by_token(server, world, user, team=world.team) as socket:
        subscribe(socket, f"team:{world.parent.public_id}:jobs", f"team:{world.team.public_id}:jobs")
        message = json.loads(socket.recv(timeout=60))
        assert (message["kind"], message["topic"]) == ("refused", f"team:{world.parent.public_id}:jobs")
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)


def test_unsubscribed_topics_are_silent(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    topic = f"team:{world.team.public_id}:jobs"
    with by_session(server, session_of(a_member(world))) as socket:
        subscribe(socket, topic)
        socket.send(json.dumps({"unsubscribe": [topic]}))
        settled(socket, "job:none")
        take_reports(node.pk, [report(attempt, "running")])
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.5)


def test_news_of_one_object_are_bundled_and_numbered_without_gaps(server, world):
    team = world.team.public_id
    with by_session(server, session_of(a_member(world))) as socket:
        subscribe(socket, f"team:{team}:jobs")
        settled(socket, "job:none")
        for version in range(1, 201):
            publish_on_commit(hints=[Hint("job", "job-x", version, team)])
        messages = []
        while not messages or messages[-1]["version"] < 200:
            messages.append(heard_until(socket, lambda one: one["kind"] == "job"))
        assert len(messages) < 100
        numbers = [message["seq"] for message in messages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        versions = [message["version"] for message in messages]
        assert versions == sorted(versions)


def test_logs_are_for_those_who_look_at_the_job(server, world):
    node = world.a_node()
    attempt = world.placed(node)
    with server.agent(node) as agent_socket, by_session(server, session_of(a_member(world))) as socket:
        agent = Agent(agent_socket)
        subscribe(socket, f"job:{attempt.job.public_id}")
        settled(socket, "job:none")
        piece = protocol.LogPiece(attempt=attempt.public_id, replica=0, offset=0, data=b"12345")
        agent.say(protocol.Logs(seq=1, items=[piece]))
        message = heard_until(socket, lambda one: one["kind"] == "logs")
        assert message["data"] == {"attempt": 1, "replica": 0, "size": 5}


def test_chips_come_once_a_second(server, world):
    node = world.a_node()
    frame = protocol.pack_telemetry(
        protocol.Telemetry(1, 0, 0, [protocol.ChipSample(0, 500, 1), protocol.ChipSample(2, 2000, 1)])
    )
    with server.agent(node) as agent_socket, by_session(server, session_of(a_member(world))) as socket:
        agent = Agent(agent_socket)
        subscribe(socket, "cluster")
        settled(socket, "job:none")
        agent.socket.send(frame)
        message = heard_until(socket, lambda one: one["kind"] == "chips")
        assert message["data"]["use"] == {node.public_id: [500, None, 1000]}


def test_a_gap_is_told_after_the_broker_was_away(server, world):
    with by_session(server, session_of(a_member(world))) as socket:
        subscribe(socket, "cluster")
        settled(socket, "job:none")
        valkey().client_kill_filter(_type="pubsub")
        message = heard_until(socket, lambda one: one["kind"] == "gap")
        assert message["seq"] == 3


@pytest.mark.parametrize("frame", ["{", "[]", '{"subscribe": "all"}', "x" * 40_000, b"\x00"])
def test_a_malformed_frame_ends_the_connection(server, world, frame):
    with by_session(server, session_of(a_member(world))) as socket:
        socket.send(frame)
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=60)
        assert ended.value.rcvd.code == 4400


def test_subscriptions_are_bounded(server, world, monkeypatch):
    from flexai.realtime import browsers

    monkeypatch.setattr(browsers, "MAX_TOPICS", 1)
    with by_session(server, session_of(a_member(world))) as socket:
        subscribe(socket, "cluster", f"team:{world.team.public_id}:jobs")
        assert heard_until(socket, lambda one: one["kind"] == "refused")["topic"].startswith("team:")


def test_who_does_not_read_is_dropped_and_disturbs_nobody(server, world, monkeypatch):
    from flexai.realtime import browsers

    monkeypatch.setattr(browsers, "STUCK_SECONDS", 0.5)
    key, team = session_of(a_member(world)), world.team.public_id
    wish = json.dumps({"subscribe": [f"team:{team}:jobs"]})
    with deaf(server, key, wish) as stuck, by_session(server, key) as reader:
        subscribe(reader, f"team:{team}:jobs")
        settled(reader, "job:none")
        filling = {"filling": "x" * 60_000}
        for version in range(300):
            publish_on_commit(hints=[Hint("job", f"job-{version}", version, team, filling)])
            time.sleep(0.005)
        heard_until(reader, lambda one: one["version"] == 299, timeout=60)
        time.sleep(2)
        assert last_close_code(stuck) == 4408


def deaf(server, key, text):
    """An open socket, by hand, of a client that says one thing and then reads nothing."""
    stuck = socket.create_connection(("127.0.0.1", server.port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    stuck.settimeout(5)
    host = f"127.0.0.1:{server.port}"
    stuck.sendall(
        f"GET /ws/v1 HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: flexai_session={key}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b" 101 " in stuck.recv(1000)
    stuck.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text.encode())
    return stuck


def last_close_code(stuck):
    """Read what is left, which is text of x; the code of the close frame at its end."""
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    data = b""
    while b"\x88\x02" not in data:
        piece = stuck.recv(1 << 20)
        assert piece, "it ended without a close frame"
        data = data[-4:] + piece
    place = data.index(b"\x88\x02") + 2
    return int.from_bytes(data[place : place + 2], "big")


def test_a_lost_membership_ends_its_subscriptions(server, world, monkeypatch):
    from flexai.realtime import browsers

    monkeypatch.setattr(browsers, "CHECKED_EVERY_SECONDS", 0.3)
    user = a_member(world)
    other = PlacedWorld()
    TeamMember.objects.create(team=other.team, user=user)
    with by_session(server, session_of(user)) as socket:
        topic = f"team:{world.team.public_id}:jobs"
        subscribe(socket, topic)
        settled(socket, "job:none")
        Membership.objects.filter(user=user).delete()
        assert heard_until(socket, lambda one: one["kind"] == "refused")["topic"] == topic


def test_a_session_that_ends_closes_the_socket(server, world, monkeypatch):
    from flexai.realtime import browsers

    monkeypatch.setattr(browsers, "CHECKED_EVERY_SECONDS", 0.3)
    key = session_of(a_member(world))
    with by_session(server, key) as socket:
        SessionStore(session_key=key).delete()
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=60)
        assert ended.value.rcvd.code == 4401


def test_the_cluster_topic_is_for_everybody_signed_in(server, world):
    node = world.a_node()
    with by_session(server, session_of(a_member(world))) as socket:
        subscribe(socket, "cluster")
        settled(socket, "job:none")
        publish_on_commit(hints=[Hint("node", node.public_id, 3)])
        message = heard_until(socket, lambda one: one["kind"] == "node")
        assert (message["id"], message["version"]) == (node.public_id, 3)

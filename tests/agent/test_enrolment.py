"""The credential that a node keeps: for which server it is used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.enrol import Credential, Enrolment, EnrolUnreachableError, store


@pytest.mark.parametrize(
    ("kept_for", "server", "used"),
    [
        ("https://flexai.example", "https://flexai.example", True),
        ("https://flexai.example", "https://another.example", False),
        ("https://flexai.example", "http://127.0.0.1:8000", False),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", "http://127.0.0.1.example:8001", False),
    ],
)
def test_a_credential_is_for_one_server_whatever_its_port_on_this_machine(
    tmp_path: Path, kept_for: str, server: str, used: bool
) -> None:
    """Else a platform whose port was taken would find its own node's name in use."""
    path = tmp_path / "credential.json"
    kept = Credential(server=kept_for, name="one", node_id="node-1", credential="flxa_x")
    store(path, kept)
    assert Enrolment(server, "one", None, path).stored() == (kept if used else None)


async def test_an_agent_that_was_stopped_before_the_answer_came_asks_with_the_same_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def no_answer(self: Enrolment, credential: str) -> tuple[int, bytes]:
        asked.append(credential)
        raise EnrolUnreachableError("no answer")

    enrolment = Enrolment("https://flexai.example", "one", "flxe_x", tmp_path / "credential.json")
    monkeypatch.setattr(Enrolment, "_ask", no_answer)
    with pytest.raises(EnrolUnreachableError):
        await enrolment.enrol()
    assert enrolment.stored() is None

    def an_answer(self: Enrolment, credential: str) -> tuple[int, bytes]:
        asked.append(credential)
        return 201, b'{"node_id": "n"}'

    monkeypatch.setattr(Enrolment, "_ask", an_answer)
    kept = await enrolment.enrol()
    assert asked[0] == asked[1] == kept.credential
    assert enrolment.stored() == kept
    assert [file.name for file in tmp_path.iterdir()] == ["credential.json"]

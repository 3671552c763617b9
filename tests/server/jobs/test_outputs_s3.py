"""The store for outputs on an S3-compatible object store, spoken to by HTTP. Needs `flexai[s3]` and `moto[server]`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test.utils import override_settings

from flexai.common.errors import Unavailable
from flexai.config.settings import outputs_backend
from flexai.jobs import outputs_store

pytest.importorskip("storages", reason="flexai[s3] is not installed: not tested against an object store")
moto_server = pytest.importorskip(
    "moto.server", reason="moto[server] is not installed: no object store to test with"
)
boto3 = pytest.importorskip("boto3")

PIECE = outputs_store.OUTPUT_PIECE


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The settings name a bucket of a server of this test's own."""
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "FLEXAI_OUTPUTS_S3_BUCKET": "kept", "FLEXAI_OUTPUTS_S3_ENDPOINT": f"http://{host}:{port}",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=os.environ["FLEXAI_OUTPUTS_S3_ENDPOINT"])
    client.create_bucket(Bucket="kept")
    with override_settings(STORAGES={**settings.STORAGES, "outputs": outputs_backend()}):
        yield "kept"
    server.stop()


def test_pieces_are_written_read_and_removed(bucket: str) -> None:
    content = os.urandom(PIECE) + b"the rest"
    outputs_store.put_piece("att-1", 0, 0, bytes(PIECE))
    outputs_store.put_piece("att-1", 0, 0, content[:PIECE])
    outputs_store.put_piece("att-1", 0, PIECE, content[PIECE:])
    outputs_store.put_piece("att-2", 0, 0, b"other")
    assert b"".join(outputs_store.read("att-1", 0, 0, len(content))) == content, (
        "written again is written over"
    )
    assert b"".join(outputs_store.read("att-1", 0, PIECE - 2, PIECE + 3)) == content[PIECE - 2 : PIECE + 3]
    outputs_store.remove_all("att-1")
    outputs_store.remove_all("att-1")
    assert _keys() == ["flexai-outputs/att-2/0.0"]
    outputs_store.remove_file("att-2", 0, 5)
    assert _keys() == []


def _keys() -> list[str]:
    client = boto3.client("s3", endpoint_url=os.environ["FLEXAI_OUTPUTS_S3_ENDPOINT"])
    return [one["Key"] for one in client.list_objects_v2(Bucket="kept").get("Contents", [])]


def test_a_store_that_is_away_may_be_asked_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXAI_OUTPUTS_S3_BUCKET", "not-there")
    with (
        override_settings(STORAGES={**settings.STORAGES, "outputs": outputs_backend()}),
        pytest.raises(Unavailable),
    ):
        outputs_store.put_piece("att-1", 0, 0, b"x")

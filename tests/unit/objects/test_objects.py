"""Objects in a folder and in S3 by one protocol."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import AwsError, ClaryError, NotFoundError, PermissionDeniedError, Retry, UsageError
from clary.objects import ObjectStore, open_store
from clary.objects import s3 as s3_module
from clary.objects.folder import FolderStore
from s3_proxy import S3, s3_on_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Given:
    """Credentials that live for ever, as far as they know themselves; renewing takes the next of several."""

    def __init__(self, *ids: str | ClaryError) -> None:
        self.ids = list(ids)

    def __call__(self) -> dict[str, object]:
        if isinstance(self.ids[0], ClaryError):
            raise self.ids[0]
        return {"access_key_id": self.ids[0], "secret_access_key": "x", "token": "t", "expires_at": None}

    def renew(self) -> None:
        self.ids = self.ids[1:] or self.ids


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_on_loopback() as found:
        yield found


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_store(str(tmp_path / "objects"))
    s3: S3 = request.getfixturevalue("s3")
    return s3.store()


def test_objects_are_stored_replaced_and_read(store: ObjectStore) -> None:
    assert store.get("a/b") is None
    assert store.size("a/b") is None
    store.put("a/b", b"one")
    store.put("a/b", b"three")
    assert store.get("a/b") == b"three"
    assert store.size("a/b") == 5
    store.put("a/empty", b"")
    assert store.get("a/empty") == b""
    assert store.url("a/b") == f"{store.root}/a/b"


def test_a_key_is_created_once(store: ObjectStore) -> None:
    assert store.create("k", b"first")
    assert not store.create("k", b"second")
    assert store.get("k") == b"first"


def test_of_many_at_once_one_creates(store: ObjectStore) -> None:
    for number in range(3):
        created: list[int] = []
        start = threading.Barrier(6)

        def create(name: int, number: int = number, created: list[int] = created, start: Any = start) -> None:
            start.wait(30)
            if store.create(f"log/{number}", str(name).encode()):
                created.append(name)

        threads = [threading.Thread(target=create, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(created) == 1
        assert store.get(f"log/{number}") == str(created[0]).encode()


def test_keys_come_in_order_and_from_where_one_was(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "_PAGE", 3)
    keys = [f"runs/x/log/{number:010}.json" for number in range(1, 12)]
    for key in reversed(keys):
        store.put(key, b"{}")
    store.put("runs/x/logs", b"another folder's neighbour")
    store.put("runs/y/log/0000000001.json", b"{}")
    assert list(store.keys("runs/x/log")) == keys
    assert list(store.keys("runs/x/log", after=keys[6])) == keys[7:]
    assert list(store.keys("runs/x/log", after=keys[-1])) == []
    assert list(store.keys("nothing")) == []
    assert store.folders("runs") == ["x", "y"]
    assert store.folders("nothing") == []


def test_files_are_streamed(store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 50_000)
    store.put_file("big", source)
    assert store.size("big") == source.stat().st_size
    target.write_bytes(b"old")
    assert store.get_file("big", target)
    assert target.read_bytes() == source.read_bytes()
    assert not store.get_file("missing", target)
    assert target.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["source", "target"]


def test_keys_never_lead_out_of_a_folder(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path / "objects"))
    for key in ("../outside", "/etc/passwd", "a/../../outside"):
        with pytest.raises(ValueError, match="not a key"):
            store.put(key, b"")
    assert not (tmp_path / "outside").exists()


def test_half_written_files_are_not_seen(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path))
    store.put("log/1", b"x")
    (tmp_path / "log" / ".arriving-abc").write_bytes(b"half")  # of a process that was killed
    assert list(store.keys("log")) == ["log/1"]


def test_places_that_are_none() -> None:
    for root in ("gs://bucket", "relative/folder", ""):
        with pytest.raises(UsageError) as caught:
            open_store(root)
        assert caught.value.code == "store.unknown_scheme"


def test_a_missing_bucket_is_told_by_reads_writes_and_lists(s3: S3) -> None:
    store = s3.store(bucket="there-is-none")
    ways: list[Any] = [
        lambda: store.get("k"),
        lambda: store.put("k", b""),
        lambda: store.create("k", b""),
        lambda: list(store.keys("runs")),
        lambda: store.folders("runs"),
    ]
    for way in ways:
        with pytest.raises(NotFoundError) as caught:
            way()
        assert caught.value.code == "store.bucket_not_found"


def test_a_write_is_tried_again_until_the_patience_ends(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PUT_PATIENCE", 0.0)
    store = s3.store()
    s3.plan.fault = lambda method, _path, before: "503" if method == "PUT" and before < 5 else None
    try:
        with pytest.raises(ClaryError) as caught:
            store.put("k", b"x")
        assert caught.value.code == "aws.throttled"
        monkeypatch.setattr(s3_module, "PUT_PATIENCE", 30.0)
        store.put("other", b"x")
    finally:
        s3.plan.fault = lambda _method, _path, _before: None
    assert store.get("other") == b"x"


def test_nothing_answers(unused_tcp_port: int) -> None:
    store = open_store(
        "s3://bucket",
        region="us-east-1",
        endpoint=f"http://127.0.0.1:{unused_tcp_port}",
        credentials=Given("a"),
    )
    with pytest.raises(AwsError) as caught:
        store.get("k")
    assert caught.value.code == "aws.unreachable"
    assert str(unused_tcp_port) in caught.value.summary


def test_a_refusal_names_the_right_that_is_missing(s3: S3) -> None:
    store = s3.store()
    ways: dict[str, Any] = {
        "s3:GetObject": lambda: store.get("k"),
        "s3:PutObject": lambda: store.create("k", b""),
        "s3:ListBucket": lambda: list(store.keys("runs")),
    }
    s3.plan.fault = lambda _method, _path, _before: "403"
    try:
        for right, way in ways.items():
            with pytest.raises(PermissionDeniedError) as caught:
                way()
            assert caught.value.code == "aws.access_denied"
            assert caught.value.details["action"] == right
    finally:
        s3.plan.fault = lambda _method, _path, _before: None


class _OnlyTakes(BaseHTTPRequestHandler):
    """An S3 that takes one access key, and calls every other one expired; a HEAD gives no reason."""

    good = "third"

    def _answer(self) -> None:
        key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        status, code = (403, "InvalidAccessKeyId") if key == "rotated" else (400, "ExpiredToken")
        status = 200 if key == self.good else status
        data = b"x" if status == 200 else f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = _answer  # noqa: N815 - the names of the base class

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def picky() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _OnlyTakes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_expired_credentials_are_renewed_once_a_request(picky: str) -> None:
    def opened(*ids: str) -> ObjectStore:
        return open_store("s3://bucket/p", region="us-east-1", endpoint=picky, credentials=Given(*ids))

    ways: list[Callable[[ObjectStore], Any]] = [
        lambda store: store.get("k"),
        lambda store: store.size("k"),
        lambda store: store.put("k", b"x"),
        lambda store: store.create("k", b"x"),
        lambda store: list(store.keys("runs")),
    ]
    for way in ways[:-1]:
        way(opened("second", "third"))
    assert opened("rotated", "third").get("k") == b"x"
    for way in ways:
        store = opened("first", "second", "fourth")
        with pytest.raises(PermissionDeniedError) as caught:
            way(store)
        assert (caught.value.code, caught.value.retry) == ("aws.expired_credentials", Retry.NO)
    with pytest.raises(PermissionDeniedError) as caught:
        opened("rotated", "rotated").get("k")
    assert caught.value.code == "aws.invalid_credentials"


def test_credentials_that_cannot_be_had_are_told_as_they_were(picky: str) -> None:
    reason = PermissionDeniedError("aws.sign_in_expired", "Gone.", next_step="Sign in.")
    store = open_store("s3://bucket/p", region="us-east-1", endpoint=picky, credentials=Given(reason))
    for way in (lambda: store.get("k"), lambda: store.put("k", b"x"), lambda: store.size("k")):
        with pytest.raises(PermissionDeniedError) as caught:
            way()
        assert caught.value is reason


def test_many_threads_share_one_renewal(picky: str) -> None:
    given = Given("first", "third", "never")
    store = open_store("s3://bucket/p", region="us-east-1", endpoint=picky, credentials=given)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.get, [f"k{number}" for number in range(16)])) == [b"x"] * 16
    assert given.ids == ["third", "never"]

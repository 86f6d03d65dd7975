"""S3 as SDKs use it: moto's answers, our bytes."""

from __future__ import annotations

import hashlib
import http.client
import io
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from pathlib import Path

    from clary.testing import Sandbox

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(idle: Sandbox) -> Any:
    return idle.client("s3")


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 100, MIB, 3 * MIB + 7])
def test_bytes_come_back(idle: Sandbox, s3: Any, size: int) -> None:
    body = noise(size)
    put = s3.put_object(
        Bucket=idle.bucket, Key=f"sizes/{size}", Body=body, ContentType="text/x", Metadata={"a_b": "1", "c-d": "2"}
    )
    got = s3.get_object(Bucket=idle.bucket, Key=f"sizes/{size}")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert got["ContentLength"] == size
    assert got["ContentType"] == "text/x"
    assert got["Metadata"] == {"a_b": "1", "c-d": "2"}


@pytest.mark.parametrize("span", ["bytes=0-9", "bytes=5-", "bytes=-7", "bytes=1048576-1048580"])
@pytest.mark.parametrize("size", [MIB // 2, 2 * MIB])
def test_ranges(idle: Sandbox, s3: Any, span: str, size: int) -> None:
    body, key = noise(size), f"ranges/{size}"
    s3.put_object(Bucket=idle.bucket, Key=key, Body=body)
    start, _, end = span.removeprefix("bytes=").partition("-")
    expected = body[-int(end) :] if not start else body[int(start) : int(end) + 1 if end else None]
    if not expected:
        with pytest.raises(ClientError, match="InvalidRange"):
            s3.get_object(Bucket=idle.bucket, Key=key, Range=span)
        return
    got = s3.get_object(Bucket=idle.bucket, Key=key, Range=span)
    assert got["Body"].read() == expected
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"].endswith(f"/{size}")


def test_a_big_file_goes_up_in_parts_and_comes_down_in_parts(idle: Sandbox, s3: Any, tmp_path: Path) -> None:
    body = noise(20 * MIB)
    s3.upload_fileobj(io.BytesIO(body), idle.bucket, "parts/big")
    s3.download_file(idle.bucket, "parts/big", str(tmp_path / "big"))
    assert (tmp_path / "big").read_bytes() == body
    assert s3.get_object(Bucket=idle.bucket, Key="parts/big")["Body"].read() == body
    assert s3.head_object(Bucket=idle.bucket, Key="parts/big")["ETag"].endswith('-3"')


def test_copy_delete_and_list(idle: Sandbox, s3: Any) -> None:
    body = noise(2 * MIB)
    s3.put_object(Bucket=idle.bucket, Key="copy/a", Body=body, Metadata={"m": "1"})
    s3.copy_object(Bucket=idle.bucket, Key="copy/b", CopySource={"Bucket": idle.bucket, "Key": "copy/a"})
    s3.delete_object(Bucket=idle.bucket, Key="copy/a")
    assert s3.get_object(Bucket=idle.bucket, Key="copy/b")["Body"].read() == body
    for n in range(5):
        s3.put_object(Bucket=idle.bucket, Key=f"copy/x {n}+ü", Body=b"")
    listed = s3.list_objects_v2(Bucket=idle.bucket, Prefix="copy/")["Contents"]
    assert [item["Key"] for item in listed] == ["copy/b", *[f"copy/x {n}+ü" for n in range(5)]]
    s3.delete_objects(Bucket=idle.bucket, Delete={"Objects": [{"Key": item["Key"]} for item in listed]})
    assert s3.list_objects_v2(Bucket=idle.bucket, Prefix="copy/")["KeyCount"] == 0
    assert files_named(idle, "copy/") == 0


def files_named(idle: Sandbox, prefix: str) -> int:
    import sqlite3

    with sqlite3.connect(idle.data / "aws.db") as database:
        rows = database.execute("SELECT count(*) FROM objects WHERE key LIKE ?", (f"{prefix}%",)).fetchone()
    database.close()
    return int(rows[0])


def test_overwritten_bytes_are_removed_from_the_disk(idle: Sandbox, s3: Any) -> None:
    def used() -> int:
        return sum(1 for path in (idle.data / "objects").rglob("*") if path.is_file())

    s3.put_object(Bucket=idle.bucket, Key="over", Body=b"0")
    before = used()
    for n in range(5):
        s3.put_object(Bucket=idle.bucket, Key="over", Body=str(n).encode())
    assert used() == before
    s3.delete_object(Bucket=idle.bucket, Key="over")
    assert used() == before - 1


def test_exactly_one_of_many_conditional_writers_wins(idle: Sandbox) -> None:
    clients = [idle.client("s3") for _ in range(4)]

    def won(client: Any, **write: Any) -> bool:
        try:
            client.put_object(Bucket=idle.bucket, Key="lease", **write)
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            return False
        return True

    def write(n: int) -> bool:
        return won(clients[n % 4], Body=str(n).encode(), IfNoneMatch="*")

    with ThreadPoolExecutor(32) as pool:
        winners = [n for n, first in enumerate(pool.map(write, range(32))) if first]
    assert len(winners) == 1
    got = clients[0].get_object(Bucket=idle.bucket, Key="lease")
    assert got["Body"].read() == str(winners[0]).encode()

    def replace(n: int) -> bool:
        return won(clients[n % 4], Body=b"new%d" % n, IfMatch=got["ETag"])

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(replace, range(32))) == 1


def test_readers_never_see_half_of_an_overwrite(idle: Sandbox) -> None:
    writer, reader = idle.client("s3"), idle.client("s3")
    bodies = [bytes([n]) * (MIB + MIB // 2) for n in range(8)]
    writer.put_object(Bucket=idle.bucket, Key="torn", Body=bodies[0])

    def write() -> None:
        for body in bodies:
            writer.put_object(Bucket=idle.bucket, Key="torn", Body=body)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(write)
        seen = set()
        while not done.done():
            seen.add(reader.get_object(Bucket=idle.bucket, Key="torn")["Body"].read())
        done.result()
    assert seen <= set(bodies)


def test_virtual_hosted_addresses(idle: Sandbox, s3: Any) -> None:
    from botocore.config import Config

    s3.put_object(Bucket=idle.bucket, Key="hosted", Body=b"x")
    port = idle.endpoint.rpartition(":")[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    url = idle.client("s3", config=Config(s3={"addressing_style": "path"})).generate_presigned_url(
        "get_object", Params={"Bucket": idle.bucket, "Key": "hosted"}
    )
    query = url.partition("?")[2]
    connection.request("GET", f"/hosted?{query}", headers={"Host": f"{idle.bucket}.localhost:{port}"})
    assert connection.getresponse().read() == b"x"
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Origin": "http://evil.example"}],
)
def test_web_pages_are_refused(idle: Sandbox, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(idle.endpoint.rpartition(":")[2]), timeout=10)
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request"}
    connection.request("GET", "/", headers={**signed, **headers})
    assert connection.getresponse().status == 403
    connection.close()


def test_requests_without_an_access_key_are_refused(idle: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(idle.endpoint.rpartition(":")[2]), timeout=10)
    connection.request("GET", f"/{idle.bucket}/lease")
    answer = connection.getresponse()
    assert (answer.status, b"AccessDenied" in answer.read()) == (403, True)
    connection.request("POST", "/", body=b"{}", headers={"X-Amz-Target": "SageMaker.ListTrainingJobs"})
    answer = connection.getresponse()
    assert (answer.status, b"MissingAuthenticationTokenException" in answer.read()) == (403, True)
    connection.close()


def test_the_socket_file_is_private_and_serves_the_same(idle: Sandbox) -> None:
    import socket

    path = idle.data / "sandbox.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert idle.data.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 403")

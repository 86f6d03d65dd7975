"""Wheels from an index on loopback to this machine, through faults."""

from __future__ import annotations

import base64
import errno
import json
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
import trustme

import package_index
from clary.errors import ClaryError, Retry
from clary.images.building import Quiet, Wheel
from clary.images.packages import fetching, store
from package_index import PASSWORD, USER, PackageIndex
from patience import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PAYLOAD = bytes(range(256)) * 16_384
"""4 MiB: a reply of several chunks."""


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index.serving() as served:
        yield served


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "wheels"


def _wheel(index: PackageIndex, name: str = "pure", payload: bytes = b"") -> Wheel:
    filename = f"{name}-1.0-py3-none-any.whl"
    data = index.files.get(filename) or package_index.zipped({f"{name}.bin": payload}) + payload
    return Wheel(name, "1.0", filename, index.add(filename, data), len(data), index.file_url(filename))


def _fetch(index: PackageIndex, kept: Path, *wheels: Wheel, **more: Any) -> list[bytes]:
    settings: dict[str, Any] = {
        "environment": package_index.environment(index, kept.parent / "home"),
        "progress": Quiet(),
    }
    found = fetching.fetch(wheels, kept, **{**settings, **more})
    assert list(found) == list(wheels)
    return [path.read_bytes() for path in found.values()]


def _refused(index: PackageIndex, kept: Path, *wheels: Wheel, **more: Any) -> ClaryError:
    with pytest.raises(ClaryError) as caught:
        _fetch(index, kept, *wheels, **more)
    return caught.value


def test_wheels_arrive_whole_and_are_fetched_once(index: PackageIndex, kept: Path) -> None:
    wheels = [_wheel(index, name, name.encode() * 1000) for name in ("a", "b", "c")]

    first = _fetch(index, kept, *wheels)

    assert first == [index.files[wheel.filename] for wheel in wheels]
    assert _fetch(index, kept, *reversed(wheels)) == first[::-1]
    assert len(index.asked) == 3
    assert not list(kept.rglob(store.PARTIAL))


def test_a_broken_reply_is_gone_on_with_where_it_broke(index: PackageIndex, kept: Path) -> None:
    wheel = _wheel(index, payload=_PAYLOAD)
    index.fault = lambda _path, number: "cut" if number < 2 else None

    (data,) = _fetch(index, kept, wheel)

    assert data == index.files[wheel.filename]
    half, quarter = len(data) // 2, (len(data) + 1) // 2 // 2
    assert [one.range for one in index.asked] == [None, f"bytes={half}-", f"bytes={half + quarter}-"]


def test_a_host_that_knows_no_ranges_begins_anew(index: PackageIndex, kept: Path) -> None:
    wheel = _wheel(index, payload=_PAYLOAD)
    index.ranges = False
    index.fault = lambda _path, number: "cut" if number == 0 else None

    assert _fetch(index, kept, wheel) == [index.files[wheel.filename]]


@pytest.mark.parametrize("status", ["503", "429", "500"])
def test_a_busy_host_is_asked_again(index: PackageIndex, kept: Path, status: str) -> None:
    wheel = _wheel(index)
    index.fault = lambda _path, number: status if number == 0 else None

    assert _fetch(index, kept, wheel) == [index.files[wheel.filename]]
    assert len(index.asked) == 2


@pytest.mark.parametrize("left", ["half", "damaged", "longer", "whole"])
def test_what_a_killed_process_left_is_gone_on_with(index: PackageIndex, kept: Path, left: str) -> None:
    wheel = _wheel(index, payload=_PAYLOAD)
    data = index.files[wheel.filename]
    begun = {"half": data[: len(data) // 2], "damaged": b"?" * 100, "longer": data + b"?", "whole": data}[left]
    partial = kept / wheel.sha256 / store.PARTIAL
    partial.parent.mkdir(parents=True)
    partial.write_bytes(begun)

    assert _fetch(index, kept, wheel) == [data]
    ranges = [one.range for one in index.asked]
    assert (
        ranges
        == {"half": [f"bytes={len(begun)}-"], "damaged": ["bytes=100-", None], "longer": [None], "whole": []}[left]
    )


def test_another_file_than_the_locked_one_is_never_kept(index: PackageIndex, kept: Path) -> None:
    wheel = _wheel(index)
    index.fault = lambda _path, _number: "wrong"

    refused = _refused(index, kept, wheel)

    assert refused.code == "image.hash_mismatch"
    assert wheel.filename in refused.summary
    assert wheel.sha256 in refused.summary
    assert refused.details["found"] in refused.summary
    assert not [file for file in kept.rglob("*") if file.is_file() and file.name != ".lock"]


@pytest.mark.parametrize("size", [1, -1])
def test_a_file_of_another_size_is_refused(index: PackageIndex, kept: Path, size: int) -> None:
    wheel = _wheel(index)
    wheel = replace(wheel, size=wheel.size + size)

    assert _refused(index, kept, wheel).code == "image.hash_mismatch"


def test_a_size_that_is_not_known_is_not_held_against_the_file(index: PackageIndex, kept: Path) -> None:
    wheel = replace(_wheel(index), size=0)

    assert _fetch(index, kept, wheel) == [index.files[wheel.filename]]


@pytest.mark.parametrize(
    ("fault", "code", "retry"),
    [
        ("404", "image.file_not_found", Retry.NO),
        ("403", "image.index_refused", Retry.NO),
        ("400", "image.index_unreachable", Retry.LATER),
    ],
)
def test_a_refusal_is_told_by_its_kind(index: PackageIndex, kept: Path, fault: str, code: str, retry: Retry) -> None:
    index.fault = lambda _path, _number: fault

    refused = _refused(index, kept, _wheel(index))

    assert (refused.code, refused.retry) == (code, retry)
    assert index.address in refused.summary


def test_a_host_that_is_gone_is_told(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clary.images.packages.downloading._PAUSES", (0.0, 0.0))
    with package_index.serving() as index:
        wheel = _wheel(index)

    refused = _refused(index, kept, wheel)

    assert refused.code == "image.index_unreachable"
    assert refused.retry is Retry.LATER


def test_the_first_failure_ends_the_other_downloads(index: PackageIndex, kept: Path) -> None:
    wheels = [_wheel(index, f"w{number}", _PAYLOAD) for number in range(6)]
    index.fault = lambda path, _number: "404" if "/w0-" in path else "503"

    assert _refused(index, kept, *wheels, parallel=2).code == "image.file_not_found"


def test_progress_is_told_of_every_file(index: PackageIndex, kept: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    stages: list[str] = []

    class Watching(Quiet):
        def stage(self, text: str) -> None:
            stages.append(text)

        def transfer(self, name: str, done: int, total: int) -> None:
            seen.setdefault(name, []).append((done, total))

    wheels = [_wheel(index, "a", _PAYLOAD), _wheel(index, "b")]
    _fetch(index, kept, *wheels, progress=Watching())

    assert {name: rows[-1] for name, rows in seen.items()} == {one.filename: (one.size, one.size) for one in wheels}
    assert all(rows == sorted(rows) for rows in seen.values())
    assert stages[0].startswith("fetching 2 packages, ")


def test_a_file_of_this_machine_is_copied_and_verified(index: PackageIndex, kept: Path, tmp_path: Path) -> None:
    wheel = _wheel(index)
    place = tmp_path / "flat folder" / wheel.filename
    place.parent.mkdir()
    place.write_bytes(index.files[wheel.filename])
    by_url = replace(wheel, url=place.as_uri())

    assert _fetch(index, kept, by_url) == [index.files[wheel.filename]]
    place.write_bytes(b"another")
    assert _refused(index, tmp_path / "other", by_url).code == "image.hash_mismatch"
    gone = _refused(index, tmp_path / "other", replace(by_url, url=f"{by_url.url}x"))
    assert gone.code == "image.file_not_found"
    assert str(gone.next_step).startswith("Build again")


def test_a_wheel_that_another_machine_built_is_told(index: PackageIndex, kept: Path) -> None:
    refused = _refused(index, kept, replace(_wheel(index), url=None))

    assert refused.code == "image.wheel_missing"


@pytest.mark.parametrize("way", ["index", "file", "netrc", "named", "keyring"])
def test_the_login_is_found_where_uv_finds_it(kept: Path, tmp_path: Path, way: str) -> None:
    with package_index.serving(password=PASSWORD) as index:
        wheel = _wheel(index)
        environment = package_index.environment(index, tmp_path / "home")
        if way == "index":
            environment["UV_DEFAULT_INDEX"] = index.secret_url
        elif way == "file":
            wheel = replace(wheel, url=f"{index.secret_url.removesuffix('/simple')}/files/{wheel.filename}")
        elif way == "netrc":
            (tmp_path / "home" / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        elif way == "named":
            named = {"UV_INDEX": f"a={index.url}", "UV_INDEX_A_USERNAME": USER, "UV_INDEX_A_PASSWORD": PASSWORD}
            environment |= named
        else:
            (tmp_path / "keyring").write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
            (tmp_path / "keyring").chmod(0o700)
            environment |= {"PATH": f"{tmp_path}:{environment['PATH']}", "UV_KEYRING_PROVIDER": "subprocess"}
            environment["UV_DEFAULT_INDEX"] = index.url.replace("://", f"://{USER}@")

        assert _fetch(index, kept, wheel, environment=environment) == [index.files[wheel.filename]]


def test_a_wrong_login_is_told_without_it(kept: Path, tmp_path: Path) -> None:
    with package_index.serving(password="another") as index:
        environment = package_index.environment(index, tmp_path / "home", index.secret_url)
        refused = _refused(index, kept, _wheel(index), environment=environment)

    assert refused.code == "image.index_refused"
    assert "UV_INDEX_<NAME>_PASSWORD" in refused.next_step
    assert "pa55" not in str(refused.to_dict())


def test_a_redirect_takes_the_login_to_no_other_host(kept: Path, tmp_path: Path) -> None:
    with package_index.serving() as other, package_index.serving(password=PASSWORD) as index:
        wheel = _wheel(index)
        other.add(wheel.filename, index.files[wheel.filename])
        index.fault = lambda path, _number: (
            f"to:{other.file_url(wheel.filename)}" if path.startswith("/files/") else None
        )
        environment = package_index.environment(index, tmp_path / "home", index.secret_url)

        assert _fetch(index, kept, wheel, environment=environment) == [index.files[wheel.filename]]
        assert index.asked[0].authorization is not None
        assert [one.authorization for one in other.asked] == [None]


def test_redirects_that_never_end_are_told(index: PackageIndex, kept: Path) -> None:
    wheel = _wheel(index)
    index.fault = lambda _path, _number: f"to:{index.file_url(wheel.filename)}"

    assert _refused(index, kept, wheel).code == "image.index_unreachable"
    assert len(index.asked) < 20


def test_a_proxy_is_used_where_the_environment_names_one(index: PackageIndex, kept: Path, tmp_path: Path) -> None:
    wheel = _wheel(index)
    far = replace(wheel, url=f"http://packages.invalid/files/{wheel.filename}")
    environment = package_index.environment(index, tmp_path / "home")
    environment["HTTP_PROXY"] = f"http://{USER}:secret@{index.address}"

    assert _fetch(index, kept, far, environment=environment) == [index.files[wheel.filename]]
    assert index.asked[0].target == far.url
    assert index.asked[0].proxy_authorization == f"Basic {base64.b64encode(f'{USER}:secret'.encode()).decode()}"
    environment["NO_PROXY"] = "127.0.0.1"
    assert _fetch(index, tmp_path / "near", wheel, environment=environment) == [index.files[wheel.filename]]
    assert index.asked[-1].target == f"/files/{wheel.filename}"


def test_a_certificate_of_ones_own_is_trusted_where_it_is_named(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clary.images.packages.downloading._PAUSES", (0.0,))
    authority, certificate = trustme.CA(), tmp_path / "certificate.pem"
    authority.cert_pem.write_to_path(str(certificate))
    with package_index.serving(authority=authority) as index:
        wheel = _wheel(index)
        environment = package_index.environment(index, tmp_path / "home")
        refused = _refused(index, tmp_path / "other", wheel, environment=environment)
        environment["SSL_CERT_FILE"] = str(certificate)

        assert _fetch(index, kept, wheel, environment=environment) == [index.files[wheel.filename]]
    assert refused.code == "image.index_unreachable"
    assert "SSL_CERT_FILE" in refused.next_step


_PROGRAM = """\
import json, sys
from pathlib import Path
from clary.images.building import Quiet, Wheel
from clary.images.packages import fetching
wheels = [Wheel(**row) for row in json.loads(sys.argv[2])]
found = fetching.fetch(wheels, Path(sys.argv[1]), environment={}, progress=Quiet())
print(len({path.read_bytes() for path in found.values()}))
"""


def test_processes_at_once_fetch_each_file_once(index: PackageIndex, kept: Path) -> None:
    wheels = [_wheel(index, name, name.encode() + _PAYLOAD) for name in ("a", "b", "c")]
    rows = json.dumps([asdict(wheel) for wheel in wheels])
    command = [sys.executable, "-c", _PROGRAM, str(kept), rows]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["3"] * 3
    assert sorted(one.path for one in index.asked) == sorted(f"/files/{wheel.filename}" for wheel in wheels)


def test_a_download_that_was_killed_is_gone_on_with(index: PackageIndex, kept: Path) -> None:
    wheel = _wheel(index, payload=_PAYLOAD)
    index.fault = lambda _path, number: "stall" if number == 0 else None
    partial = kept / wheel.sha256 / store.PARTIAL
    killed = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(kept), json.dumps([asdict(wheel)])])
    until(lambda: partial.exists() and partial.stat().st_size >= store.CHUNK, "the first chunk of the file")
    killed.kill()
    killed.wait(timeout=30)
    left = partial.stat().st_size

    assert _fetch(index, kept, wheel) == [index.files[wheel.filename]]
    assert [one.range for one in index.asked] == [None, f"bytes={left}-"]


def test_threads_at_once_fetch_a_file_once(index: PackageIndex, kept: Path) -> None:
    wheel = _wheel(index, payload=_PAYLOAD)
    threads = [threading.Thread(target=_fetch, args=(index, kept, wheel)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(index.asked) == 1
    assert _fetch(index, kept, wheel) == [index.files[wheel.filename]]


def test_a_full_disk_is_told() -> None:
    with pytest.raises(ClaryError) as caught, store.disk_errors():
        raise OSError(errno.ENOSPC, "No space left on device")

    assert caught.value.code == "image.disk_full"

"""Wheels, good and damaged: a layer holds exactly what the wheel promises, or the wheel is refused.

``CLARY_TEST_EXAMPLES`` says how many examples each test tries; thousands find what a quick run does not.
"""

from __future__ import annotations

import os
import random
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.errors import ConfigError
from clary.images.building import Python, Wheel
from clary.images.layers.making import wheel_layer
from clary.images.layers.venv import Venv
from unpacked import SITE, Found, check_record, unpacked
from wheel_maker import Draft, demo, wheel_of

EXAMPLES = int(os.environ.get("CLARY_TEST_EXAMPLES", "100"))
VENV = Venv(Python("3.11", "/usr/bin/python3.11"))
TOP = "opt/clary/venv/"
quick = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])

_part = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters='/\\"\n\r'), min_size=1, max_size=40
).filter(lambda part: part not in (".", "..", "__pycache__") and ":" not in part and part == part.strip())
_contents = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.integers(0, 40_000)),
    st.builds(lambda data, times: data * times, st.binary(max_size=20), st.integers(0, 20_000)),
)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Return any wheel that is in order."""
    tops = st.sampled_from(["demo", "demo-1.0.data/data/share", "demo-1.0.data/purelib/inner", "demo-1.0.data/scripts"])
    files = {
        f"{draw(tops)}/{number}-{'/'.join(draw(st.lists(_part, min_size=1, max_size=3)))}": draw(_contents)
        for number in range(draw(st.integers(0, 6)))
    }
    names = st.lists(st.sampled_from(sorted(files)), unique=True) if files else st.just([])
    return Draft(
        files=files,
        stored=draw(names),
        modes=dict.fromkeys(draw(names), 33261),
        level=draw(st.sampled_from([0, 1, 6, 9])),
        zip64=draw(st.booleans()),
        descriptors=draw(st.booleans()),
    )


@quick
@given(drafts())
def test_every_good_wheel_arrives_whole(draft: Draft) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = wheel_layer(draft.write(Path(folder)), VENV, Path(folder, "layer"))
        again = wheel_layer(draft.write(Path(folder)), VENV, Path(folder, "again"))
        found = unpacked(made.layer)

    assert made.layer.digest == again.layer.digest
    listed = check_record(found, "demo-1.0.dist-info")
    assert set(listed) == set(found.files)
    for name, content in draft.files.items():
        place = _place(name)
        if not content.startswith(b"#!python"):
            assert found.files[place] == content
        executable = draft.modes.get(name) or place.startswith(f"{TOP}bin/")
        assert found.entries[place].mode == (0o755 if executable else 0o644)


def _place(name: str) -> str:
    for start, place in (("data", ""), ("purelib", "lib/python3.11/site-packages/"), ("scripts", "bin/")):
        if name.startswith(f"demo-1.0.data/{start}/"):
            return f"{TOP}{place}{name.removeprefix(f'demo-1.0.data/{start}/')}"
    return f"{SITE}/{name}"


def _layer(wheel: Wheel, folder: str) -> Found | None:
    """Return what a wheel's layer holds, None where the wheel is refused as it should be."""
    try:
        made = wheel_layer(wheel, VENV, Path(folder, "layer"))
    except ConfigError as error:
        if error.code != "image.bad_wheel" or list(Path(folder).glob("*layer*")):
            raise
        return None
    return unpacked(made.layer)


def _original(draft: Draft) -> tuple[bytes, Found]:
    with tempfile.TemporaryDirectory() as folder:
        wheel = draft.write(Path(folder))
        assert wheel.path is not None
        return wheel.path.read_bytes(), unpacked(wheel_layer(wheel, VENV, Path(folder, "layer")).layer)


ORIGINALS = [
    _original(demo()),
    _original(demo(stored=("demo/big.bin", "demo/main.py"))),
    _original(demo(zip64=True)),
    _original(demo(descriptors=True)),
    _original(demo(zip64=True, descriptors=True)),
    _original(
        demo(
            files={**demo().files, "demo-1.0.data/scripts/tool": b"#!python\nimport demo\n", "x.pth": b"import demo\n"}
        )
    ),
]
_VALUES = [0, 1, 2, 7, 8, 9, 12, 0xFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0xA1FF0000]


def _marks(data: bytes) -> list[int]:
    """Return where the headers begin."""
    return [at for at in range(len(data) - 3) if data[at : at + 2] == b"PK" and data[at + 2] < 8]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, Found]:
    """Return the bytes of a wheel to which something was done, and what the wheel held."""
    data, found = draw(st.sampled_from(ORIGINALS))
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from([_flip, _field, _cut, _insert, _move, _other_header]))(draw, data)
    return data, found


def _at(draw: st.DrawFn, data: bytes) -> int:
    """Return a place in the file, near a header more often than not: they are a small part of it."""
    marks, near = _marks(data), draw(st.booleans())
    if marks and near:
        return min(len(data) - 1, draw(st.sampled_from(marks)) + draw(st.integers(0, 60)))
    return draw(st.integers(0, max(0, len(data) - 1)))


def _flip(draw: st.DrawFn, data: bytes) -> bytes:
    at = _at(draw, data)
    return data[:at] + bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in data[at : at + 1]) + data[at + 1 :]


def _field(draw: st.DrawFn, data: bytes) -> bytes:
    at, form = _at(draw, data), draw(st.sampled_from(["<H", "<L", "<Q"]))
    value = struct.pack(form, draw(st.sampled_from(_VALUES)) & (256 ** struct.calcsize(form) - 1))
    return data[:at] + value + data[at + len(value) :]


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    start, length = _at(draw, data), draw(st.sampled_from([1, 2, 10, 46, 1000, 1_000_000]))
    return data[:start] + data[start + length :]


def _insert(draw: st.DrawFn, data: bytes) -> bytes:
    at = _at(draw, data)
    return data[:at] + draw(st.binary(min_size=1, max_size=60)) + data[at:]


def _move(draw: st.DrawFn, data: bytes) -> bytes:
    source, target, length = _at(draw, data), _at(draw, data), draw(st.sampled_from([4, 16, 30, 46, 100]))
    return data[:target] + data[source : source + length] + data[target + length :]


def _other_header(draw: st.DrawFn, data: bytes) -> bytes:
    marks = _marks(data) or [0]
    source, target = draw(st.sampled_from(marks)), draw(st.sampled_from(marks))
    return data[:target] + data[source : source + 46] + data[target + 46 :]


@quick
@given(damaged())
def test_a_damaged_wheel_is_refused_or_right(case: tuple[bytes, Found]) -> None:
    data, original = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "demo-1.0-py3-none-any.whl")
        path.write_bytes(data)
        found = _layer(wheel_of(path, "demo", "1.0"), folder)
    if found is None:
        return
    assert all(name.startswith(TOP) or TOP.startswith(f"{name}/") for name in found.names)
    assert not found.links
    assert found.files == original.files


@quick
@given(
    st.text(max_size=30), st.sampled_from([0o100644, 0o120777, 0o40755, 0o100755, 0, 0o60600]), st.binary(max_size=40)
)
def test_no_name_leads_out(name: str, mode: int, content: bytes) -> None:
    """Whatever a wheel calls its files: they come to lie below the environment, or it is refused."""
    for path in (name, f"../{name}", f"demo-1.0.data/data/{name}", f"demo-1.0.data/scripts/{name}", f"/{name}"):
        try:
            path.encode()
            zipfile.ZipInfo(path)
        except ValueError:
            continue
        with tempfile.TemporaryDirectory() as folder:
            wheel = demo(files={path: content}, modes={path: mode}).write(Path(folder))
            found = _layer(wheel, folder)
        if found is None:
            continue
        assert all(one.startswith(TOP) or TOP.startswith(f"{one}/") for one in found.names)
        assert all(".." not in one.split("/") for one in found.names)
        assert not found.links


@quick
@given(st.binary(max_size=400))
def test_metadata_of_any_kind_is_refused_or_read(content: bytes) -> None:
    info = "demo-1.0.dist-info"
    for part in ("RECORD", "METADATA", "WHEEL", "entry_points.txt"):
        with tempfile.TemporaryDirectory() as folder:
            wheel = Draft(files={f"{info}/{part}": content}).write(Path(folder))
            _layer(wheel, folder)  # no error but the refusal


@pytest.mark.parametrize("stored", [(), ("demo/zeros",)])
def test_memory_does_not_grow_with_a_file(stored: tuple[str, ...]) -> None:
    size = 64 << 20
    with tempfile.TemporaryDirectory() as folder:
        wheel = demo(files={"demo/zeros": bytes(size)}, stored=stored).write(Path(folder))
        tracemalloc.start()
        try:
            made = wheel_layer(wheel, VENV, Path(folder, "layer"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert made.layer.size < size / 100
    assert peak < 16 << 20


def test_a_bomb_costs_no_more_than_it_claims() -> None:
    """A file of 64 MiB that claims 100 bytes is refused at the hundred and first."""
    draft = demo(files={"demo/bomb": bytes(64 << 20)})
    with tempfile.TemporaryDirectory() as folder:
        wheel = draft.write(Path(folder))
        assert wheel.path is not None
        wheel.path.write_bytes(wheel.path.read_bytes().replace(struct.pack("<L", 64 << 20), struct.pack("<L", 100)))
        tracemalloc.start()
        try:
            with pytest.raises(ConfigError) as caught:
                wheel_layer(wheel, VENV, Path(folder, "layer"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert caught.value.code == "image.bad_wheel"
    assert peak < 8 << 20

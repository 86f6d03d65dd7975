from __future__ import annotations

import platform
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import Tag, sys_tags
from packaging.utils import parse_wheel_filename

from clary.errors import ConfigError
from clary.images.building import Python, Wheel
from clary.images.packages import pylocks, targets
from clary.images.platforms import Platform

_ARM = Platform("arm64")


def _python(version: str = "3.12", **more: object) -> Python:
    return Python(version, "/usr/bin/python3", **more)  # type: ignore[arg-type]  # keywords of the class


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (_python(), "x86_64-manylinux_2_28"),
        (_python(libc_version=(2, 36)), "x86_64-manylinux_2_36"),
        (_python(libc_version=(2, 26)), "x86_64-manylinux_2_17"),
        (_python(libc_version=(2, 30), platform=_ARM), "aarch64-manylinux_2_28"),
        (_python(libc_version=(2, 41)), "x86_64-manylinux_2_40"),
        (_python(libc="musl", libc_version=(1, 2)), "x86_64-unknown-linux-musl"),
        (_python(libc="musl", libc_version=(1, 2), platform=_ARM), "aarch64-unknown-linux-musl"),
    ],
)
def test_uv_is_told_the_newest_platform_that_is_not_newer_than_the_base(python: Python, said: str) -> None:
    assert targets.uv_platform(python) == said


def test_a_c_library_that_no_wheel_is_made_for_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        targets.uv_platform(_python(libc_version=(2, 12)))

    assert caught.value.code == "image.libc_too_old"


@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="compares with this very machine"
)
def test_the_tags_are_those_that_this_machine_has_for_itself() -> None:
    major, minor = platform.libc_ver()[1].split(".")
    machine = Platform({"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])
    version = f"{sys.version_info.major}.{sys.version_info.minor}"

    own = targets.tags(_python(version, libc_version=(int(major), int(minor)), platform=machine))

    here = list(sys_tags())
    assert set(own) == set(here)
    assert _portable(own) == _portable(here)


def test_markers_are_judged_for_the_target() -> None:
    environment = targets.marker_environment(_python("3.13", platform=_ARM))

    assert (environment["python_version"], environment["platform_machine"]) == ("3.13", "aarch64")
    assert targets.marker_environment(_python("3.11.4"))["python_full_version"] == "3.11.4"


def _portable(tags: list[Tag]) -> list[Tag]:
    """Leave out plain ``linux_…``: it says nothing of the C library, so it comes last here, as uv has it."""
    return [tag for tag in tags if not tag.platform.startswith("linux_")]


_INTERPRETERS = st.sampled_from(["py3", "py2.py3", "py2", "cp312", "cp311", "cp313", "pp310", "py312"])
_ABIS = st.sampled_from(["none", "cp312", "abi3", "cp311", "cp313t", "cp313"])
_PLATFORMS = st.sampled_from(
    [
        *("any", "manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_36_x86_64"),
        *("manylinux_2_40_x86_64", "manylinux1_x86_64", "musllinux_1_2_x86_64", "manylinux_2_28_aarch64"),
        *("macosx_11_0_arm64", "win_amd64", "linux_x86_64", "musllinux_1_1_aarch64", "manylinux_2_31_riscv64"),
    ]
)
_FILENAMES = st.sets(
    st.builds("foo-1.0-{}-{}-{}.whl".format, _INTERPRETERS, _ABIS, _PLATFORMS), min_size=1, max_size=25
)
_PYTHONS = st.builds(
    _python,
    st.sampled_from(["3.11", "3.12", "3.13"]),
    libc_version=st.sampled_from([(2, 17), (2, 28), (2, 36), (2, 41)]),
    platform=st.sampled_from([Platform(), _ARM]),
) | st.builds(_python, libc=st.just("musl"), libc_version=st.sampled_from([(1, 1), (1, 2)]))


@given(_FILENAMES, _PYTHONS)
def test_the_wheel_with_the_best_tag_is_chosen_and_never_one_that_does_not_fit(names: set[str], python: Python) -> None:
    order: dict[Tag, int] = {tag: rank for rank, tag in enumerate(targets.tags(python))}
    ranks = {
        name: min(order[tag] for tag in parse_wheel_filename(name)[3] if tag in order)
        for name in names
        if parse_wheel_filename(name)[3] & order.keys()
    }
    rows = ", ".join(f'{{ url = "https://x/{name}", hashes = {{ sha256 = "{"0" * 64}" }} }}' for name in sorted(names))
    text = f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "foo"\nversion = "1.0"\nwheels = [{rows}]\n'
    lock = pylocks.parse(text.encode(), "pylock.toml")

    if not ranks:
        with pytest.raises(ConfigError) as caught:
            pylocks.choose(lock, python, "pylock.toml")
        assert caught.value.code == "image.no_wheel"
        return
    (chosen,) = pylocks.choose(lock, python, "pylock.toml")

    assert isinstance(chosen, Wheel)
    assert ranks[chosen.filename] == min(ranks.values())

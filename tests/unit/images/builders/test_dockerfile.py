"""The generated Dockerfile: what is said in it, and that no value changes its meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clary.image import Image
from clary.images.added import Added
from clary.images.builders import dockerfile
from clary.images.building import CODE, Order, Python
from clary.images.reference import Reference

BASE = "registry.example/python@sha256:" + "b" * 64
LOCK = b"a lock"


def order(image: Image, **changes: Any) -> Order:
    base, target = Reference.parse(BASE), Reference("registry.example", "team/images", "clary-0")
    said = {"image": image, "project": Path("/p"), "base": base, "target": target}
    return Order(**{**said, "python": Python("3.12", "/usr/local/bin/python3"), **changes})


def text(image: Image, *, buildkit: bool = True, **changes: Any) -> str:
    return dockerfile.generated(order(image, **changes), BASE, buildkit=buildkit)


def joined(said: str) -> list[str]:
    """Return the instructions, each as one line."""
    return [re.sub(r" \\\n\s+", " ", line) for line in re.sub(r" \\\n\s+", " ", said).splitlines()]


def test_nothing_but_a_base() -> None:
    assert text(Image()) == f"FROM {BASE}\n"
    assert text(Image(), buildkit=False) == f"FROM {BASE}\n"


def test_with_mounts() -> None:
    image = Image(apt=("git", "libpq5=15.6-0"), copy={"data": "/srv/data"}, code=True, entrypoint=["python", "-V"])
    environment = {"PATH": "/opt/clary/venv/bin:/bin", "A": "1"}
    changes: dict[str, Any] = {
        "copies": [Added("/srv/data", (), "", folder=True)],
        "code": Added(CODE, (), "", folder=True),
        "lock": LOCK,
        "secrets": {"TOKEN": "x", "INDEX": "y"},
        "environment": environment,
        "base_user": "app",
    }
    apt = (
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked"
        " --mount=type=cache,target=/var/lib/apt/lists,sharing=locked"
        " mkdir -p /var/cache/apt/clary/partial && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y"
        " --no-install-recommends -o Dir::Cache::archives=/var/cache/apt/clary git libpq5=15.6-0"
    )
    packages = (
        "RUN --mount=type=bind,source=packages,target=/mnt --mount=type=cache,target=/root/.cache/uv,sharing=locked"
        " --mount=type=secret,id=INDEX --mount=type=secret,id=TOKEN"
        " export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_CACHE_DIR=/root/.cache/uv"
        ' INDEX="$(cat /run/secrets/INDEX)" TOKEN="$(cat /run/secrets/TOKEN)"'
        " && /mnt/uv venv --no-config --python /usr/local/bin/python3 /opt/clary/venv"
        " && /mnt/uv pip install --no-config --python /opt/clary/venv/bin/python -r /mnt/pylock.toml"
    )
    assert joined(text(image, **changes)) == [
        f"FROM {BASE}",
        "USER root",
        apt,
        packages,
        'ENV A="1"',
        'ENV PATH="/opt/clary/venv/bin:/bin"',
        "USER app",
        'ENTRYPOINT ["python", "-V"]',
        'COPY ["copy/0", "/srv/data"]',
        'COPY ["code/", "/opt/clary/code/"]',
    ]


def test_in_stages() -> None:
    said = joined(text(Image(apt=("git",)), buildkit=False, lock=LOCK, secrets={"TOKEN": "x"}, base_user="app"))
    assert [line for line in said if not line.startswith("RUN")] == [
        f"FROM {BASE} AS base",
        "USER root",
        "FROM base AS packages",
        "USER root",
        'COPY ["packages/", "/mnt/"]',
        "FROM base",
        'COPY --from=packages ["/opt/clary/venv/", "/opt/clary/venv/"]',
        "USER app",
    ]
    assert "--mount" not in "".join(said)
    assert 'TOKEN="$(cat /kaniko/clary/TOKEN)"' in said[6]
    assert said[2].endswith("apt-get clean && rm -rf /var/lib/apt/lists/*")


@pytest.mark.parametrize("buildkit", [True, False])
def test_packages_of_the_base_are_seen_where_that_is_asked(buildkit: bool) -> None:
    assert "--system-site-packages" in text(Image(), buildkit=buildkit, lock=LOCK, system_packages=True)
    assert "--system-site-packages" not in text(Image(), buildkit=buildkit, lock=LOCK)


def test_a_user_that_was_named_wins_over_the_bases() -> None:
    assert "USER app\n" not in (said := text(Image(user="1000:1000"), lock=LOCK, base_user="app"))
    assert said.endswith("USER 1000:1000\n")


@pytest.mark.parametrize("value", ["", "a b", "$HOME", "${X:-y}", 'q"u', "\\", "a\\n", "\t", "é", "#x", "a\nb", "\n"])
def test_a_value_stays_on_its_line_and_holds_no_variable(value: str) -> None:
    said = dockerfile.quoted(value)
    assert "\n" not in said
    unread = said[1:-1].replace("\\\\", "").replace("\\$", "").replace('\\"', "").replace("${clary_newline}", "")
    assert not set(unread) & set('$"\\')
    assert dockerfile.needs_newline(order(Image(), environment={"A": value})) is ("\n" in value)


def test_a_line_end_is_an_argument() -> None:
    assert joined(text(Image(), environment={"A": "a\nb"}))[1:] == ["ARG clary_newline", 'ENV A="a${clary_newline}b"']


def test_words_of_a_list_are_json() -> None:
    odd = ["sh", "-c", 'echo "$HOME" \\ é\n']
    said = text(Image(entrypoint=odd)).splitlines()[1]
    assert json.loads(said.removeprefix("ENTRYPOINT ")) == odd
    assert text(Image(entrypoint=[])).endswith("ENTRYPOINT []\n")


@pytest.mark.parametrize("place", ["/srv/it's", '/srv/"q".py', "/srv/$x ${y}", "/srv/é"])
def test_a_place_is_read_back_from_its_words(place: str) -> None:
    said = text(Image(), copies=[Added(place, (), "")]).splitlines()[-1]
    _, read = json.loads(said.removeprefix("COPY "))
    assert re.sub(r"\\(.)", r"\1", read) == place
    assert not re.search(r"""(?<!\\)[$"']""", read)


def test_no_secret_is_in_it() -> None:
    changes: dict[str, Any] = {"lock": LOCK, "secrets": {"TOKEN": "s3cret"}}
    assert "s3cret" not in text(Image(), **changes) + text(Image(), buildkit=False, **changes)

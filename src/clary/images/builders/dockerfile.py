"""The Dockerfile of an order: the same base, packages, places and variables as the builder ``layers`` gives. Pure.

BuildKit's has mounts: caches of packages, files that leave no trace, secrets. The plain one does the same in stages, in
words that every Kaniko knows (that of GoogleContainerTools ignores mounts): the stage that holds uv is thrown away.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from clary.images.building import CODE, VENV

if TYPE_CHECKING:
    from clary.images.building import Order

PACKAGES, COPIES, CODE_FILES = "packages", "copy", "code"
"""Folders of the context: uv and the lock; what is copied; the project's code."""
LOCK = "pylock.toml"
NEWLINE = "clary_newline"
"""A build argument that is a line's end: no word of a Dockerfile can hold one."""
PLAIN_SECRETS = "/kaniko/clary"
"""Where the plain Dockerfile reads the build's secrets: Kaniko keeps what lies below /kaniko out of the image."""
_BUILDKIT_SECRETS = "/run/secrets"
_TOOLS = "/mnt"
"""Where uv and the lock are seen while packages are installed: a folder that is there in every Linux system."""
_STAGE = "packages"
_APT_CACHE = "/var/cache/apt"
_QUOTES = re.compile(r"[\"']")
"""What a word of COPY loses, even where it stands in JSON: a shell's words are made of it once more."""
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:-]+")


def generated(order: Order, base: str, *, buildkit: bool) -> str:
    """Return the Dockerfile of an order.

    Args:
        order: what is built. Its labels are not in the text: they are given to the builder by its own option, as they
            are where somebody has a Dockerfile of their own.
        base: the base with its digest, as the engine finds it.
        buildkit: whether mounts are understood.
    """
    parts = _with_mounts(order, base) if buildkit else _in_stages(order, base)
    return "\n".join([*parts, *_settings(order)]) + "\n"


def needs_newline(order: Order) -> bool:
    """Tell whether the Dockerfile asks for the build argument ``NEWLINE``."""
    return any("\n" in value for value in order.environment.values())


def _with_mounts(order: Order, base: str) -> Iterator[str]:
    yield f"FROM {base}"
    if order.image.apt or order.lock:
        yield "USER root"
    if order.image.apt:
        yield _run(_apt(order, cached=True), [_cache(_APT_CACHE), _cache("/var/lib/apt/lists")])
    if order.lock:
        secrets = [f"--mount=type=secret,id={name}" for name in sorted(order.secrets)]
        tools = f"--mount=type=bind,source={PACKAGES},target={_TOOLS}"
        yield _run(_install(order, _BUILDKIT_SECRETS), [tools, _cache("/root/.cache/uv"), *secrets])


def _in_stages(order: Order, base: str) -> Iterator[str]:
    if order.image.apt:
        yield from (f"FROM {base} AS base", "USER root", _run(_apt(order, cached=False)))
        base = "base"
    if order.lock:
        yield from (f"FROM {base} AS {_STAGE}", "USER root", _copy(f"{PACKAGES}/", f"{_TOOLS}/"))
        yield _run(_install(order, PLAIN_SECRETS))
    yield f"FROM {base}"
    if order.lock:
        yield _copy(f"{VENV}/", f"{VENV}/", origin=_STAGE)


def _settings(order: Order) -> Iterator[str]:
    """Yield what follows the packages; what changes oftenest comes last, so that a build does the least anew."""
    if needs_newline(order):
        yield f"ARG {NEWLINE}"
    for name, value in sorted(order.environment.items()):
        yield f"ENV {name}={quoted(value)}"
    user = order.image.user or order.base_user
    if user:
        yield f"USER {word(user)}"
    if order.image.workdir:
        yield f"WORKDIR {word(order.image.workdir)}"
    if order.image.entrypoint is not None:
        yield f"ENTRYPOINT {json.dumps(list(order.image.entrypoint))}"
    for number, one in enumerate(order.copies):
        yield _copy(f"{COPIES}/{number}", one.place)
    if order.code is not None:
        yield _copy(f"{CODE_FILES}/", f"{CODE}/")


def _apt(order: Order, *, cached: bool) -> list[str]:
    """Return the commands. The cache has its own folder: Debian's own images empty the usual one after each install."""
    wanted = shlex.join(order.image.apt)
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
    if cached:
        kept = f"{_APT_CACHE}/clary"
        return [f"mkdir -p {kept}/partial", "apt-get update", f"{install} -o Dir::Cache::archives={kept} {wanted}"]
    return ["apt-get update", f"{install} {wanted}", "apt-get clean", "rm -rf /var/lib/apt/lists/*"]


def _install(order: Order, secrets: str) -> list[str]:
    assert order.python is not None  # whoever installs packages knows for which interpreter
    settings = "UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_CACHE_DIR=/root/.cache/uv"
    given = [f'{name}="$(cat {secrets}/{name})"' for name in sorted(order.secrets)]
    uv, shared = f"{_TOOLS}/uv", "--system-site-packages " if order.system_packages else ""
    return [
        f"export {' '.join([settings, *given])}",
        f"{uv} venv --no-config {shared}--python {shlex.quote(order.python.executable)} {VENV}",
        f"{uv} pip install --no-config --python {VENV}/bin/python -r {_TOOLS}/{LOCK}",
    ]


def _cache(target: str) -> str:
    return f"--mount=type=cache,target={target},sharing=locked"


def _run(commands: Sequence[str], mounts: Sequence[str] = ()) -> str:
    return " \\\n    ".join(["RUN", *mounts, " && \\\n    ".join(commands)])


def _copy(source: str, place: str, *, origin: str | None = None) -> str:
    said = _QUOTES.sub(r"\\\g<0>", escaped(place))
    return f"COPY {f'--from={origin} ' if origin else ''}{json.dumps([source, said], ensure_ascii=False)}"


def word(text: str) -> str:
    """Return a word of an instruction, in quotes where it needs them."""
    return text if _PLAIN_WORD.fullmatch(text) else quoted(text)


def quoted(text: str) -> str:
    """Return a text in quotes, as ENV reads it back: nothing in it is a variable, a quote or an escape."""
    return '"' + escaped(text).replace('"', '\\"').replace("\n", f"${{{NEWLINE}}}") + '"'


def escaped(text: str) -> str:
    """Return a text in which a Dockerfile finds no variable."""
    return text.replace("\\", "\\\\").replace("$", "\\$")

"""What an order needs on the way to a builder: a Dockerfile and the files that it copies from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images.added import changed
from clary.images.builders import dockerfile
from clary.images.builders.context import IGNORE_FILE, Entry, selected, unreadable
from clary.images.builders.dockerignore import Ignored
from clary.images.builders.uv import uv_for
from clary.images.builders.wheels import wheels_of
from clary.images.packages.pylocks import LOCAL
from clary.images.reference import DOCKER_HUB, Reference

if TYPE_CHECKING:
    from clary.images.added import Added
    from clary.images.building import Order

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)
_GENERATED = "Dockerfile"
_FOREIGN = ".clary.Dockerfile"
"""The name in the context of a Dockerfile that lies outside of it."""


@dataclass(frozen=True)
class Sources:
    """A build's context, not yet packed."""

    dockerfile: str
    """Its path in the context."""
    entries: tuple[Entry, ...]
    arguments: Mapping[str, str]
    """Build arguments."""
    withheld: tuple[str, ...] = ()
    """Paths left out because they hold secrets by their name."""
    hosts: tuple[str, ...] = ()
    """Of the registries that a Dockerfile of one's own pulls from, as far as its text tells."""


def sources_of(order: Order, work: Path, images: Path, *, buildkit: bool, addresses: Mapping[str, str]) -> Sources:
    """Return what a build of the order needs.

    Args:
        order: what is built.
        work: a folder for what has to be fetched.
        images: Clary's folder for images, below which wheels are kept.
        buildkit: whether the builder is BuildKit.
        addresses: where the engine finds registries that it cannot reach by the host in their images' names.

    Raises ConfigError ``image.no_dockerfile``, ``image.no_context``, ``image.link_outside``, ``image.unreadable``,
    ``image.uv_unavailable``, ``image.wheel_missing``.
    """
    if order.image.dockerfile is not None:
        return of_dockerfile(order, order.image.dockerfile)
    assert order.base is not None  # only a Dockerfile of one's own names its base itself
    base = engine_name(order.base, addresses)
    text = dockerfile.generated(order, base, buildkit=buildkit)
    entries = (Entry(_GENERATED, text.encode()), *_packages(order, work, images), *_added(order))
    arguments = {dockerfile.NEWLINE: "\n"} if dockerfile.needs_newline(order) else {}
    return Sources(_GENERATED, entries, arguments)


def check_context(order: Order, packed: str) -> None:
    """Raise ConfigError ``image.copy_changed`` where a Dockerfile's own context is not what the tag was made of."""
    if order.context not in ("", packed):
        raise changed(f"The context of {order.image.dockerfile}")


def engine_name(reference: Reference, addresses: Mapping[str, str]) -> str:
    """Return an image's name as an engine takes it: with the registry's address where that is another."""
    host = addresses.get(reference.host, reference.host)
    host = "docker.io" if host == DOCKER_HUB else host
    return f"{host}/{reference.repository}{f'@{reference.digest}' if reference.digest else f':{reference.tag}'}"


def of_dockerfile(order: Order, said: str) -> Sources:
    """Return a Dockerfile of one's own and its context. Raises as ``sources_of`` does."""
    file = (order.project / said).resolve()
    if not file.is_file():
        raise ConfigError(
            "image.no_dockerfile",
            f"There is no Dockerfile {said} in {order.project}.",
            next_step="Name it relative to the project's folder.",
            field="image.dockerfile",
        )
    root = (order.project / (order.image.context or file.parent)).resolve()
    if not root.is_dir():
        raise ConfigError(
            "image.no_context",
            f"There is no folder {order.image.context} in {order.project}.",
            next_step="Name the folder that the Dockerfile copies from, relative to the project's folder.",
            field="image.context",
        )
    found = selected(root, _ignored(root, file))
    inside = file.relative_to(root).as_posix() if file.is_relative_to(root) else _FOREIGN
    others = tuple(entry for entry in found.entries if entry.path != inside)
    return Sources(inside, (Entry(inside, file), *others), {}, found.withheld, tuple(_hosts(file)))


def _hosts(file: Path) -> Iterator[str]:
    for name in _FROM.findall(file.read_text(encoding="utf-8", errors="replace")):
        with suppress(ConfigError):  # a variable, or a stage that is no name of an image
            yield Reference.parse(name).host


def _ignored(root: Path, file: Path) -> Ignored:
    """Read the ignore file: the Dockerfile's own, as BuildKit has it, else the context's."""
    for path in (file.with_name(f"{file.name}{IGNORE_FILE}"), root / IGNORE_FILE):
        try:
            return Ignored(path.read_text(encoding="utf-8-sig").splitlines())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(path.name, error) from error
    return Ignored(())


def _packages(order: Order, work: Path, images: Path) -> Iterator[Entry]:
    """Yield uv, the lock, and beside it the wheels that no index has: where the lock says that they are."""
    if order.lock:
        assert order.python is not None  # whoever resolved the packages knew for which interpreter
        yield Entry(f"{dockerfile.PACKAGES}/uv", uv_for(order.python, work), executable=True)
        yield Entry(f"{dockerfile.PACKAGES}/{dockerfile.LOCK}", order.lock)
    for wheel in wheels_of(order, images):
        if wheel.path is not None:
            yield Entry(f"{dockerfile.PACKAGES}/{LOCAL}/{wheel.filename}", wheel.path, digest=wheel.sha256)


def _added(order: Order) -> Iterator[Entry]:
    """Yield what is copied, each under a name of its own, so the folders above its place stay as they are; the code."""
    for number, one in enumerate(order.copies):
        yield from _entries(one, f"{dockerfile.COPIES}/{number}")
    if order.code is not None:
        yield from _entries(order.code, dockerfile.CODE_FILES)


def _entries(one: Added, top: str) -> Iterator[Entry]:
    if one.folder:
        yield Entry(top, folder=True)
    for file in one.files:
        path = PurePosixPath(top) / PurePosixPath(file.path).relative_to(one.place)
        yield Entry(str(path), file.source, executable=file.executable, link=file.link, digest=file.digest)

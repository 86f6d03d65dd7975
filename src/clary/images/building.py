"""What the parts of this room hand to each other: a build's order, its outcome, and who is told of its progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from clary.errors import ConfigError
from clary.images.oci import DOCKER_LAYER, Descriptor
from clary.images.platforms import AMD64, Platform

if TYPE_CHECKING:
    from clary.image import Image
    from clary.images.added import Added
    from clary.images.reference import Reference

ROOT = "/opt/clary"
"""Where images keep what is added: never under /opt/ml, which SageMaker mounts over."""
VENV = f"{ROOT}/venv"
CODE = f"{ROOT}/code"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH in a container of an image that sets none. Source: the Docker engine's."""
BUILDER_VERSION = 1
"""Grows when the same order makes other bytes; it is part of every key and every tag."""


class Progress(Protocol):
    """Somebody who watches a build."""

    def stage(self, text: str) -> None:
        """Tell what is being done now, in a few words."""

    def transfer(self, name: str, done: int, total: int) -> None:
        """Tell how many bytes of a download or an upload are through. Called from any thread."""


class Quiet:
    """Nobody watches."""

    def stage(self, text: str) -> None:
        """Say nothing."""

    def transfer(self, name: str, done: int, total: int) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Python:
    """The interpreter of a base image."""

    version: str
    """``3.12``."""
    executable: str
    """Its absolute path in the image, links followed or not."""
    libc: str = "glibc"
    """``glibc`` or ``musl``."""
    libc_version: tuple[int, int] = (2, 28)
    platform: Platform = AMD64

    @property
    def uv_platform(self) -> str:
        """The platform in uv's words, such as ``x86_64-manylinux_2_28``."""
        kind = "manylinux" if self.libc == "glibc" else "musllinux"
        return f"{self.platform.machine}-{kind}_{self.libc_version[0]}_{self.libc_version[1]}"


@dataclass(frozen=True)
class Wheel:
    """A wheel that a lock names."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    """Bytes; 0 where the lock does not tell."""
    url: str | None = None
    """Where it is fetched; None for one that was built here."""
    path: Path | None = None
    """Where it lies on this machine, if it does."""


@dataclass(frozen=True)
class Layer:
    """A layer's file on this machine."""

    digest: str
    """Of the compressed bytes, ``sha256:…``."""
    diff_id: str
    """Of the uncompressed bytes."""
    size: int
    """Compressed bytes."""
    path: Path
    name: str
    """What is in it, for people: ``numpy 2.3.1``, ``17 packages``, ``code``."""

    @property
    def descriptor(self) -> Descriptor:
        """What a manifest says of it."""
        return Descriptor(DOCKER_LAYER, self.digest, self.size)

    def open(self) -> BinaryIO:
        """Open the bytes."""
        return self.path.open("rb")


@dataclass(frozen=True)
class Order:
    """Everything that a builder is told. It builds this, or has refused it before anything began."""

    image: Image
    """What was said, checked."""
    project: Path
    """The folder that relative paths are meant from."""
    base: Reference | None
    """With the digest that the tag had; None for a Dockerfile of one's own, which names it."""
    target: Reference
    """Where the image goes: registry, repository and the tag that follows from the content."""
    python: Python | None
    """Of the base; None where the builder needs not know (a Dockerfile of one's own)."""
    lock: bytes = b""
    """The resolved packages as a pylock.toml (PEP 751); empty: none."""
    copies: Sequence[Added] = ()
    """What ``copy`` names, in the order of its paths."""
    code: Added | None = None
    """The project's code, where it is baked in."""
    context: str = ""
    """The digest of the packed context of a Dockerfile of one's own."""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the image sets: those that were said, and PATH with the packages' programs first."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values of the build's secrets by name. Never in a layer, an argument or a log."""
    tags: Sequence[str] = ()
    """Further tags."""
    created: int = 0
    """The time that the image shows, seconds since the epoch (SOURCE_DATE_EPOCH)."""
    base_user: str = ""
    """Who runs the base; empty for root. Builders that install as root give it back."""
    system_packages: bool = False
    """Whether the environment sees the packages of the base's interpreter, as on bases that bring PyTorch."""


@dataclass(frozen=True)
class Built:
    """An image that is in its registry."""

    reference: Reference
    """With its digest."""
    size: int
    """Bytes that a pull moves."""
    uploaded: int | None = 0
    """Bytes that this build moved; None where the builder does not tell."""


class Builder(Protocol):
    """One way to make an image."""

    name: str

    def build(self, order: Order, progress: Progress) -> Built:
        """Build and push. Raises ConfigError, AwsError."""


def cannot(builder: str, what: str, others: str, field: str) -> ConfigError:
    """Return the refusal of what a builder cannot do."""
    return ConfigError(
        "image.builder_cannot",
        f"The builder {builder!r} cannot {what}.",
        next_step=f"Use the builder {others}: builder=… in the image, or --builder.",
        field=f"image.{field}",
    )

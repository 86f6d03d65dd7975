"""From what was said of an image to an order that a builder carries out: checked, resolved, named by its content.

Nothing is built or pushed here. What is asked of others (which digest a base's tag has, which packages a requirement
means) is remembered until what was said changes, or until somebody asks for news.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.images import added, base_images, bases, labels, oci
from clary.images.builders import choosing
from clary.images.building import BUILDER_VERSION, CODE, VENV, Order, Progress, Python
from clary.images.platforms import Platform
from clary.images.reference import Reference

if TYPE_CHECKING:
    from clary.image import Image
    from clary.images.added import Added
    from clary.images.base_images import BaseImage
    from clary.images.packages.locking import Lock
    from clary.images.packages.sources import Source
    from clary.images.site import Site

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GPU = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
"""Without these NVIDIA's runtime gives a container no GPU. Source: the NVIDIA Container Toolkit's documentation."""


@dataclass(frozen=True)
class Prepared:
    """An image, ready to be built, or to be used as it is."""

    image: Image
    builder: str
    reference: Reference
    """What a job runs: the image that is built, by the tag that follows from its content; with the builder ``none``
    the base."""
    order: Order
    base: BaseImage | None = None
    """None for a Dockerfile of one's own."""
    gpu: bool = False
    """Whether the base is there for its GPU libraries."""
    notes: tuple[str, ...] = ()

    @property
    def python(self) -> Python | None:
        """The interpreter, where it is known."""
        return self.order.python


def prepare(image: Image, project: Path, site: Site, progress: Progress, *, upgrade: bool = False) -> Prepared:
    """Return what an image comes to.

    Args:
        image: checked (``spec.parsed``).
        project: the folder that relative paths are meant from, and where requirements are looked for.
        site: where it is made and goes.
        progress: is told when something takes long.
        upgrade: ask anew for the base's digest and the packages' versions.

    Raises ConfigError ``image.builder_cannot``, ``image.no_registry``, ``image.wrong_python``; and what looking up the
    base, reading the requirements and resolving them raises.
    """
    name = site.builder_of(image)
    if image.code and image.workdir is None:
        image = replace(image, workdir=CODE)
    choosing.refuse(name, image)
    if image.dockerfile is not None:
        return _by_dockerfile(image, name, project, site)
    return _Preparation(image, name, project, site).run(progress, upgrade=upgrade)


class _Preparation:
    """One image on its way to an order."""

    def __init__(self, image: Image, builder: str, project: Path, site: Site) -> None:
        self._image = image
        self._builder = builder
        self._project = project
        self._site = site
        self._base = bases.base_of(image.base, python=image.python, region=site.region, suffix=site.suffix)
        self._secrets = site.secrets_of(image)

    def run(self, progress: Progress, *, upgrade: bool) -> Prepared:
        from clary.images.packages import sources

        site, kept = self._site, self._site.images / "bases"
        platform = Platform.parse(self._image.platform)
        found = base_images.look_up(self._base.reference, platform, site.registries, kept, upgrade=upgrade)
        source = sources.of_image(self._image, self._project)
        python, lock = None, None
        if source is not None or self._image.code:
            python = base_images.python_of(self._base, found, site.registries, kept)
            self._check_python(python)
        if source is not None and python is not None:
            lock = self._lock(source, python, progress, upgrade=upgrade)
        cache = site.home / "code"
        copied = added.copied(self._image, self._project, cache)
        code = added.code(self._project, cache) if self._image.code else added.Added()
        order = self._order(found, python, lock, copied, code)
        notes = (*(lock.notes if lock else ()), *_withheld(copied, code))
        reference = found.reference if self._builder == "none" else order.target
        return Prepared(self._image, self._builder, reference, order, found, self._base.gpu, notes)

    def _check_python(self, python: Python) -> None:
        asked = self._image.python
        if asked is not None and asked != python.version:
            raise ConfigError(
                "image.wrong_python",
                f"The base {self._base.reference} has Python {python.version}, and {asked} is asked for.",
                next_step="Leave python out, or name another base.",
                field="image.python",
            )

    def _lock(self, source: Source, python: Python, progress: Progress, *, upgrade: bool) -> Lock:
        from clary.images.packages.locking import lock

        return lock(
            source,
            python,
            torch=self._image.torch or self._base.torch,
            cache=self._site.images,
            environment={**self._site.environment, **self._secrets},
            progress=progress,
            upgrade=upgrade,
            compiler=self._builder in ("docker", "kaniko"),
            provided=self._base.provides,
        )

    def _order(self, found: BaseImage, python: Python | None, lock: Lock | None, copied: Added, code: Added) -> Order:
        image, text = self._image, lock.text if lock else b""
        environment = _environment(image, found, packages=bool(text), gpu=self._base.gpu)
        content = {
            "v": BUILDER_VERSION,
            "builder": self._builder,
            "base": found.reference.digest,
            "python": None if python is None else labels.python_label(python),
            "lock": hashlib.sha256(text).hexdigest(),
            "copy": copied.digest,
            "code": code.digest,
            "environment": environment,
            **{name: image.to_dict().get(name) for name in ("apt", "entrypoint", "user", "workdir")},
        }
        builds = self._builder != "none"
        host, repository = self._site.repository_of(image) if builds else (found.reference.host, "none")
        return Order(
            image=image,
            project=self._project,
            base=found.reference,
            target=Reference(host, repository, tag_of(content)),
            python=python,
            lock=text,
            code=tuple((file.path.removeprefix(f"{CODE}/"), file.source) for file in code.files),
            labels=_labels(self._builder, found, python, lock, self._project),
            environment=environment,
            secrets=self._secrets,
            tags=(image.tag,) if image.tag else (),
            created=int(os.environ.get("SOURCE_DATE_EPOCH") or 0),
            base_user=found.config.user,
            system_packages=bool(self._base.provides),
        )


def _withheld(*files: Added) -> tuple[str, ...]:
    paths = [path for one in files for path in one.withheld]
    more = " …" if len(paths) > 5 else ""
    return (f"Not in the image, for they may hold secrets: {', '.join(paths[:5])}{more}",) if paths else ()


def tag_of(content: dict[str, Any]) -> str:
    """Return the tag that follows from everything that decides an image's content."""
    return f"clary-{hashlib.sha256(oci.canonical(content)).hexdigest()[:32]}"


def _environment(image: Image, found: BaseImage, *, packages: bool, gpu: bool) -> dict[str, str]:
    variables = {name: value for name, value in (_GPU if gpu else {}).items() if name not in found.config.environment}
    variables |= image.env
    if packages:
        path = variables.get("PATH") or found.config.environment.get("PATH") or _PATH
        variables |= {"PATH": f"{VENV}/bin:{path}", "VIRTUAL_ENV": VENV}
    return dict(sorted(variables.items()))


def _labels(builder: str, found: BaseImage, python: Python | None, lock: Lock | None, project: Path) -> dict[str, str]:
    said = labels.labels_of(
        builder,
        lock=hashlib.sha256(lock.text).hexdigest() if lock and lock.text else "",
        base=f"{found.reference.host}/{found.reference.repository}",
        base_digest=found.reference.digest or "",
        source=_remote(project),
    )
    if python is not None:
        said[labels.PYTHON] = labels.python_label(python)
    if lock is not None and lock.wheels:
        said[labels.PACKAGES] = labels.packages_label(lock.wheels)
    return said


def _remote(project: Path) -> str | None:
    """Return the address of the project's repository, without a login; None where git knows none."""
    from urllib.parse import urlsplit, urlunsplit

    command = ["git", "-C", str(project), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    address = done.stdout.strip()
    if done.returncode != 0 or not address or address.startswith("/"):
        return None
    parts = urlsplit(address)
    if not parts.scheme:
        return address  # host:path, as ssh has it: its user is no secret
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _by_dockerfile(image: Image, builder: str, project: Path, site: Site) -> Prepared:
    from clary.images.builders.context import pack
    from clary.images.builders.sources import sources_of

    host, repository = site.repository_of(image)
    order = Order(
        image=image,
        project=project,
        base=None,
        target=Reference(host, repository),
        python=None,
        labels=labels.labels_of(builder, lock="", base="", base_digest="", source=_remote(project)),
        secrets=site.secrets_of(image),
        tags=(image.tag,) if image.tag else (),
    )
    with tempfile.TemporaryDirectory(prefix="clary-context-") as work:
        sources = sources_of(order, Path(work), buildkit=builder == "docker", addresses={})
        digest = pack(sources.entries, Path(work) / "context.tar", compressed=False)
    content = {"v": BUILDER_VERSION, "builder": builder, "context": digest, "platform": image.platform}
    order = replace(order, target=order.target.tagged(tag_of(content)))
    left_out = ", ".join(sources.withheld[:5])
    notes = (f"Not in the context, for they may hold secrets: {left_out}",) if left_out else ()
    return Prepared(image, builder, order.target, order, notes=notes)

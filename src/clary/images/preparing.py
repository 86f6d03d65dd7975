"""From what was said of an image to an order that a builder carries out: checked, resolved, named by its content.

Nothing is built or pushed here. What is asked of others (which digest a base's tag has, which packages a requirement
means) is remembered until what was said changes, or until somebody asks for news.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.images import added, base_images, bases, labels, oci
from clary.images.base_layers import LARGEST
from clary.images.builders import choosing
from clary.images.building import BUILDER_VERSION, CODE, DEFAULT_PATH, VENV, Order, Progress, Python
from clary.images.platforms import Platform
from clary.images.reference import Reference

if TYPE_CHECKING:
    from clary.image import Image
    from clary.images.base_images import BaseImage
    from clary.images.packages.locking import Lock
    from clary.images.packages.sources import Source
    from clary.images.site import Site

_LATEST = 253_402_300_800
"""Seconds since the epoch of the year 10000, which dates of images cannot say."""
_UNSEEN = (
    "The base is larger than 1 GiB, and is not looked through: where copied files go to folders of its own, these "
    "become root's with the mode 755, and its links are not followed."
)
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

    Raises ConfigError ``image.builder_cannot``, ``image.no_registry``, ``image.wrong_python``,
    ``image.too_many_layers``, ``image.bad_place``, ``image.copy_clash``; and what looking up the base,
    reading its layers, reading the requirements and resolving them raises.
    """
    name = site.builder_of(image)
    if image.code and image.workdir is None:
        image = replace(image, workdir=CODE)
    choosing.refuse(name, image)
    if image.dockerfile is not None:
        return _by_dockerfile(image, image.dockerfile, name, project, site)
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
        order = self._order(found, python, lock)
        told = self._check_files(order, found, progress) if self._builder == "layers" else ()
        notes = (*(lock.notes if lock else ()), *told, *_withheld(order), *_open_secrets(self._image))
        reference = found.reference if self._builder == "none" else order.target
        return Prepared(self._image, self._builder, reference, order, found, self._base.gpu, notes)

    def _check_files(self, order: Order, found: BaseImage, progress: Progress) -> tuple[str, ...]:
        """Refuse what the builder ``layers`` would refuse when it lays files on the base; return what to know of it."""
        from clary.images.builders.layers import file_layers
        from clary.images.layers import ground

        file_layers(order, len(found.manifest.layers))
        files = [file for one in order.copies for file in one.files]
        ground.under(files, found, self._site.registries, self._site.images / "bases", progress).laid(files)
        return (_UNSEEN,) if files and found.manifest.size > LARGEST else ()

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

    def _order(self, found: BaseImage, python: Python | None, lock: Lock | None) -> Order:
        image, text, cache = self._image, lock.text if lock else b"", self._site.home / "code"
        builds = self._builder != "none"
        host, repository = self._site.repository_of(image) if builds else (found.reference.host, "none")
        order = Order(
            image=image,
            project=self._project,
            base=found.reference,
            target=Reference(host, repository),
            python=python,
            lock=text,
            copies=added.copies(image, self._project, cache),
            code=added.code(self._project, cache) if image.code else None,
            labels=_labels(self._builder, found, python, lock, self._project),
            environment=_environment(image, found, packages=bool(text), gpu=self._base.gpu),
            secrets=self._secrets,
            tags=(image.tag,) if image.tag else (),
            created=_created(self._site),
            base_user=found.config.user,
            system_packages=bool(self._base.provides),
        )
        return _tagged(order, divided=[self._site.builder.get(name) for name in ("layer_threshold", "layer_budget")])


def _open_secrets(image: Image) -> tuple[str, ...]:
    """Return what to say of variables that look like secrets: whoever pulls the image can read them."""
    from clary.sagemaker.findings import HIDDEN, shown

    names = [name for name, text in image.env.items() if shown(text, name=name) == HIDDEN]
    if not names:
        return ()
    note = (
        f"{', '.join(names)} of env looks like a secret, and whoever pulls the image can read it: let a variable of "
        "the job refer to a secret, {{secrets.NAME.KEY}}."
    )
    return (note,)


def _withheld(order: Order) -> tuple[str, ...]:
    paths = [path for one in (*order.copies, *([order.code] if order.code else ())) for path in one.withheld]
    more = " …" if len(paths) > 5 else ""
    return (f"Not in the image, for they may hold secrets: {', '.join(paths[:5])}{more}",) if paths else ()


def _tagged(order: Order, **more: Any) -> Order:
    """Return the order with the tag that follows from everything that decides what its registry will hold."""
    image, base = order.image, order.base
    content = {
        "v": BUILDER_VERSION,
        "base": base.digest if base else None,
        "platform": image.platform,
        "python": labels.python_label(order.python) if order.python else None,
        "system_packages": order.system_packages,
        "lock": hashlib.sha256(order.lock).hexdigest(),
        "copies": [one.digest for one in order.copies],
        "code": order.code.digest if order.code else None,
        "context": order.context,
        "environment": dict(order.environment),
        "labels": dict(order.labels),
        "created": order.created,
        **{name: image.to_dict().get(name) for name in ("apt", "dockerfile", "entrypoint", "user", "workdir")},
        **more,
    }
    digest = hashlib.sha256(oci.canonical(content)).hexdigest()
    return replace(order, target=order.target.tagged(f"clary-{digest[:32]}"))


def _created(site: Site) -> int:
    """Return the time that images show. Source: reproducible-builds.org, SOURCE_DATE_EPOCH."""
    said = site.environment.get("SOURCE_DATE_EPOCH") or "0"
    if said.isdecimal() and int(said) < _LATEST:
        return int(said)
    raise ConfigError(
        "image.bad_epoch",
        f"SOURCE_DATE_EPOCH is {said!r}, which is no time.",
        next_step="Set it to whole seconds since 1970, such as 1700000000, or unset it.",
    )


def _environment(image: Image, found: BaseImage, *, packages: bool, gpu: bool) -> dict[str, str]:
    variables = {name: value for name, value in (_GPU if gpu else {}).items() if name not in found.config.environment}
    variables |= image.env
    if packages:
        path = variables.get("PATH") or found.config.environment.get("PATH") or DEFAULT_PATH
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
    if done.returncode != 0 or ":" not in address or address.startswith((".", "/", "file:")):
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if not parts.netloc:
        return address  # host:path, as ssh has it: its user is no secret
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _by_dockerfile(image: Image, said: str, builder: str, project: Path, site: Site) -> Prepared:
    from clary.images.builders import context, sources

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
        created=_created(site),
    )
    found = sources.of_dockerfile(order, said)
    order = _tagged(replace(order, context=context.digest_of(found.entries)))
    left_out = ", ".join(found.withheld[:5])
    notes = (f"Not in the context, for they may hold secrets: {left_out}",) if left_out else ()
    return Prepared(image, builder, order.target, order, notes=notes)

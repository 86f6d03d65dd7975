"""The image that a run would have, for the commands that show, build and compare images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.agent import configuration
from clary.agent.images import Told, site_of
from clary.agent.place import place_of
from clary.agent.targets import load_target
from clary.errors import UsageError
from clary.settings.options import checked, laid_over
from clary.stacks import service as stacks
from clary.stacks.model import LOCAL

if TYPE_CHECKING:
    from clary.agent.images import Watcher
    from clary.images.preparing import Prepared
    from clary.images.reference import Reference
    from clary.images.registry.registries import Registries
    from clary.images.site import Site


@dataclass(frozen=True)
class Asked:
    """An image that somebody asks about."""

    prepared: Prepared
    site: Site
    progress: Told


@dataclass(frozen=True)
class Copied:
    """An image that was copied into a stack's registry."""

    image: str
    """By its digest."""
    tag: str
    """By its tag."""
    size: int
    """Bytes that a pull moves."""
    uploaded: int
    """Bytes that were sent."""


def prepare(
    target: str | None,
    stack_name: str | None,
    given: Mapping[str, Any],
    project: Path,
    watcher: Watcher | None,
    *,
    upgrade: bool = False,
) -> Asked:
    """Return the image of a flow, or of a project, with what was given laid over it, prepared.

    Args:
        target: ``path/file.py:flow``; None for what a flow would have that says nothing.
        stack_name: the stack; None for the one that a run would use.
        given: fields of ``Image``.
        project: the folder that relative paths are meant from, without a target.
        watcher: is told what takes long.
        upgrade: ask anew for the base's digest and the packages' versions.

    Raises UsageError ``image.whole``, ValidationError ``image.invalid``, and what preparing raises.
    """
    flow = None if target is None else load_target(target)
    entry, _ = stacks.current(stack_name, None if flow is None else flow.flow.options.stack)
    stack = entry.stack
    if stack.type == LOCAL:
        raise no_registry(stack.name)
    effective = configuration.of_stack_alone(stack) if flow is None else configuration.of(flow, stack)
    said = effective.option("image").value
    laid = laid_over("image", said, checked("image", given, "the command line")) if given else said
    if isinstance(laid, str):
        raise UsageError(
            "image.whole",
            f"Nothing is built: the image is {laid}, which is used as it is.",
            next_step="Say what one is made of: @flow(image=Image(…)), [tool.clary.image], or --requirements; that "
            "one is then its base.",
            field="image",
        )
    from clary.images import spec
    from clary.images.preparing import prepare as prepared

    folder = project if flow is None or flow.project is None else flow.project.root
    site, progress = site_of(place_of(stack)), Told(watcher)
    image = spec.parsed(laid or {})
    return Asked(prepared(image, folder, site, progress, upgrade=upgrade), site, progress)


def named(text: str, stack_name: str | None) -> tuple[Reference, Registries]:
    """Return an image by the name that a person gives it, and the registries.

    What begins with ``:`` is a tag in the stack's repository. Raises ConfigError ``image.bad_reference``, UsageError
    ``image.no_stack``.
    """
    from clary.images.reference import Reference
    from clary.images.registry.registries import Registries

    entry, _ = stacks.current(stack_name, None)
    if entry.stack.type == LOCAL:
        if text.startswith(":"):
            raise no_registry(entry.stack.name)
        return Reference.parse(text), Registries()
    site = site_of(place_of(entry.stack))
    return Reference.parse(_in_full(text, site)), site.registries


def _in_full(text: str, site: Site) -> str:
    """Return a name of an image, with the stack's repository where it is a tag alone."""
    from clary.image import Image

    return f"{'/'.join(site.repository_of(Image()))}{text}" if text.startswith(":") else text


def copy(text: str, stack_name: str | None, repository: str | None, tag: str | None, watcher: Watcher | None) -> Copied:
    """Copy an image into the stack's registry, as it is, for linux/amd64, and return what became of it.

    Args:
        text: the image: a reference, a short name of a base, or ``:TAG`` in the stack's repository.
        stack_name: the stack; None for the one that a run would use.
        repository: in its registry; None: the stack's.
        tag: there; None: the source's, else the beginning of the digest.
        watcher: is told of the bytes.

    Raises NotFoundError ``registry.not_found``, and what the registries raise.
    """
    from clary.image import Image
    from clary.images.bases import base_of
    from clary.images.reference import Reference
    from clary.images.registry.copy import copy_image

    entry, _ = stacks.current(stack_name, None)
    if entry.stack.type == LOCAL:
        raise no_registry(entry.stack.name)
    site = site_of(place_of(entry.stack))
    source = base_of(_in_full(text, site), python=None, region=site.region, suffix=site.suffix).reference
    target = Reference(*site.repository_of(Image(repository=repository)))
    opened = site.registries.open(source)
    digest = opened.digest(source.repository, source.pointer) or ""
    name = tag or source.tag or digest.removeprefix("sha256:")[:32] or "latest"
    progress = Told(watcher)
    progress.stage(f"copying {source}")
    pushed = copy_image(opened, source, site.registries.open(target), target.repository, tags=[name], progress=progress)
    return Copied(str(target.at(pushed.digest)), str(target.tagged(name)), pushed.size, pushed.uploaded)


def no_registry(name: str) -> UsageError:
    """Return the refusal of a stack that runs in this process, and has no images."""
    return UsageError(
        "image.no_stack",
        f"Runs on the stack {name!r} are in this process: it has no images.",
        next_step="Name a sagemaker stack: --stack NAME (`clary stack list` shows them).",
        field="stack",
    )

"""The images of a run's jobs: what was said of them, prepared before anything is sent, made when the code is."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clary import config
from clary.agent.views import ProgressView
from clary.errors import ConfigError, ValidationError
from clary.files import size_text
from clary.runtime import tree
from clary.runtime.dependencies import CHANNEL
from clary.settings.options import laid_over

if TYPE_CHECKING:
    from clary.agent.place import Place
    from clary.image import Image
    from clary.images.channel import Packages
    from clary.images.preparing import Prepared
    from clary.images.site import Site
    from clary.stacks.model import Stack

_OLDEST = (3, 11)
"""The Python that Clary's runtime in the job needs."""
_TOLD_EVERY = 0.1
"""Seconds between two reports of bytes that are on their way."""


@dataclass(frozen=True)
class JobImage:
    """The image of a job."""

    reference: str
    target: tree.Target = field(default_factory=tree.Target)
    """What the runtime is built for."""
    channels: tuple[tuple[str, str], ...] = ()
    """Packages that travel beside the code."""
    notes: tuple[str, ...] = ()
    prepared: Prepared | None = None
    """None for a reference, which is used as it is."""
    packages: Packages | None = None


class Images:
    """The images of one submission; what is said twice is prepared once."""

    def __init__(self, place: Place, project: Path, said: str | Mapping[str, Any], watcher: Watcher | None) -> None:
        """Note what is said of the flow's image; nothing is looked up before one is asked for."""
        self._said = said
        self._place = place
        self._project = project
        self._progress = Told(watcher)
        self._chosen: dict[str, JobImage] = {}

    @functools.cached_property
    def _site(self) -> Site:
        return site_of(self._place)

    def choose(self, instance_types: Sequence[str], own: str | Mapping[str, Any] | None = None) -> JobImage:
        """Return the image of a job, prepared: nothing is built or stored yet.

        Args:
            instance_types: that the job may run on.
            own: what is said of this job's image alone, which is laid over what is said of the flow's: a reference,
                or what an image is made of, as ``Image.to_dict`` gives it.

        Raises ValidationError ``image.invalid``, ``image.no_gpu``; ConfigError ``image.python_too_old``,
        ``image.not_root``; and what preparing an image raises.
        """
        said = self._of(own)
        if isinstance(said, str):
            return JobImage(said)
        from clary.images import spec

        image = spec.parsed(said)
        self._check_gpu(image, instance_types)
        name = json.dumps(image.to_dict(), sort_keys=True)
        if name not in self._chosen:
            self._chosen[name] = self._prepare(image)
        return self._chosen[name]

    def settings(self, own: str | Mapping[str, Any] | None = None) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what an image says that is used as it is and can hold no variables: they are the job's, the weakest.

        ``own`` as for ``choose``.
        """
        said = self._of(own)
        builder = isinstance(said, Mapping) and (said.get("builder") or self._place.stack.image_builder.get("flavor"))
        if isinstance(said, str) or builder != "none" or not said.get("env"):
            return []
        return [("the image", {"environment": dict(said["env"])})]

    def finish(self) -> dict[str, int]:
        """Build what is not there, and store the packages that travel; return the images' sizes by their references.

        A size is what a pull moves, in bytes. Raises what building and storing raise.
        """
        sizes = {}
        for one in self._chosen.values():
            assert one.prepared is not None
            sizes[one.reference] = self._finish(one, one.prepared)
        return sizes

    def _of(self, own: str | Mapping[str, Any] | None) -> str | Mapping[str, Any]:
        said: str | Mapping[str, Any] = self._said if own is None else laid_over("image", self._said, own)
        return said

    def _check_gpu(self, image: Image, instance_types: Sequence[str]) -> None:
        """Refuse a base with GPU libraries for a machine without a GPU, before the base is even looked at."""
        from clary.images.bases import base_of
        from clary.sagemaker.instances import has_gpu

        without = [name for name in instance_types if not has_gpu(name)]
        if image.base is None or not without:
            return
        region, suffix = self._site.region, self._site.suffix
        if base_of(image.base, python=image.python, region=region, suffix=suffix).gpu:
            raise ValidationError(
                "image.no_gpu",
                f"The base {image.base} is there for its GPU libraries, and {without[0]} has no GPU.",
                next_step="Choose a type with one, such as ml.g5.xlarge, or a base without (pytorch:2.8-cpu).",
                field="instance_type",
            )

    def _prepare(self, image: Image) -> JobImage:
        from clary.images import channel
        from clary.images.preparing import prepare

        prepared = prepare(image, self._project, self._site, self._progress)
        python = prepared.python
        if python is not None and tuple(map(int, python.version.split("."))) < _OLDEST:
            raise ConfigError(
                "image.python_too_old",
                f"The image has Python {python.version}, and flows need 3.11 or newer in their jobs.",
                next_step="Name a base with a newer one, such as python:3.12.",
                field="image.base",
            )
        target = tree.Target() if python is None else tree.Target(python.version, python.platform.machine, python.libc)
        _check_user(prepared)
        packages = channel.packages_of(prepared) if prepared.builder == "none" else None
        channels = ((CHANNEL, f"{self._place.root}/{packages.key}"),) if packages else ()
        return JobImage(str(prepared.reference), target, channels, prepared.notes, prepared, packages)

    def _finish(self, one: JobImage, prepared: Prepared) -> int:
        from clary.images import channel, service
        from clary.images.pulling import pull_text

        built = service.ensure(prepared, self._site, self._progress)
        if one.packages is not None:
            channel.store_packages(one.packages, self._place.store, self._place.root, self._site, self._progress)
        if built.uploaded != 0:
            moved = "." if built.uploaded is None else f": {size_text(built.uploaded)} pushed."
            self._progress.stage(f"Built the image {one.reference}{moved}")
        if built.size:
            self._progress.stage(f"The image has {pull_text(built.size)}.")
        return built.size


def _check_user(prepared: Prepared) -> None:
    """Refuse a user who cannot write below ``/opt/ml``, where a job's code, its failure and its model lie: root can."""
    user = prepared.image.user or prepared.order.base_user
    if user.partition(":")[0] in ("", "root", "0"):
        return
    raise ConfigError(
        "image.not_root",
        f"The image runs as {user}, and a job can write below /opt/ml as root alone.",
        next_step="Leave user out for flows; where it is the base's, say user='root' to the builder 'layers'.",
        field="image.user",
    )


def site_of(place: Place) -> Site:
    """Return where a stack's images are made and go."""
    from clary.images.registry.registries import Registries
    from clary.images.site import Site
    from clary.sagemaker.partitions import partition_of
    from clary.stacks.access import open_aws

    stack, aws = place.stack, place.aws
    host, _, repository = (stack.container_registry or "").partition("/")
    return Site(
        registries=Registries(aws, elsewhere=lambda region: open_aws(replace(stack, region=region))),
        home=config.home(),
        host=host or None,
        repository=repository or None,
        region=aws.region,
        suffix=partition_of(aws.region).dns_suffix,
        builder=stack.image_builder,
        secret=lambda text: _secret(stack, text),
        store=lambda: place.store,
    )


def _secret(stack: Stack, text: str) -> str:
    from clary.agent.secrets import open_secrets
    from clary.secrets import references
    from clary.secrets.store import key_not_found

    (one,) = references.find(text)
    held = open_secrets(stack)
    known = held.read(one.name)
    if one.key not in known:
        raise key_not_found(one.name, one.key, held, list(known))
    return known[one.key]


class Watcher(Protocol):
    """Who is told: the part of an ``Observer`` that an image needs."""

    def note(self, text: str) -> None:
        """Say something that the person should know."""

    def progress(self, lines: tuple[ProgressView, ...]) -> None:
        """Report how much is through."""


class Told:
    """Tells a watcher how an image comes along."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._lock = threading.Lock()
        self._moving: dict[str, tuple[int, int]] = {}
        self._told = 0.0

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        with self._lock:
            self._moving.clear()
            if self._watcher is not None:
                self._watcher.note(text[:1].upper() + text[1:])

    def transfer(self, name: str, done: int, total: int) -> None:
        """Say how many bytes are through, of all that has been begun in this stage."""
        with self._lock:
            self._moving[name] = (done, total)
            now = time.monotonic()
            whole = [sum(parts) for parts in zip(*self._moving.values(), strict=True)]
            if self._watcher is None or now - self._told < _TOLD_EVERY:
                return
            self._told = now
            text = f"{size_text(whole[0])} of {size_text(whole[1])}"
            # The next transfer may begin at any time: whole is what the next stage, or the end, tells of.
            share = min(99, round(100 * whole[0] / whole[1])) if whole[1] else 0
            self._watcher.progress((ProgressView("image", share, 100, text, time.time()),))

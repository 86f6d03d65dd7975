"""What can be asked of images: what a build would do, the build, and what an image in a registry is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from clary.images.builders import choosing
from clary.images.builders.wheels import wheels_of
from clary.images.building import Built, Progress
from clary.images.layers.cache import LocalCache
from clary.images.layers.packages import rest_key, wheel_key
from clary.images.layers.venv import Venv
from clary.images.packages import store
from clary.images.pulling import pull_seconds

if TYPE_CHECKING:
    from clary.images.building import Wheel
    from clary.images.layers.cache import Use
    from clary.images.preparing import Prepared
    from clary.images.registry.client import Registry
    from clary.images.site import Site


@dataclass(frozen=True)
class PlannedLayer:
    """One layer of an image that may be built."""

    name: str
    size: int
    """Compressed bytes; of one that is not made yet about so many."""
    where: str
    """``registry``, ``here`` (made, not pushed), ``to make``; of the base ``to copy`` from another registry, or ``to
    mount`` from another repository, which is copied where the registry does not mount."""


@dataclass(frozen=True)
class Plan:
    """What a build would do."""

    reference: str
    builder: str
    exists: bool
    """Whether the image is in its registry already: then nothing is done."""
    base: str | None
    python: str | None
    packages: tuple[str, ...] = ()
    layers: tuple[PlannedLayer, ...] = ()
    """Empty for builders that make their own."""
    download: int = 0
    """Bytes of wheels that are not on this machine."""
    upload: int = 0
    """Bytes that would be pushed, or about so many."""
    lend: int = 0
    """Bytes of the base that the registry may lend from another repository; where it does not, they are pushed too."""
    size: int = 0
    """Bytes that a pull of the image moves, or about so many; 0 where nobody can tell."""
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {**asdict(self), "pull_seconds": pull_seconds(self.size)}


def ensure(prepared: Prepared, site: Site, progress: Progress, *, force: bool = False) -> Built:
    """Return the image that was prepared, built and pushed if it is not in its registry.

    An image that is used as it is, is only looked up. ``force`` builds anyway.

    Raises what looking up, building and pushing raise.
    """
    if prepared.builder == "none":
        size = prepared.base.manifest.size if prepared.base else 0
        return Built(prepared.reference, size)
    target = prepared.order.target
    registry = site.registries.open(target)
    found = None if force else registry.manifest(target.repository, target.pointer)
    if found is not None:
        for tag in prepared.order.tags:
            if registry.digest(target.repository, tag) != found.manifest.digest:
                registry.put_manifest(target.repository, tag, found.data, found.manifest.media_type)
        return Built(target.at(found.manifest.digest), found.manifest.size)
    return choosing.open_builder(prepared.builder, site).build(prepared.order, progress)


def plan(prepared: Prepared, site: Site) -> Plan:
    """Return what a build would do. The registry is looked at; nothing is made, fetched or pushed."""
    order, base = prepared.order, prepared.base
    wheels = wheels_of(order, site.images) if prepared.builder in ("layers", "none") else []
    packages = tuple(f"{wheel.name} {wheel.version}" for wheel in wheels)
    exists, size = True, base.manifest.size if base else 0
    layers: list[PlannedLayer] = []
    wanted: list[Wheel] = []
    if prepared.builder != "none":
        registry = site.registries.open(order.target)
        found = registry.manifest(order.target.repository, order.target.pointer)
        exists = found is not None
        if found is not None:
            size = found.manifest.size
        elif prepared.builder == "layers":
            made, wanted = _package_layers(prepared, wheels, site, registry)
            layers = [*_base_layers(prepared, registry), *made]
            size = sum(layer.size for layer in layers)
        else:
            size = 0
    here = store.wheel_store(site.images)
    return Plan(
        reference=str(prepared.reference),
        builder=prepared.builder,
        exists=exists,
        base=str(order.base) if order.base else None,
        python=order.python.version if order.python else None,
        packages=packages,
        layers=tuple(layers),
        download=sum(wheel.size for wheel in wanted if not store.kept(here, wheel)),
        lend=sum(layer.size for layer in layers if layer.where == "to mount"),
        upload=sum(layer.size for layer in layers if layer.where not in ("registry", "to mount")),
        size=size,
        notes=prepared.notes,
    )


def _base_layers(prepared: Prepared, registry: Registry) -> list[PlannedLayer]:
    assert prepared.base is not None  # the builder layers has one
    repository, base = prepared.order.target.repository, prepared.base
    found = []
    for number, layer in enumerate(base.manifest.layers, 1):
        missing = "to mount" if base.reference.host == prepared.order.target.host else "to copy"
        where = "registry" if registry.has_blob(repository, layer.digest) is not None else missing
        found.append(PlannedLayer(f"base layer {number}", layer.size, where))
    return found


def _package_layers(
    prepared: Prepared, wheels: list[Wheel], site: Site, registry: Registry
) -> tuple[list[PlannedLayer], list[Wheel]]:
    """Return the layers of the packages, and the wheels that making them needs."""
    from clary.images.builders.layers import Layers

    order, base = prepared.order, prepared.base
    if not wheels or order.python is None or base is None:
        return [], []
    venv = Venv(order.python, order.system_packages)
    divided = Layers(site).divided(wheels, len(base.manifest.layers))
    repository = order.target.repository
    with LocalCache(site.images).use() as use:
        planned = [
            _planned(use, wheel_key(wheel, venv), f"{wheel.name} {wheel.version}", wheel.size, registry, repository)
            for wheel in divided.own
        ]
        count = len(divided.rest)
        name = f"{count} package{'' if count == 1 else 's'}" if count else "environment"
        size = sum(wheel.size for wheel in divided.rest)
        rest = _planned(use, rest_key(divided.rest, venv), name, size, registry, repository)
    wanted = [wheel for wheel, layer in zip(divided.own, planned, strict=True) if layer.where == "to make"]
    return [*planned, rest], [*wanted, *(divided.rest if rest.where == "to make" else ())]


def _planned(use: Use, key: str, name: str, size: int, registry: Registry, repository: str) -> PlannedLayer:
    made = use.find(key)
    if made is None:
        return PlannedLayer(name, size, "to make")
    there = registry.has_blob(repository, made.layer.digest) is not None
    return PlannedLayer(name, made.layer.size, "registry" if there else "here")

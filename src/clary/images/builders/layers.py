"""The builder ``layers``: an image from wheels and files, with no daemon and no root; nothing of it is run here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images import added, base_images, oci
from clary.images.builders.wheels import wheels_of
from clary.images.building import BUILDER_VERSION, Built, Layer, Order, Progress, Wheel
from clary.images.layers.cache import LocalCache, Use
from clary.images.layers.ground import Ground, under
from clary.images.layers.gzipping import COMPRESSOR
from clary.images.layers.making import Made, files_layer
from clary.images.layers.packages import package_layers
from clary.images.layers.splitting import BUDGET, DEEPEST, THRESHOLD, Split, split
from clary.images.layers.venv import Venv
from clary.images.packages import fetching, sources, store
from clary.images.platforms import Platform
from clary.images.registry.blobs import Blob, Bytes
from clary.images.registry.layercache import LayerCache
from clary.images.registry.push import push_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clary.images.added import Added
    from clary.images.base_images import BaseImage
    from clary.images.registry.client import Registry
    from clary.images.site import Site


class Layers:
    """Makes layers here and pushes them."""

    name = "layers"

    def __init__(self, site: Site) -> None:
        """Note where; nothing is opened yet."""
        self._site = site

    def build(self, order: Order, progress: Progress) -> Built:
        """Build and push. What the registry has already is not sent, what this machine has is not made again.

        Raises ConfigError, AwsError and their kin, as fetching, making and pushing do.
        """
        base = self._base(order)
        registry = self._site.registries.open(order.target)
        with LocalCache(self._site.images).use() as use:
            progress.stage("making layers")
            layers = self.layers(order, base, use, progress)
            config, manifest = described(order, base, layers)
            source = self._site.registries.open(base.reference)
            from_base = [
                source.blob(base.reference.repository, layer, f"base layer {number}")
                for number, layer in enumerate(base.manifest.layers, 1)
            ]
            progress.stage(f"pushing to {order.target.host}")
            lenders = self._lenders(order, layers, registry, progress)
            blobs: list[Blob] = [*from_base, *layers, Bytes(config)]
            tags = [name for name in (order.target.tag, *order.tags) if name]
            pushed = push_image(
                registry, order.target.repository, manifest, blobs, tags=tags, mount_from=lenders, progress=progress
            )
        return Built(order.target.at(pushed.digest), pushed.size, pushed.uploaded)

    def layers(self, order: Order, base: BaseImage, use: Use, progress: Progress) -> list[Layer]:
        """Return the layers that come on top of the base: packages, copied files, code."""
        below = len(base.manifest.layers)
        of_files = file_layers(order, below)
        made = self.packages(order, below, use, progress)
        copies = [file for one in order.copies for file in one.files]
        ground = under(copies, base, self._site.registries, self._site.images / "bases", progress)
        return [*made, *(_files(name, several, ground, use) for name, several in of_files.items())]

    def packages(self, order: Order, base_layers: int, use: Use, progress: Progress) -> list[Layer]:
        """Return the layers of the packages alone; none where there are none."""
        wheels = wheels_of(order, self._site.images)
        if not wheels or order.python is None:
            return []

        def fetch(wanted: Sequence[Wheel]) -> Mapping[Wheel, Path]:
            kept = store.wheel_store(self._site.images)
            environment = {**self._site.environment, **order.secrets}
            source = sources.of_image(order.image, order.project)
            return fetching.fetch(wanted, kept, environment=environment, progress=progress, source=source)

        venv = Venv(order.python, order.system_packages)
        return package_layers(self.divided(wheels, base_layers), venv, use, fetch)

    def divided(self, wheels: Sequence[Wheel], base_layers: int) -> Split:
        """Return how wheels are divided among layers."""
        options = self._site.builder
        threshold = int(options.get("layer_threshold") or THRESHOLD)
        budget = int(options.get("layer_budget") or BUDGET)
        return split(wheels, base_layers=base_layers, threshold=threshold, budget=budget)

    def _base(self, order: Order) -> BaseImage:
        assert order.base is not None  # a Dockerfile was refused
        return base_images.look_up(
            order.base,
            Platform.parse(order.image.platform),
            self._site.registries,
            self._site.images / "bases",
            upgrade=False,
        )

    def _lenders(
        self, order: Order, layers: Sequence[Layer], registry: Registry, progress: Progress
    ) -> dict[str, tuple[str, ...]]:
        """Return the repositories that may lend each layer: the cache repository, where the stack has one."""
        name = self._site.builder.get("cache_repository")
        lending = tuple(dict.fromkeys(one for one in (name, self._site.repository) if one))
        if name:
            cache = LayerCache(registry, str(name))
            for layer in layers:
                cache.keep(layer.digest, layer, progress=progress)
        return {layer.digest: lending for layer in layers if lending != (order.target.repository,)}


def described(order: Order, base: BaseImage, layers: Sequence[Layer]) -> tuple[bytes, bytes]:
    """Return configuration and manifest of an image: the bytes that are its identity."""
    image = order.image
    changes = oci.Changes(order.environment, order.labels, image.entrypoint, image.user, image.workdir)
    config = oci.config_of(
        base.config,
        [layer.diff_id for layer in layers],
        changes,
        created=order.created,
        made_by=[f"clary: {layer.name}" for layer in layers],
    )
    return config, oci.manifest_of(config, [*base.manifest.layers, *(layer.descriptor for layer in layers)])


def file_layers(order: Order, base_layers: int) -> dict[str, list[Added]]:
    """Return what goes into each layer of files, by the layer's name: all into one where there is no room for two.

    Raises ConfigError ``image.too_many_layers`` where the layers of files and one of packages have no room at all.
    """
    code = [order.code] if order.code is not None else []
    several = {"copied files": list(order.copies), "code": code}
    found = {name: added for name, added in several.items() if any(one.files for one in added)}
    room = DEEPEST - base_layers - (1 if order.lock else 0)
    if len(found) > room > 0:
        found = {"copied files and code": [*order.copies, *code]}
    if len(found) > room:
        raise ConfigError(
            "image.too_many_layers",
            f"The base has {base_layers} layers, and with those that are added there would be more than {DEEPEST}, "
            "which engines do not pull.",
            next_step="Name a base with fewer layers, or make one of this base: `docker build --squash`, or "
            "`FROM scratch` with `COPY --from=BASE / /`.",
            field="image.base",
        )
    return found


def _files(name: str, several: Sequence[Added], ground: Ground, use: Use) -> Layer:
    files = ground.laid([file for one in several for file in one.files])
    decides = f"files {BUILDER_VERSION} {COMPRESSOR} {name} {added.digest_of(several)} {ground.digest(files)}"
    key = hashlib.sha256(decides.encode()).hexdigest()
    return use.layer(key, lambda out: Made(files_layer(files, out, name, ground.folders), {})).layer

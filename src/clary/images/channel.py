"""Packages that travel beside the code: the layers that an image would have, as objects of the artifact store.

Each layer is an object of its own, named by its digest, so sets of packages share what they have in common. A manifest
names those of one set; SageMaker takes it as an input channel. ``clary.runtime.dependencies`` unpacks them in the job.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clary.files import size_text
from clary.images import labels
from clary.images.builders.layers import Layers
from clary.images.building import BUILDER_VERSION, ROOT, VENV
from clary.images.layers.cache import LocalCache
from clary.images.together import together
from clary.runtime.dependencies import LISTING

if TYPE_CHECKING:
    from clary.images.building import Layer, Progress
    from clary.images.preparing import Prepared
    from clary.images.site import Site
    from clary.objects import ObjectStore

FOLDER = "dependencies"
"""Of the artifact store."""
MANIFEST = ".manifest"
"""Ends the key of a set's manifest. It is stored last: where it is, all that it names is."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Packages:
    """The packages of one image, on their way into a channel."""

    prepared: Prepared
    digest: str
    """Of all that decides what is in them."""

    @property
    def key(self) -> str:
        """Where the manifest lies in the artifact store."""
        return f"{FOLDER}/{self.digest}{MANIFEST}"


def packages_of(prepared: Prepared) -> Packages | None:
    """Return the packages that an image used as it is needs beside it; None for none."""
    order = prepared.order
    if not order.lock or order.python is None:
        return None
    decides = [BUILDER_VERSION, labels.python_label(order.python), order.system_packages, VENV, order.lock.decode()]
    return Packages(prepared, hashlib.sha256(json.dumps(decides).encode()).hexdigest())


def store_packages(packages: Packages, store: ObjectStore, root: str, site: Site, progress: Progress) -> int:
    """Store the layers and what names them, unless they are there. Return the bytes that were sent.

    Args:
        packages: what is stored.
        store: the artifact store.
        root: its address, ``s3://bucket/prefix``.
        site: where layers are made.
        progress: is told.

    Raises what making layers and storing objects raises.
    """
    if store.size(packages.key) is not None:
        return 0
    order = packages.prepared.order
    with LocalCache(site.images).use() as use:
        layers = Layers(site).packages(order, 0, use, progress)
        missing = [layer for layer in layers if store.size(_key(layer)) != layer.size]
        amount = sum(layer.size for layer in missing)
        if missing:
            progress.stage(f"storing packages, {size_text(amount)}")
        together([partial(store.put_file, _key(layer), layer.path) for layer in missing], _AT_ONCE)
    assert order.python is not None  # or there are no packages
    listing = {
        "digest": packages.digest,
        "root": ROOT,
        "venv": VENV,
        "python": order.python.version,
        "layers": [_hex(layer) for layer in layers],
    }
    named = f"{packages.digest}.{LISTING}"
    store.put(f"{FOLDER}/{named}", json.dumps(listing, sort_keys=True).encode())
    manifest = [{"prefix": f"{root}/{FOLDER}/"}, *(f"{_hex(layer)}.tar.gz" for layer in layers), named]
    store.put(packages.key, json.dumps(manifest).encode())
    return amount


def _key(layer: Layer) -> str:
    return f"{FOLDER}/{_hex(layer)}.tar.gz"


def _hex(layer: Layer) -> str:
    return layer.digest.removeprefix("sha256:")

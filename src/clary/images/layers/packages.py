"""All the layers of an image's packages: which there are, what is kept already, and that they get along."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clary.images.building import BUILDER_VERSION, Layer, Wheel
from clary.images.layers.gzipping import COMPRESSOR
from clary.images.layers.making import SPLICED, Made, rest_layer, wheel_layer
from clary.images.together import together
from clary.images.wheels.placing import check_together
from clary.images.wheels.problems import Problem, blamed

if TYPE_CHECKING:
    from clary.images.layers.cache import Use
    from clary.images.layers.splitting import Split
    from clary.images.layers.venv import Venv

Fetch: TypeAlias = Callable[[Sequence[Wheel]], Mapping[Wheel, Path]]
"""Brings wheels to this machine, and tells where they lie."""
_AT_ONCE = 2
"""Layers that are made side by side: inflating and hashing leave Python's lock, little else does."""
_TRIES = 3


def wheel_key(wheel: Wheel, venv: Venv) -> str:
    """Return the digest of all that decides the bytes of a wheel's own layer, in hex."""
    return _key("wheel", [_identity(wheel)], venv.python.version, venv.prefix)


def rest_key(wheels: Sequence[Wheel], venv: Venv) -> str:
    """Return the digest of all that decides the bytes of the layer with the environment and the other wheels."""
    identities = sorted(_identity(wheel) for wheel in wheels)
    return _key("rest", identities, venv.python.version, venv.prefix, venv.python.executable, venv.system_packages)


def package_layers(split: Split, venv: Venv, use: Use, fetch: Fetch) -> list[Layer]:
    """Return the layers of an image's packages: those of single wheels by name, then the environment with the rest.

    Args:
        split: the wheels, as ``splitting.split`` divides them.
        venv: where they are installed.
        use: the cache. Layers that it has are not made, and their wheels not fetched.
        fetch: brings the wheels that are needed; it is called at most once, unless somebody prunes meanwhile.

    Raises ConfigError ``image.bad_wheel``, ``image.wheels_clash``, ``image.cache_unusable``, ``image.disk_full``, and
    what ``fetch`` raises.
    """
    missing = [wheel for wheel in split.own if use.find(wheel_key(wheel, venv)) is None]
    if use.find(rest_key(split.rest, venv)) is None:
        missing += split.rest
    here = _fetched(missing, use, fetch)
    own = [here.get(wheel, wheel) for wheel in split.own]
    made = _side_by_side(own, [here.get(wheel, wheel) for wheel in split.rest], venv, use)
    check_together([package for one in made for package in one.brought.items()])
    return [one.layer for one in made]


def _side_by_side(own: Sequence[Wheel], rest: Sequence[Wheel], venv: Venv, use: Use) -> list[Made]:
    """Make the layers, the largest first, so that it is not the last alone; return them in their order."""
    by_size = sorted(own, key=lambda wheel: -wheel.size)
    work = [*(partial(_own, wheel, venv, use) for wheel in by_size), partial(_rest, rest, venv, use)]
    *large, last = together(work, _AT_ONCE)
    made = dict(zip(by_size, large, strict=True))
    return [*(made[wheel] for wheel in own), last]


def _own(wheel: Wheel, venv: Venv, use: Use) -> Made:
    return use.layer(wheel_key(wheel, venv), lambda out: wheel_layer(wheel, venv, out))


def _rest(wheels: Sequence[Wheel], venv: Venv, use: Use) -> Made:
    return use.layer(rest_key(wheels, venv), lambda out: rest_layer(wheels, venv, out))


def _fetched(wheels: Sequence[Wheel], use: Use, fetch: Fetch) -> dict[Wheel, Wheel]:
    """Return the wheels with their places, each held against pruning."""
    here: dict[Wheel, Wheel] = {}
    for _ in range(_TRIES):
        wanted = [wheel for wheel in wheels if wheel not in here]
        places = fetch(wanted) if wanted else {}
        here.update({wheel: replace(wheel, path=places[wheel]) for wheel in wanted if use.hold(places[wheel])})
    for wheel in wheels:
        if wheel not in here:
            with blamed(wheel.filename):
                raise Problem("it does not stay where it was fetched to")
    return here


def _identity(wheel: Wheel) -> str:
    return f"{wheel.sha256} {wheel.filename}"


def _key(*parts: object) -> str:
    recipe = json.dumps([BUILDER_VERSION, COMPRESSOR, SPLICED, *parts])
    return hashlib.sha256(recipe.encode()).hexdigest()

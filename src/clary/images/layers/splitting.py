"""Which wheels get a layer of their own, and which share one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.images.building import Wheel

THRESHOLD = 5_000_000
"""Bytes of a wheel from which a layer of its own pays: smaller ones cost more in requests than a new upload would."""
BUDGET = 40
"""Most layers with one wheel."""
MOST_LAYERS = 100
"""Of an image with wheels in layers of their own, its base's counted: whoever builds on this one wants some too."""
DEEPEST = 125
"""Layers of an image that Docker still pulls. Source: moby's layer store, ``maxLayerDepth``."""
_OTHERS = 4
"""Layers beside those of single wheels: the rest, code, copied files, one to spare."""


@dataclass(frozen=True)
class Split:
    """The wheels of an image, by layers."""

    own: tuple[Wheel, ...]
    """Each in a layer of its own, in this order."""
    rest: tuple[Wheel, ...]
    """Together in one layer."""


def split(wheels: Sequence[Wheel], *, base_layers: int = 0, threshold: int = THRESHOLD, budget: int = BUDGET) -> Split:
    """Divide wheels among layers: the largest get their own, as far as the budget reaches.

    The order is that of their names, so a new version of one changes one layer and moves none. It depends on these
    wheels alone, not on what is popular, so that the same lock always gives the same layers.

    Args:
        wheels: in any order.
        base_layers: layers of the base.
        threshold: bytes of a wheel that gets its own layer.
        budget: most layers with one wheel.
    """
    room = max(0, min(budget, MOST_LAYERS - base_layers - _OTHERS))
    large = [wheel for wheel in wheels if wheel.size >= threshold]
    own = set(sorted(large, key=lambda wheel: (-wheel.size, wheel.name, wheel.filename))[:room])
    ordered = sorted(wheels, key=lambda wheel: (wheel.name, wheel.filename))
    return Split(
        tuple(wheel for wheel in ordered if wheel in own), tuple(wheel for wheel in ordered if wheel not in own)
    )

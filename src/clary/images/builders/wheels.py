"""The wheels that an order names, with their places on this machine where no index has them: for every builder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images.packages import pylocks, store

if TYPE_CHECKING:
    from pathlib import Path

    from clary.images.building import Order, Wheel


def wheels_of(order: Order, images: Path) -> list[Wheel]:
    """Return the wheels of an order's lock, with their places on this machine where no index has them.

    Args:
        order: what is built.
        images: Clary's folder for images, below which wheels are kept.

    Raises ConfigError ``image.wheel_missing``.
    """
    if not order.lock:
        return []
    kept = store.wheel_store(images)
    return [_placed(wheel, kept) for wheel in pylocks.wheels_of(order.lock)]


def _placed(wheel: Wheel, kept: Path) -> Wheel:
    if wheel.url is not None:
        return wheel
    path = store.kept(kept, wheel)
    if path is None:
        raise ConfigError(
            "image.wheel_missing",
            f"{wheel.filename} was built on a machine, and is not on this one.",
            next_step="Resolve anew with --upgrade, which builds it.",
            field="image.requirements",
        )
    return replace(wheel, path=path)

"""``kitaru.config``: stacks, images and defaults."""

from __future__ import annotations

from clary.kitaru.images import ImageInput, ImageSettings
from clary.kitaru.stacks import (
    KitaruConfig,
    StackInfo,
    configure,
    connect,
    create_stack,
    current_stack,
    delete_stack,
    list_stacks,
    use_stack,
)

__all__ = [
    "ImageInput",
    "ImageSettings",
    "KitaruConfig",
    "StackInfo",
    "configure",
    "connect",
    "create_stack",
    "current_stack",
    "delete_stack",
    "list_stacks",
    "use_stack",
]

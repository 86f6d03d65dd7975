"""How the builder ``layers`` divides files among layers, and what no image can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.image import Image
from clary.images.added import Added, AddedFile
from clary.images.builders.layers import file_layers
from clary.images.building import CODE, Order
from clary.images.reference import Reference


def order(*, packages: bool = False, copies: bool = True, code: bool = True) -> Order:
    return Order(
        Image(),
        Path("/p"),
        None,
        Reference("registry.example", "a", "t"),
        None,
        lock=b"a lock" if packages else b"",
        copies=[Added("/srv/x", (AddedFile("/srv/x", Path("x"), ""),), "")] if copies else (),
        code=Added(CODE, (AddedFile(f"{CODE}/x", Path("x"), ""),), "") if code else None,
    )


@pytest.mark.parametrize(
    ("wanted", "base", "names"),
    [
        (order(), 1, ["copied files", "code"]),
        (order(packages=True), 122, ["copied files", "code"]),
        (order(packages=True), 123, ["copied files and code"]),
        (order(), 124, ["copied files and code"]),
        (order(code=False), 124, ["copied files"]),
        (order(copies=False, code=False), 125, []),
    ],
)
def test_files_share_a_layer_where_there_is_no_room_for_two(wanted: Order, base: int, names: list[str]) -> None:
    found = file_layers(wanted, base)
    assert list(found) == names
    assert sum(len(several) for several in found.values()) == len(wanted.copies) + (wanted.code is not None)


@pytest.mark.parametrize(
    ("wanted", "base"),
    [
        (order(packages=True), 124),
        (order(), 125),
        (order(packages=True, copies=False, code=False), 125),
        (order(copies=False, code=False), 126),
    ],
)
def test_more_layers_than_engines_pull_are_refused(wanted: Order, base: int) -> None:
    with pytest.raises(ConfigError) as caught:
        file_layers(wanted, base)
    assert caught.value.code == "image.too_many_layers"

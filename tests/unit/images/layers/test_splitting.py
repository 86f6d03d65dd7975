from __future__ import annotations

import random

from clary.images.building import Wheel
from clary.images.layers.splitting import MOST_LAYERS, split


def _wheel(name: str, size: int) -> Wheel:
    return Wheel(name, "1", f"{name}-1-py3-none-any.whl", name, size)


def _names(wheels: tuple[Wheel, ...]) -> list[str]:
    return [wheel.name for wheel in wheels]


def test_large_wheels_get_layers_by_name() -> None:
    found = split(
        [_wheel("torch", 9_000_000), _wheel("click", 10), _wheel("numpy", 5_000_000), _wheel("attrs", 4_999_999)]
    )

    assert _names(found.own) == ["numpy", "torch"]
    assert _names(found.rest) == ["attrs", "click"]


def test_the_largest_win_where_there_is_little_room() -> None:
    wheels = [_wheel(f"w{size:02}", size) for size in range(1, 20)]

    assert _names(split(wheels, threshold=5, budget=3).own) == ["w17", "w18", "w19"]


def test_the_base_takes_room() -> None:
    wheels = [_wheel(f"w{number}", 10) for number in range(50)]

    assert len(split(wheels, threshold=1).own) == 40
    assert len(split(wheels, threshold=1, base_layers=90).own) < 10
    assert len(split(wheels, threshold=1, base_layers=90).own) + 90 < MOST_LAYERS
    assert split(wheels, threshold=1, base_layers=120).own == ()


def test_the_order_given_does_not_count() -> None:
    wheels = [_wheel(f"w{number}", number % 7) for number in range(60)]
    shuffled = random.Random(1).sample(wheels, len(wheels))

    assert split(wheels, threshold=3, budget=9) == split(shuffled, threshold=3, budget=9)


def test_a_new_version_moves_no_other_layer() -> None:
    wheels = [_wheel(f"w{number}", 100 + number) for number in range(10)]
    newer = [*wheels[:5], Wheel("w5", "2", "w5-2-py3-none-any.whl", "new", 500), *wheels[6:]]

    before, after = split(wheels, threshold=10), split(newer, threshold=10)

    assert [one == other for one, other in zip(before.own, after.own, strict=True)].count(False) == 1

"""Times and durations as people read them."""

from __future__ import annotations

import pytest

from clary.cli import format as human


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1, "0 ms"),
        (0.0004, "<1 ms"),
        (0.004, "4 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.10 s"),
        (0.42, "0.42 s"),
        (9.994, "9.99 s"),
        (9.999, "10.0 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (11_050, "3 h 4 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert human.duration(seconds) == text


@pytest.mark.parametrize(
    ("ahead", "text"),
    [(0, "just now"), (5, "5 s ago"), (150, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago"), (-90, "in 1 min")],
)
def test_how_long_ago(ahead: float, text: str) -> None:
    assert human.ago(1000.0, now=1000.0 + ahead) == text


def test_times_are_in_the_zone_of_the_person(zone: None) -> None:
    assert human.moment(1_795_300_000.0, now=1_795_300_120.0) == "2026-11-22 03:56:40 (2 min ago)"
    assert human.clock(1_795_300_000.0) == "03:56:40"
    assert human.moment(None) == "-"

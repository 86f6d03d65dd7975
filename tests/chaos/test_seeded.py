"""A hundred runs of the soak: killed, paused and overtaken, or told to stop, at points that their seeds choose."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from chaos import soak

if TYPE_CHECKING:
    from pathlib import Path

GROUPS, RUNS = 10, 10


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_seeded_run_comes_to_its_end(group: int, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for number in range(RUNS):
        seed = 1000 * (RUNS * group + number)
        try:
            soak.one_run(seed, tmp_path / str(seed), seen)
        except AssertionError as error:
            error.add_note(f"Play it again: scripts/soak --runs 1 --seed {seed}")
            raise
    assert seen["killed"] + seen["paused"] + seen["stopped"] >= RUNS / 2

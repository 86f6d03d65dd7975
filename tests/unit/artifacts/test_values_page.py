"""docs/reference/values.md: every way to keep a value is in its table, and its examples are kept in that way."""

from __future__ import annotations

import collections
import datetime
import decimal
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from clary.artifacts import codecs, encode
from clary.artifacts.codecs import named
from clary.artifacts.export import Export
from clary.objects.folder import FolderStore

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "values.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| value"))
]
Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024 - a plain one


_ENDINGS = {"plain": ".json", "parts": ""}


class Own:
    pass


def test_every_way_is_in_the_table_and_nothing_else() -> None:
    told = {re.sub("`", "", row[1]) for row in ROWS}
    assert told == {*codecs._BY_NAME, "plain", "parts"}
    for row in ROWS:
        name = row[1].strip("`")
        if name not in ("plain", "parts"):
            assert ("*pickled*" in row[2]) == named(name).runs_code
            assert ("--trust" in row[4]) == named(name).runs_code


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (
            "plain",
            lambda _: [
                1,
                2.5,
                "x",
                b"y",
                {1},
                Pair(1, 2),
                datetime.date(2024, 1, 1),
                decimal.Decimal(1),
                uuid.UUID(int=1),
            ],
        ),
        ("bytes", lambda _: bytes((1 << 20) + 1)),
        ("text", lambda _: "x" * ((1 << 20) + 1)),
        ("file", lambda folder: folder / "file"),
        ("folder", lambda folder: folder),
        ("plain", lambda folder: folder / "nothing"),
        ("npy", lambda _: np.ones(3)),
        ("parquet", lambda _: pd.DataFrame({"a": [1]})),
        ("polars", lambda _: pl.DataFrame({"a": [1]})),
        ("arrow", lambda _: pa.table({"a": [1]})),
        ("parts", lambda _: {"a": np.ones(3)}),
        ("pickle", lambda _: Own()),
        ("cloudpickle", lambda _: lambda: None),
    ],
)
def test_what_the_table_says_is_done(tmp_path: Path, name: str, make: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("x")
    store = FolderStore(str(tmp_path / "store"))
    encoded = encode(make(folder), store)
    assert encoded["c"] == name
    (row,) = [row for row in ROWS if row[1] == f"`{name}`"] if name != "plain" else [ROWS[0]]
    assert ("d" in encoded) == (row[3] != "address")
    out = tmp_path / "out"
    out.mkdir()
    written = Export(encoded, store, name="value", trust=True).to_path(out)
    assert written.exists()
    if name not in ("file", "folder"):
        assert written.suffix == (_ENDINGS[name] if name in _ENDINGS else named(name).ending)

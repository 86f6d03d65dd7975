"""Previews: of every kind, small, masked, and without running more of a value than its repr."""

from __future__ import annotations

import json
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pyarrow as pa
import pytest

from clary.artifacts import encode, preview, previews, shown
from clary.artifacts.previews import MOST, show
from clary.objects.folder import FolderStore
from clary.secrets.redaction import hidden


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


class Odd:
    def __init__(self, act: Any) -> None:
        self.act = act

    def __repr__(self) -> str:
        return str(self.act())

    def __reduce__(self) -> Any:
        return Odd, (None,)


def test_every_kind_has_its_form(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("12345")
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    table = {"kind": "table", "count": [2, 2], "rows": [["1", "a"], ["2", "b"]]}
    array = {"kind": "array", "dtype": "float64", "shape": [2, 2], "values": "1.0, 1.0, 1.0, 1.0"}
    for value, form in [
        (frame, {**table, "columns": [["x", "int64"], ["y", "str"]]}),
        (pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}), {**table, "columns": [["x", "Int64"], ["y", "String"]]}),
        (pa.table({"x": [1, 2], "y": ["a", "b"]}), {**table, "columns": [["x", "int64"], ["y", "string"]]}),
        (np.ones((2, 2)), array),
        ({"loss": 0.5, "n": 3}, {"kind": "metrics", "values": {"loss": 0.5, "n": 3}}),
        ({"a": np.ones(3)}, {"kind": "tree", "type": "dict", "count": 1, "items": [["a", "ndarray float64 (3,)"]]}),
        ([1, "x"], {"kind": "tree", "type": "list", "count": 2, "items": [["0", "1"], ["1", "'x'"]]}),
        (tmp_path / "folder", {"kind": "files", "count": 1, "size": 5, "files": [["a.txt", 5]]}),
        (5, {"kind": "text", "text": "5"}),
    ]:
        assert shown(json.loads(json.dumps(encode(value, store)))) == form


def test_a_query_is_not_worked_out_to_be_shown(store: FolderStore) -> None:
    query = pl.DataFrame({"x": [1, 2]}).lazy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert shown(encode(query, store))["text"].startswith("<LazyFrame")
    assert caught == []


def test_pictures_have_their_size_and_a_thumbnail(store: FolderStore) -> None:
    picture = PIL.Image.new("RGB", (800, 400), "red")
    encoded = encode(picture, store)
    form = shown(encoded)
    assert (form["kind"], form["width"], form["height"]) == ("image", 800, 400)
    data = store.get(form["thumbnail"])
    assert data is not None
    assert show(data) == {"kind": "image", "format": "PNG", "width": 256, "height": 128}
    cmyk = shown(encode(PIL.Image.new("CMYK", (3, 3)), store))
    assert cmyk["thumbnail"]


def test_every_preview_is_small() -> None:
    wide = pd.DataFrame({f"column {number} {'x' * 200}": ["y" * 500] * 50 for number in range(200)})
    values: list[Any] = [
        wide,
        pl.DataFrame({f"c{number}": ["y" * 500] * 50 for number in range(200)}),
        {f"key {number}" * 50: "x" * 500 for number in range(1000)},
        {f"key {number} {'x' * 100}": 1.5 for number in range(40)},
        ["ü" * 5000] * 1000,
        np.zeros((3,) * 30) if hasattr(np, "never") else np.zeros((2,) * 20, "S50"),
        Odd(lambda: "z" * 1_000_000),
        "\x00" * 100_000,
    ]
    for value in values:
        assert len(json.dumps(show(value))) <= MOST
        assert len(previews.line(value)) <= 80


def test_secrets_are_masked(store: FolderStore) -> None:
    with hidden(["tops3cret-value"]):
        for value in (
            {"password": "tops3cret-value", "array": np.ones(2)},
            pd.DataFrame({"key": ["tops3cret-value"]}),
            Odd(lambda: "tops3cret-value"),
            {"tops3cret-value": 1.5, "array": np.ones(2)},
        ):
            encoded = encode(value, store)
            told = json.dumps([preview(encoded), shown(encoded), encoded.get("p"), encoded.get("s")])
            assert "tops3cret" not in told
            assert "***" in told or not isinstance(value, dict)


def test_a_repr_that_fails_hangs_or_exits_harms_nobody(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "_SECONDS", 0.1)
    release = threading.Event()

    def leave() -> None:
        raise SystemExit

    started = time.monotonic()
    try:
        for act in (leave, lambda: 1 / 0, lambda: release.wait(60)):
            assert preview(encode(Odd(act), store)) == "Odd"
    finally:
        release.set()
    assert time.monotonic() - started < 30


def test_large_opaque_values_are_not_asked(store: FolderStore) -> None:
    asked: list[int] = []
    value = Odd(lambda: asked.append(1))
    assert previews.line(value, 100 << 20) == "Odd"
    assert asked == []

"""Values of pandas, polars, Arrow and pydantic come back equal in type and value, alone and inside containers."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from clary.artifacts import decode, digest, encode
from clary.objects.folder import FolderStore
from exactly import same

if TYPE_CHECKING:
    from pathlib import Path

quick = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
T = TypeVar("T")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ZONE = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2100, 1, 1))  # noqa: DTZ001 - zones come later


def column(rows: int) -> st.SearchStrategy[Any]:
    """Return a strategy for one column of a frame."""

    def of(items: st.SearchStrategy[Any], kind: Any) -> st.SearchStrategy[Any]:
        return st.lists(items, min_size=rows, max_size=rows).map(lambda values: pd.array(values, dtype=kind))

    return st.one_of(
        of(st.integers(-(2**31), 2**31 - 1), "int64"),
        of(st.integers(0, 255), "uint8"),
        of(st.floats(), "float64"),
        of(st.floats(width=32), "float32"),
        of(st.booleans(), "bool"),
        of(st.none() | TEXTS, "str"),
        of(st.none() | st.integers(-9, 9), "Int64"),
        of(st.none() | st.booleans(), "boolean"),
        of(MOMENTS | st.none(), "datetime64[ns]"),
        of(MOMENTS, "datetime64[us]"),
        of(MOMENTS, pd.DatetimeTZDtype("us", ZONE)),
        of(MOMENTS, pd.DatetimeTZDtype("ns", "UTC")),
        of(st.timedeltas(datetime.timedelta(-9), datetime.timedelta(9)), "timedelta64[us]"),
        of(st.none() | st.sampled_from(["a", "b"]), pd.CategoricalDtype(["b", "unused", "a"], ordered=True)),
        of(st.sampled_from([3, 1]), pd.CategoricalDtype([3, 2, 1])),
        st.lists(st.none() | TEXTS | st.integers(), min_size=rows, max_size=rows).map(
            lambda one: pd.array(one, dtype=object)
        ),
    )


def index(rows: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.just(pd.RangeIndex(rows)),
        st.just(pd.RangeIndex(5, 5 + 2 * rows, 2, name="step")),
        st.just(pd.date_range("2024-01-01", periods=rows, freq="D", name="day")),
        st.just(pd.date_range("2024-03-30", periods=rows, freq="h", tz="Europe/Berlin")),
        st.lists(TEXTS, min_size=rows, max_size=rows).map(lambda one: pd.Index(one, dtype="str", name="label")),
        st.just(pd.MultiIndex.from_product([["x"], range(rows)], names=["one", "two"])),
    )


@st.composite
def frames(draw: Any) -> Any:
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(TEXTS | st.integers(0, 3), max_size=4, unique=True))
    frame = pd.DataFrame({name: draw(column(rows)) for name in names}, index=pd.RangeIndex(rows))
    frame.index = draw(index(rows))
    return frame


def kept(value: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    store = FolderStore(str(tmp_path_factory.getbasetemp() / "store"))
    encoded = json.loads(json.dumps(encode(value, store)))
    return decode(encoded, store), encoded


def assert_same_index(one: Any, other: Any) -> None:
    pd.testing.assert_index_equal(one, other, exact=True, check_names=True)
    assert getattr(one, "freqstr", None) == getattr(other, "freqstr", None)


@quick
@given(frames())
def test_frames(tmp_path_factory: pytest.TempPathFactory, frame: Any) -> None:
    back, encoded = kept(frame, tmp_path_factory)
    pd.testing.assert_frame_equal(back, frame, check_exact=True, check_freq=True, check_column_type=True)
    assert_same_index(back.index, frame.index)
    assert list(back.dtypes) == list(frame.dtypes)
    if encoded["c"] == "parquet":
        assert encoded["d"] == digest(frame) == digest(back) == digest(frame.copy())


@quick
@given(st.data())
def test_series_and_indexes(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    rows = data.draw(st.integers(0, 4))
    labels = data.draw(index(rows))
    name = data.draw(st.none() | TEXTS | st.tuples(st.integers(), TEXTS))
    series = pd.Series(data.draw(column(rows)), index=labels, name=name)
    back, _ = kept(series, tmp_path_factory)
    pd.testing.assert_series_equal(back, series, check_exact=True, check_freq=True)
    assert type(back.name) is type(series.name)
    found, _ = kept(labels, tmp_path_factory)
    assert_same_index(found, labels)


def test_most_frames_are_not_pickled_and_what_would_differ_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Own(pd.DataFrame):  # type: ignore[misc]  # pandas has no types here
        pass

    noted = pd.DataFrame({"a": [1]})
    noted.attrs["unit"] = "m"
    for frame, codec in [
        (pd.DataFrame({"a": [1], "b": ["x"]}), "parquet"),
        (pd.DataFrame({"when": pd.date_range("2024", periods=3, tz="UTC")}), "parquet"),
        (pd.DataFrame({"a": pd.Categorical(["x"])}), "parquet"),
        (pd.Series([1.5], name="s"), "parquet"),
        (noted, "pickle"),
        (pd.DataFrame({1: [1]}), "pickle"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "pickle"),
        (pd.DataFrame({"a": [object]}), "pickle"),
        (Own({"a": [1]}), "cloudpickle"),
    ]:
        back, encoded = kept(frame, tmp_path_factory)
        assert encoded["c"] == codec
        assert type(back).__name__ == type(frame).__name__
    assert kept(noted, tmp_path_factory)[0].attrs == {"unit": "m"}


def test_digests_of_frames_tell_values_types_and_labels_apart() -> None:
    made = [
        pd.DataFrame({"a": [1, 2]}),
        pd.DataFrame({"a": [2, 1]}),
        pd.DataFrame({"b": [1, 2]}),
        pd.DataFrame({"a": [1, 2]}, dtype="int32"),
        pd.DataFrame({"a": [1, 2]}, index=[1, 0]),
        pd.DataFrame({"a": ["1", "2"]}),
        pd.Series([1, 2], name="a"),
        pd.Index([1, 2], name="a"),
        pd.Series([1, 2], name="b"),
        pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
        pd.DataFrame({"a": pd.Categorical(["x", "y"], ordered=True)}),
    ]
    found = [digest(frame) for frame in made]
    assert None not in found
    assert len(set(found)) == len(made)


POLARS = [
    pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None], "c": [1.5, float("nan"), None]}),
    pl.DataFrame({"when": [datetime.datetime(2024, 1, 1, tzinfo=ZONE)], "l": [[1, 2]], "s": [{"x": 1, "y": "z"}]}),
    pl.DataFrame({"e": pl.Series(["a"], dtype=pl.Enum(["a", "b"])), "c": pl.Series(["a"], dtype=pl.Categorical)}),
    pl.DataFrame(),
    pl.DataFrame({"a": []}, schema={"a": pl.Int8}),
    pl.Series("name", [1, 2, None]),
    pl.Series("", [b"x"], dtype=pl.Binary),
]


@pytest.mark.parametrize("value", POLARS, ids=range(len(POLARS)))
def test_polars(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    back, encoded = kept(value, tmp_path_factory)
    assert encoded["c"] == "polars"
    if isinstance(value, pl.Series):
        assert_series_equal(back, value)
    else:
        assert_frame_equal(back, value)
    assert digest(value) == digest(back) is not None  # the address: it was kept, or read back, here


ARROW = [
    pa.table({"a": [1, None], "b": ["x", "y"]}).replace_schema_metadata({"note": "kept"}),
    pa.table({"a": pa.chunked_array([[1], [2, 3]])}),
    pa.table({"a": pa.array([], pa.int8())}),
    pa.record_batch({"a": [[1], None], "d": pa.array(["x", "y"]).dictionary_encode()}),
    pa.array([1, 2, None], pa.int16()),
    pa.array([{"x": 1}]).slice(0, 1),
    pa.array(range(10)).slice(3, 4),
    pa.chunked_array([["a"], ["b", None]]),
    pa.chunked_array([], pa.int8()),
]


@pytest.mark.parametrize("value", ARROW, ids=range(len(ARROW)))
def test_arrow(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    back, encoded = kept(value, tmp_path_factory)
    assert encoded["c"] == "arrow"
    assert type(back) is type(value)
    assert back.equals(value)
    if isinstance(value, pa.Table):
        assert back.schema.equals(value.schema, check_metadata=True)


class Inner(pydantic.BaseModel):
    number: int = 3
    items: list[str] = []


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    inner: Inner
    when: datetime.date | None = None
    array: Any = None


class Frozen(pydantic.BaseModel, Generic[T], frozen=True):
    item: T


class Guarded(pydantic.BaseModel):
    a: int
    _secret: int = pydantic.PrivateAttr(default=1)


class Checked(pydantic.BaseModel):
    a: int

    @pydantic.field_validator("a")
    @classmethod
    def _double(cls, value: int) -> int:
        return value * 2


class Pair(NamedTuple):
    left: Any
    right: Any


def test_models_come_back_without_their_validators(tmp_path_factory: pytest.TempPathFactory) -> None:
    for model in (
        Inner(),
        Inner(number=4),
        Outer.model_validate({"inner": {"items": ["x"]}, "more": 1}),
        Checked(a=2),
        Frozen(item=1),
    ):
        back, encoded = kept(model, tmp_path_factory)
        assert encoded["c"] == "plain"
        assert type(back) is type(model)
        assert back == model
        assert back.model_fields_set == model.model_fields_set
        assert back.model_dump() == model.model_dump()
        assert digest(back) == digest(model) == encoded["d"]
    assert digest(Inner()) != digest(Inner(number=3))  # which fields were set is part of a model


def test_a_model_that_keeps_more_than_fields_is_pickled(tmp_path_factory: pytest.TempPathFactory) -> None:
    guarded = Guarded(a=1)
    guarded._secret = 5
    back, encoded = kept(guarded, tmp_path_factory)
    assert encoded["c"] == "pickle"
    assert back._secret == 5


ARRAY = np.arange(6.0).reshape(2, 3)
CONTAINERS: list[Any] = [
    {"a": ARRAY, "b": [ARRAY, 1, "x"]},
    [ARRAY, ARRAY.astype("i1")],
    (1, (ARRAY, {2, 3})),
    {1: ARRAY, (1, 2): None, "~set": [1]},
    Pair(ARRAY, Pair(1, b"x")),
    {"~part": 0, "x": ARRAY},
    {"big": b"x" * (1 << 21), "text": "ü" * (1 << 21)},
]


@pytest.mark.parametrize("value", CONTAINERS, ids=range(len(CONTAINERS)))
def test_containers_of_arrays_are_kept_by_their_parts(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    back, encoded = kept(value, tmp_path_factory)
    assert encoded["c"] == "parts"
    assert same(back, value)
    assert encoded["d"] == digest(value) == digest(back)


def test_models_and_frames_inside_containers(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("content")
    value: list[Any] = [
        Outer(inner=Inner(), array=ARRAY),
        {"frame": pd.DataFrame({"a": [1]}), "file": file},
        pl.Series([1]),
    ]
    back, encoded = kept(value, tmp_path_factory)
    assert encoded["c"] == "parts"
    assert type(back[0]) is Outer
    assert same(back[0].array, ARRAY)
    pd.testing.assert_frame_equal(back[1]["frame"], value[1]["frame"])
    assert back[1]["file"].read_text() == "content"
    assert back[1]["file"] != file


class Shared:
    pass


def test_what_members_share_is_still_shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, other = Shared(), Shared()
    one.friend = other  # type: ignore[attr-defined]
    value = {"one": one, "other": other, "again": one, "array": ARRAY, "same": ARRAY}
    back, encoded = kept(value, tmp_path_factory)
    assert encoded["c"] == "parts"
    assert back["one"] is back["again"]
    assert back["one"].friend is back["other"]
    assert back["array"] is back["same"]
    circle: dict[str, Any] = {"array": ARRAY}
    circle["self"] = circle
    found, encoded = kept(circle, tmp_path_factory)
    assert encoded["c"] == "pickle"
    assert found["self"] is found

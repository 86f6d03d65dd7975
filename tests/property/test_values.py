"""Every value that is not pickled comes back equal in type and value, and equal values have equal digests."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import zoneinfo
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from clary.artifacts import decode, digest, encode
from clary.objects.folder import FolderStore
from exactly import same

settings.register_profile("clary", deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clary")

T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    ALL = 3


class Bits(enum.IntFlag, boundary=enum.KEEP):
    A = 1
    B = 4


@dataclass
class Plain:
    a: Any
    b: Any = 7
    late: Any = field(init=False)


@dataclass(frozen=True)
class Frozen:
    a: Any
    derived: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "derived", ("made", 1))


@dataclass(slots=True)
class Slotted:
    a: Any
    _private: Any = None


@dataclass(frozen=True, slots=True, order=True)
class Key:
    number: int
    text: str = "~"


@dataclass
class Holder(Generic[T]):
    item: T


class Point(NamedTuple):
    x: Any
    y: Any = 0


Loose = namedtuple("Loose", "first second")  # noqa: PYI024 - both forms are in use out there


class Labelled(Loose):
    label = "class attribute"


TEXTS = st.text(st.characters(codec=None, exclude_categories=[]), max_size=12) | st.sampled_from(
    ["~set", "~dict", "\ud83d\ude00", "\U0001f600", "\ud800", "", "\x00"]
)
NANS = st.sampled_from(["7ff8000000000000", "fff8000000000000", "7ff8000000000123"]).map(
    lambda bits: struct.unpack(">d", bytes.fromhex(bits))[0]
)
FLOATS = st.floats() | NANS
ZONES = (
    st.none()
    | st.just(datetime.UTC)
    | st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]).map(zoneinfo.ZoneInfo)
    | st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)).map(datetime.timezone)
    | st.just(datetime.timezone(datetime.timedelta(hours=1), "CET"))
    | st.just(datetime.timezone(datetime.timedelta(0), "GMT"))
)
NUMPY_SCALARS = (
    npst.arrays(st.sampled_from(["?", "i1", "u8", ">f8", "f2", "f4", "c16", "M8[s]", "m8[ns]", "S3", "U2", ">U2"]), 1)
    .map(lambda array: array[0])
    .filter(lambda scalar: scalar.dtype.itemsize > 0)  # an empty text of NumPy's has no element type of its own
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(60, 20_000).map(lambda power: -(1 << power) + 1)
    | FLOATS
    | TEXTS
    | st.binary(max_size=20)
    | st.builds(complex, FLOATS, FLOATS)
    | st.dates()
    | st.timedeltas()
    | st.builds(datetime.datetime.combine, st.dates(), st.times(), ZONES)
    | st.builds(lambda time, fold: time.replace(fold=fold), st.times(timezones=ZONES), st.integers(0, 1))
    | st.decimals(allow_nan=True, allow_infinity=True)
    | st.sampled_from(["sNaN", "-0", "1E+30", "1.00", "NaN12"]).map(decimal.Decimal)
    | st.fractions().map(lambda value: fractions.Fraction(value))
    | st.uuids()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3))
    | st.sampled_from([*Colour, *Level, *Word, Rights(0), Rights.READ, Rights.ALL, Bits(5), Bits(0), Bits(64)])
    | st.sampled_from(["/nowhere/x", ".", "a/../b", "/\udcff"]).map(pathlib.PosixPath)
    | st.sampled_from(["/tmp/x", "."]).map(pathlib.PurePosixPath)
    | NUMPY_SCALARS
)
KEYS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXTS
    | st.binary(max_size=5)
    | st.just(Key(3)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(Point, inner, inner),
    max_leaves=4,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.binary(max_size=5).map(bytearray)
        | st.builds(Plain, inner)
        | st.builds(Frozen, inner)
        | st.builds(Slotted, inner, inner)
        | st.builds(Holder, inner)
        | st.builds(Point, inner, inner)
        | st.builds(Labelled, inner, inner)
    ),
    max_leaves=12,
)
DTYPES = (
    npst.boolean_dtypes()
    | npst.integer_dtypes(endianness="?")
    | npst.floating_dtypes(endianness="?")
    | npst.complex_number_dtypes(endianness="?")
    | npst.datetime64_dtypes(endianness="?")
    | npst.timedelta64_dtypes(endianness="?")
    | npst.byte_string_dtypes(min_len=1)
    | npst.unicode_string_dtypes(endianness="?", min_len=1)
)
ARRAYS = npst.arrays(
    DTYPES | npst.array_dtypes(DTYPES), npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
).flatmap(lambda array: st.sampled_from([array, np.asfortranarray(array), array[..., ::-1] if array.ndim else array]))


def kept(value: Any, store: FolderStore, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return the value as a reader of the record gets it, and its encoded form."""
    encoded = json.loads(json.dumps(encode(value, store, **options)))
    return decode(encoded, store, unpickle=False), encoded


@given(VALUES)
def test_what_is_not_pickled_comes_back_in_type_and_value(tmp_path_factory: Any, value: Any) -> None:
    store = FolderStore(str(tmp_path_factory.getbasetemp()))
    back, encoded = kept(value, store)
    assert same(back, value)
    assert encoded["c"] == "plain"
    assert encoded["d"] == digest(value) == digest(back)


@given(VALUES)
def test_the_same_holds_for_values_kept_as_objects(tmp_path_factory: Any, value: Any) -> None:
    back, encoded = kept(value, FolderStore(str(tmp_path_factory.getbasetemp())), inline_limit=0)
    assert "at" in encoded
    assert same(back, value)


@given(ARRAYS)
def test_arrays_come_back_with_element_type_shape_and_order(tmp_path_factory: Any, array: Any) -> None:
    store = FolderStore(str(tmp_path_factory.getbasetemp()))
    back, encoded = kept(array, store)
    assert encoded["c"] == "npy"
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.writeable
    if array.flags.c_contiguous or array.flags.f_contiguous:
        assert (back.flags.c_contiguous, back.flags.f_contiguous) == (
            array.flags.c_contiguous,
            array.flags.f_contiguous,
        )
    assert encoded["d"] == digest(array) == digest(np.ascontiguousarray(array).reshape(array.shape))


@given(VALUES, VALUES)
def test_digests_are_equal_for_equal_values_and_only_for_them(one: Any, other: Any) -> None:
    assert digest(copy.deepcopy(one)) == digest(one)
    if digest(one) == digest(other):
        assert type(one) is type(other)
        assume(not _orderless(one))
        assert same(one, other)


def _orderless(value: Any) -> bool:
    """Tell whether equal values of the kind may differ in order: dictionaries and what holds them."""
    return not isinstance(value, (type(None), bool, int, float, str, bytes, datetime.date, decimal.Decimal))


@given(st.dictionaries(KEYS, SCALARS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_a_dictionary_or_set_is_not_part_of_its_digest(value: dict[Any, Any], chance: Any) -> None:
    items = list(value.items())
    chance.shuffle(items)
    assert digest(dict(items)) == digest(value)
    assert digest({key for key, _ in items}) == digest(set(value))


def test_values_that_compare_equal_but_are_not_the_same_differ() -> None:
    time, date = datetime.time(1), datetime.datetime(1, 1, 1, 1)  # noqa: DTZ001 - naive times are values too
    texts: list[Any] = ["\ud83d\ude00", "\U0001f600", "{}", "[]", "", "1", b"1", b"", bytearray()]
    groups: list[list[Any]] = [
        [1, True, 1.0, "1", b"1", 1 + 0j, decimal.Decimal(1), fractions.Fraction(1), np.int64(1), np.float64(1)],
        [Level.LOW, 1, Colour.RED, Colour.GREEN, Rights(0), Rights.READ, Bits(5), Bits(1)],
        [(1, 2), [1, 2], {1, 2}, frozenset({1, 2}), range(1, 3), Point(1, 2), Labelled(1, 2), np.array([1, 2])],
        [{}, [], (), set(), None, 0, False, *texts],
        [{"a": 1}, {"a": True}, {"a": 1.0}, [["a", 1]], Holder(1), Slotted(1)],
        [0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan],
        [{"~set": [1]}, {1}, {"~dict": []}, {"~tuple": []}],
        [np.zeros(2, "f4"), np.zeros(2, "f8"), np.zeros((2, 1), "f8"), np.zeros(2, ">f8"), np.zeros(2, "i8")],
        [time, date, datetime.time(1, fold=1), datetime.time(1, tzinfo=datetime.UTC)],
    ]
    for group in groups:
        digests = [digest(value) for value in group]
        assert None not in digests
        assert len(set(digests)) == len(group)


def test_padding_is_no_part_of_an_array() -> None:
    padded = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    one: Any = np.frombuffer(bytearray(32), padded)
    other: Any = np.frombuffer(bytearray(b"\xff" * 32), padded)
    for name in padded.names or ():
        other[name] = one[name]
    assert memoryview(one.view("u1")).tobytes() != memoryview(other.view("u1")).tobytes()
    assert digest(one) == digest(other)


_DIGESTS = """
import datetime, decimal
from clary.artifacts import digest
value = {"s": {"b", "a", ("c", frozenset({1, "x", 2.5}))}, "d": {1: {2, 3, 5, 7}, (1, "k"): [decimal.Decimal("1.5")]}}
value |= {"t": datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc), "big": 1 << 200}
print(digest(value))
"""


def test_digests_are_the_same_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64

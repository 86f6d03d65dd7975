"""Values to bytes and back: what is pickled, what is refused, what is said of damage, and what is never run."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import types
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clary.artifacts import INLINE_LIMIT, decode, digest, encode, names, preview
from clary.artifacts.pickles import PICKLE
from clary.artifacts.storing import address
from clary.errors import ClaryError, JournalError, SerializationError
from clary.objects.folder import FolderStore


@dataclasses.dataclass
class Trouble(Exception):  # noqa: N818 - users name theirs like this
    code: int


@dataclasses.dataclass
class Table(dict[str, int]):
    rows: int


@dataclasses.dataclass
class WithCache:
    a: int


@dataclasses.dataclass
class OwnCopy:
    a: int

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnCopy, (self.a + 1,)


class Base:
    __slots__ = ("__hidden",)

    def hide(self, value: int) -> None:
        self.__hidden = value

    def hidden(self) -> int:
        return self.__hidden


@dataclasses.dataclass(slots=True)
class WithSlot(Base):
    a: int


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the untyped form is in use too


class OpenPair(Pair):
    """Has a dictionary of its own, unlike Pair."""


class Colour(enum.Enum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


def back(value: Any, store: FolderStore) -> tuple[Any, dict[str, Any]]:
    encoded = json.loads(json.dumps(encode(value, store)))
    return decode(encoded, store), encoded


def test_what_has_no_plain_form_is_pickled_and_compared_by_nobody(store: FolderStore) -> None:
    cached = WithCache(1)
    vars(cached)["seen"] = 2
    slotted = WithSlot(1)
    slotted.hide(5)
    extra = OpenPair(1, 2)
    vars(extra)["c"] = 3
    for value in (
        Text("x"),
        OrderedDict(a=1),
        defaultdict(int, a=1),
        cached,
        slotted,
        extra,
        Table(3),
        {"inner": [Text("x")]},
        np.array([None, "x"], dtype=object),
        np.ma.masked_array([1, 2]),
    ):
        assert digest(value) is None
        found, encoded = back(value, store)
        assert encoded["c"] == "pickle", value
        assert "d" not in encoded
        assert digest(value) == digest(found) == address(encoded)  # this very object is known by now
        assert type(found) is type(value)
        if not isinstance(value, (WithSlot, np.ndarray)):
            assert found == value
    assert vars(back(cached, store)[0]) == {"a": 1, "seen": 2}
    assert back(slotted, store)[0].hidden() == 5
    assert vars(back(extra, store)[0]) == {"c": 3}


def test_a_class_that_copies_itself_in_its_own_way_is_obeyed(store: FolderStore) -> None:
    assert back(OwnCopy(1), store)[0] == OwnCopy(2)


def test_exceptions_that_are_dataclasses_keep_their_type(store: FolderStore) -> None:
    found, _ = back(Trouble(7), store)
    assert type(found) is Trouble
    assert found.code == 7


def test_a_class_that_cannot_be_found_again_is_refused_when_it_is_kept(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clary.artifacts.pickles.CODECS", (PICKLE,))

    class Local(enum.Enum):
        A = 1

    @dataclasses.dataclass
    class Row:
        a: int

    here: Any = namedtuple("here", "a")  # noqa: PYI024
    for value in (Local.A, Row(1), here(1), [Row(1)]):
        with pytest.raises(SerializationError) as caught:
            encode(value, store)
        assert caught.value.code == "value.not_serializable"
        assert digest(value) is None


def test_what_cannot_be_kept_is_refused_with_a_next_step(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clary.artifacts.pickles.CODECS", (PICKLE,))

    class Hostile:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("in its own hook")

    with (tmp_path / "file").open("w") as file:
        for value in (file, lambda: None, iter(lambda: 0, 1), memoryview(b"x"), Hostile(), sys):
            with pytest.raises(SerializationError) as caught:
                encode(value, store)
            assert caught.value.code == "value.not_serializable"
            assert caught.value.next_step


def test_large_values_are_objects_under_their_digest(store: FolderStore) -> None:
    for value in ("x" * INLINE_LIMIT, {"a": list(range(20_000))}, np.zeros(INLINE_LIMIT), Text("y" * INLINE_LIMIT)):
        found, encoded = back(value, store)
        assert encoded["at"].startswith("values/")
        assert store.size(encoded["at"]) == encoded["n"]
        assert len(json.dumps(encoded)) < 2500
        assert np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value
    assert "at" not in encode("x" * (INLINE_LIMIT - 2), store)
    assert "at" in encode("x" * (INLINE_LIMIT - 1), store)


def test_a_damaged_or_missing_object_is_told(store: FolderStore) -> None:
    encoded = encode("x" * INLINE_LIMIT, store)
    store.put(encoded["at"], b"other bytes")
    with pytest.raises(SerializationError, match="damaged") as caught:
        decode(encoded, store)
    assert caught.value.code == "value.unreadable"
    Path(store.url(encoded["at"])).unlink()
    with pytest.raises(JournalError) as missing:
        decode(encoded, store)
    assert missing.value.code == "value.missing"


def test_keeping_a_value_again_heals_its_object(store: FolderStore) -> None:
    encoded = encode("x" * INLINE_LIMIT, store)
    store.put(encoded["at"], b"damaged")
    encode("x" * INLINE_LIMIT, store)
    assert decode(encoded, store) == "x" * INLINE_LIMIT


def test_pickles_are_read_only_when_trusted(store: FolderStore) -> None:
    encoded = encode(Text("x"), store)
    with pytest.raises(SerializationError) as caught:
        decode(encoded, store, unpickle=False)
    assert caught.value.code == "value.untrusted"
    assert "Text" in caught.value.summary


@pytest.mark.parametrize("tag", ["~enum", "~flag", "~named", "~dataclass"])
@pytest.mark.parametrize("name", ["os:system", "builtins:eval", "subprocess:Popen", "builtins:exit"])
def test_a_record_from_outside_cannot_name_what_is_no_such_class(store: FolderStore, tag: str, name: str) -> None:
    made_up = {"c": "plain", "t": "x", "v": {tag: [name, "true"]}}
    with pytest.raises(SerializationError) as caught:
        decode(made_up, store, unpickle=False)
    assert caught.value.code == "value.unreadable"


def test_a_preview_imports_nothing_that_a_record_names(monkeypatch: pytest.MonkeyPatch, store: FolderStore) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("imported")

    encoded = [encode(value, store) for value in (Colour.RED, WithCache(1), Pair(1, 2), [Colour.RED])]
    monkeypatch.setattr(names, "find", refuse)
    shown = [preview(one) for one in encoded]
    assert shown == ["<Colour.RED: 1>", "WithCache(a=1)", "Pair(a=1, b=2)", "[<Colour.RED: 1>]"]
    del encoded[0]["p"]
    assert preview(encoded[0]) == "a Colour"


def test_previews_are_one_short_line(store: FolderStore) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    shown = {
        "3": 3,
        "'a b'": "a b",
        "ndarray int64 (2, 3)": np.zeros((2, 3), "i8"),
        "list of 20,000": list(range(20_000)),
        "str of 70,000": "x" * 70_000,
        "{'a': 1}": {"a": 1},
    }
    for text, value in shown.items():
        assert preview(encode(value, store)) == text
    long = preview(encode({"key": "x" * 200}, store))
    assert len(long) == 80
    assert long.endswith("…")
    assert "\n" not in preview(encode(Text("a\nb"), store))


def test_a_class_that_has_gone_is_told(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [encode(Colour.RED, store), encode(WithCache(1), store), encode(Trouble(1), store)]
    module = sys.modules[__name__]
    for name in ("Colour", "WithCache", "Trouble"):
        monkeypatch.delattr(module, name)
    for encoded in kept:
        with pytest.raises(SerializationError) as caught:
            decode(encoded, store)
        assert caught.value.code == "value.unreadable"
    with pytest.raises(SerializationError):
        decode({"c": "plain", "t": "x", "v": {"~of a later version": 1}}, store)


def test_deep_and_circular_values_end_in_a_value_or_a_clear_error(store: FolderStore) -> None:
    refused = 0
    for depth in (100, 400, 2_000, 100_000):
        value: list[Any] = []
        for _ in range(depth):
            value = [value]
        try:
            assert digest(back(value, store)[0]) == digest(value)
        except SerializationError:
            refused += 1
            assert depth > 400
    assert refused
    circle: list[Any] = []
    circle.append(circle)
    found, encoded = back(circle, store)
    assert encoded["c"] == "pickle"
    assert found[0] is found


def test_element_types_that_the_array_format_cannot_keep_are_pickled(store: FolderStore) -> None:
    noted = np.dtype("f8", metadata={"unit": "m"})
    overlapping: Any = np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]})
    arrays = [
        np.zeros(2, noted),
        np.zeros(2, [("a", noted)]),
        np.zeros(2, overlapping),
        np.zeros(2, np.dtype([])),
        np.array(["a", "ü"], dtype=np.dtypes.StringDType()),
    ]
    for array in arrays:
        found, encoded = back(array, store)
        assert encoded["c"] == "pickle"
        assert found.dtype == array.dtype
        assert found.shape == array.shape


def test_field_names_of_any_script(store: FolderStore) -> None:
    array = np.zeros(2, [("größe", "f8"), ("\u6587", "i4", (2,))])
    found, encoded = back(array, store)
    assert encoded["c"] == "npy"
    assert found.dtype == array.dtype


def test_a_script_s_classes_are_found_under_its_module_name(
    monkeypatch: pytest.MonkeyPatch, store: FolderStore
) -> None:
    """A flow run as a script keeps values of ``__main__``; the job, and a resume, know the file by its own name."""
    module = types.ModuleType("script")
    exec("import enum\nclass Mood(enum.Enum):\n    GOOD = 1\nclass Thing:\n    pass\n", vars(module))
    monkeypatch.setitem(sys.modules, "script", module)
    monkeypatch.setattr(names, "_flow_module", ["script"])
    kept = {"c": "plain", "t": "Mood", "v": {"~enum": ["__main__:Mood", "GOOD"]}}
    assert decode(kept, store) is module.Mood.GOOD
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "/somewhere/myscript.py", raising=False)
    monkeypatch.setattr(main, "Colour", Colour, raising=False)
    assert names.find("myscript", "Colour") is Colour
    assert names.find("clary.errors", "ClaryError") is ClaryError

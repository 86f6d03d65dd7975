"""What cannot be kept: the message names where it is in the value, what it is, and what to do."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from clary.artifacts import decode, digest, encode
from clary.artifacts.identity import Known
from clary.errors import SerializationError
from clary.objects.folder import FolderStore


class Model:
    def __init__(self, part: Any) -> None:
        self.weights = [1, 2]
        self.lock = part


class Plain:
    pass


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


def refused(value: Any, store: FolderStore, label: str = "result") -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        encode(value, store, label=label)
    assert caught.value.code == "value.not_serializable"
    return caught.value


def test_the_path_inside_the_value_is_named(store: FolderStore, tmp_path: Path) -> None:
    with socket.socket() as one, (tmp_path / "f").open("w") as file:
        for value, path, kind, step in [
            ({"model": Model(threading.Lock())}, 'result["model"].lock', "_thread.lock", "inside the call"),
            ([1, {"a": (x for x in "")}], 'result[1]["a"]', "generator", "list("),
            (one, "result", "socket.socket", "connection"),
            ({"deep": [[{3: file}]]}, 'result["deep"][0][0][3]', "_io.TextIOWrapper", "pathlib.Path"),
            ((1, threading.RLock()), "result[1]", "_thread.RLock", "inside the call"),
        ]:
            error = refused(value, store)
            assert error.field == path
            assert path in error.summary
            assert kind in error.summary
            assert step in error.next_step
            assert error.details == {"path": path, "type": kind}
    assert 'inputs["x"]' in refused({"x": threading.Lock()}, store, "inputs").summary


def test_circles_and_great_depth_do_not_trap_the_search(store: FolderStore) -> None:
    circle: dict[str, Any] = {"lock": threading.Lock()}
    circle["self"] = circle
    assert refused(circle, store).field == 'result["lock"]'
    deep: list[Any] = [threading.Lock()]
    for _ in range(100_000):
        deep = [deep]
    assert refused(deep, store).details["path"].startswith("result[0][0]")
    wide = [*range(20_000), threading.Lock()]
    assert refused(wide, store).field in ("result", "result[20000]")


def test_lambdas_and_local_classes_go_by_cloudpickle(store: FolderStore) -> None:
    class Local:
        a = 5

    factor = 3
    encoded = encode({"f": lambda x: x * factor, "c": Local()}, store)
    assert encoded["c"] == "cloudpickle"
    back = decode(encoded, store)
    assert back["f"](2) == 6
    assert back["c"].a == 5
    with pytest.raises(SerializationError) as caught:
        decode(encoded, store, unpickle=False)
    assert caught.value.code == "value.untrusted"


def test_nothing_comes_back_as_something_else(store: FolderStore, tmp_path: Path) -> None:
    """cloudpickle by itself makes a StringIO of an open file, and bytes of a memoryview."""
    (tmp_path / "f").write_text("text")
    with (tmp_path / "f").open() as file:
        for value in (file, [lambda: 1, file], memoryview(b"x")):
            refused(value, store)


def test_cloudpickle_is_loaded_only_for_what_needs_it(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)
    encode(Plain(), store)
    assert "cloudpickle" not in sys.modules


def test_a_kept_object_is_compared_by_its_address(store: FolderStore) -> None:
    kept, other = Plain(), Plain()
    assert digest(kept) is None
    encoded = encode(kept, store)
    assert digest(kept) == digest(decode(encoded, store)) is not None
    assert digest(other) is None
    listed = [Plain()]  # takes no weak reference
    encode(listed, store)
    assert digest(listed) is not None
    assert digest([listed[0]]) is None


def test_addresses_end_with_their_objects_and_within_their_bound() -> None:
    known = Known(held_bytes=100)
    one = Plain()
    known.remember(one, "a", 1000)
    assert known.address(one) == "a"
    del one
    assert all(known.address(Plain()) is None for _ in range(50))
    lists: list[list[int]] = [[number] for number in range(5)]
    for number, value in enumerate(lists):
        known.remember(value, str(number), 40)
    assert [known.address(value) for value in lists] == [None, None, None, "3", "4"]
    too_large: list[int] = []
    known.remember(too_large, "x", 101)
    assert known.address(too_large) is None

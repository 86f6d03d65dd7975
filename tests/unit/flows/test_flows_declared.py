"""What cannot be a flow or a checkpoint is refused when it is declared, with the reason."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clary import checkpoint, flow
from clary.errors import UsageError


def by_place(value: int, /) -> int:
    return value


def many(*values: int) -> int:
    return sum(values)


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Holder:
    def method(self) -> int:
        return 1


class Callable_:  # noqa: N801 it stands for an object that can be called
    def __call__(self) -> int:
        return 1


FLOWS: list[tuple[Any, str, str]] = [
    (by_place, "flow.bad_signature", "“value”"),
    (many, "flow.bad_signature", "*values"),
    (generator, "flow.generator", "generator"),
    (async_generator, "flow.generator", "generator"),
    (Holder.method, "flow.not_a_function", "a method of the class Holder"),
    (Holder().method, "flow.not_a_function", "a method of an object"),
    (Holder, "flow.not_a_function", "the class Holder"),
    (staticmethod(many), "flow.not_a_function", "a staticmethod"),
    (functools.partial(many, 1), "flow.not_a_function", "functools.partial"),
    (Callable_(), "flow.not_a_function", "Callable_"),
    (3, "flow.not_a_function", "int"),
]


@pytest.mark.parametrize(("function", "code", "reason"), FLOWS)
def test_what_cannot_be_a_flow_is_refused(function: Callable[..., Any], code: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        flow(function)
    assert caught.value.code == code
    assert reason in caught.value.summary


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (generator, "checkpoint.generator"),
        (async_generator, "checkpoint.generator"),
        (staticmethod(many), "checkpoint.not_a_function"),
        (Holder, "checkpoint.not_a_function"),
        (functools.partial(many, 1), "checkpoint.not_a_function"),
    ],
)
def test_what_cannot_be_a_checkpoint_is_refused(function: Any, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        checkpoint(function)
    assert caught.value.code == code


def test_a_flow_without_a_name_is_not_run() -> None:
    with pytest.raises(UsageError) as caught:
        flow(lambda: 1).run()
    assert caught.value.code == "flow.not_a_function"


@pytest.mark.parametrize("key", ["", "k" * 201, 17])
def test_a_key_is_a_text(key: Any) -> None:
    with pytest.raises(UsageError) as caught:
        flow(many_named).with_options(key=key)
    assert (caught.value.code, caught.value.field) == ("flow.bad_option", "key")


def many_named(values: list[int]) -> int:
    return sum(values)


def test_options_of_a_run_are_laid_over_each_other_and_leave_the_flow_alone() -> None:
    plain = flow(many_named)
    asked = plain.with_options(image="a", settings={"tags": {"x": "1"}}).with_options(
        stack="s", settings={"instance_count": 2}, retries=3
    )
    assert (asked.call.image, asked.call.stack, asked.call.retries) == ("a", "s", {"count": 3})
    assert asked.call.settings == {"tags": {"x": "1"}, "instance_count": 2}
    assert plain.call.image is None
    assert asked.on("t").call.image == "a"


def test_which_exceptions_are_retried_is_not_for_one_run_to_say() -> None:
    with pytest.raises(UsageError) as caught:
        flow(many_named).with_options(retries={"count": 1, "on": OSError})
    assert caught.value.field == "retries.on"


@pytest.mark.parametrize(
    ("declare", "options", "code"),
    [
        (checkpoint, {"timeout": "5"}, "checkpoint.bad_timeout"),
        (checkpoint, {"timeout": True}, "checkpoint.bad_timeout"),
        (checkpoint, {"name": 5}, "checkpoint.bad_name"),
        (checkpoint, {"name": ["a"]}, "checkpoint.bad_name"),
        (flow, {"workers": "x"}, "flow.bad_workers"),
        (flow, {"workers": 1.5}, "flow.bad_workers"),
        (flow, {"workers": 0}, "flow.bad_workers"),
    ],
)
def test_options_of_another_type_are_refused(declare: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        declare(**options)(many_named)
    assert caught.value.code == code


OUTSIDE = """
import sys

class NoAgent:
    def find_spec(self, name, path=None, target=None):
        if name in ("clary.agent", "clary.client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoAgent())
import clary
from clary.errors import UsageError

@clary.flow
def work():
    return 1

clary.configure(retries=2)
for call in (
    work.run, work, work.on("gpu").run, work.with_options(key="x").run, lambda: work.replay("x", at="y"),
    clary.list_stacks, clary.current_stack, lambda: clary.use_stack("x"), lambda: clary.create_stack("x"),
    lambda: clary.delete_stack("x"), clary.Client,
):
    try:
        call()
    except UsageError as error:
        print(error.code)
"""


def test_what_lies_outside_a_job_says_so_in_one(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(OUTSIDE)
    done = subprocess.run([sys.executable, "job.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["flow.in_job"] * 5 + ["stack.in_job"] * 5 + ["client.in_job"]

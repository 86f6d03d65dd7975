"""Requests made inside the limits of the loaded model pass; each single breach is found at its own path."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.sagemaker.findings import Kind, errors_of, service_message
from clary.sagemaker.limits import model_findings, service_model
from clary.sagemaker.patterns import compiled, fits

OPERATIONS = ("CreateTrainingJob", "CreateProcessingJob")
# What the strategies below make is kept well under the limits, so that drawing stays quick.
FEW = 3
SHAPES = service_model()["shapes"]


def later(name: str) -> st.SearchStrategy[Any]:
    """Values that the shape allows; looked up when one is drawn, for shapes may hold each other."""
    return st.deferred(lambda: values(name))


@cache
def values(name: str) -> st.SearchStrategy[Any]:
    """Values that the shape allows."""
    shape = SHAPES[name]
    kind = shape["type"]
    if kind == "structure":
        members = {member: later(inner["shape"]) for member, inner in shape["members"].items()}
        required = {member: members.pop(member) for member in shape.get("required", ())}
        return st.fixed_dictionaries(required, optional=members)
    if kind == "list":
        most = min(shape.get("max", FEW), FEW)
        return st.lists(values(shape["member"]["shape"]), min_size=shape.get("min", 0), max_size=most)
    if kind == "map":
        return st.dictionaries(values(shape["key"]["shape"]), values(shape["value"]["shape"]), max_size=FEW)
    if kind == "string":
        return texts(shape)
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "long"):
        return st.integers(shape.get("min", -(2**31)), shape.get("max", 2**31 - 1))
    raise AssertionError(f"no strategy for {kind}")


def texts(shape: Any) -> st.SearchStrategy[str]:
    if "enum" in shape:
        return st.sampled_from(shape["enum"])
    least, most = shape.get("min", 0), shape.get("max", math.inf)
    pattern = shape.get("pattern")
    if pattern is None:
        return st.text(min_size=least, max_size=min(most, 20))
    expression = compiled(pattern)
    assert expression is not None, pattern
    drawn = st.from_regex(expression, fullmatch=True)
    return drawn.filter(lambda text: least <= len(text) <= most and fits(pattern, text))


@dataclass(frozen=True)
class Leaf:
    """A value in a request, its shape, and where it stands."""

    path: str
    steps: tuple[Any, ...]
    shape: Any
    value: Any


def leaves(name: str, value: Any, path: str = "", steps: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    """Yield every part of a request whose path is easily written: map entries with odd keys are left out."""
    shape = SHAPES[name]
    if steps:
        yield Leaf(path, steps, shape, value)
    if shape["type"] == "structure":
        for member, inner in value.items():
            where = f"{path}.{member}" if path else member
            yield from leaves(shape["members"][member]["shape"], inner, where, (*steps, member))
    elif shape["type"] == "list":
        for index, inner in enumerate(value):
            yield from leaves(shape["member"]["shape"], inner, f"{path}[{index}]", (*steps, index))


def breaches(leaf: Leaf) -> Iterator[tuple[Kind, Any]]:
    """Yield values that break one limit of the leaf, and which."""
    shape, kind = leaf.shape, leaf.shape["type"]
    yield Kind.TYPE, object()
    yield Kind.TYPE, None
    if kind == "string":
        if shape.get("max") is not None:
            yield Kind.LENGTH, "x" * (shape["max"] + 1)
        if shape.get("min", 0) > 0:
            yield Kind.LENGTH, ""
        lines = "\n" * max(shape.get("min", 0), 1)
        if "pattern" in shape and not fits(shape["pattern"], lines):
            yield Kind.PATTERN, lines
        if "enum" in shape:
            yield Kind.ENUM, "no such value"
    elif kind in ("integer", "long"):
        yield Kind.TYPE, True
        yield Kind.TYPE, 1.5
        if "min" in shape:
            yield Kind.RANGE, shape["min"] - 1
        if "max" in shape:
            yield Kind.RANGE, shape["max"] + 1
    elif kind == "list" and "max" in shape and leaf.value:
        yield Kind.LENGTH, [leaf.value[0]] * (shape["max"] + 1)
    elif kind == "structure":
        yield Kind.UNKNOWN_MEMBER, leaf.value | {"NoSuchMember": 1}


def with_value(request: dict[str, Any], steps: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(request)
    inner: Any = changed
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = value
    return changed


def input_shape(operation: str) -> str:
    return str(service_model()["operations"][operation]["input"]["shape"])


REQUESTS = {operation: values(input_shape(operation)) for operation in OPERATIONS}
slowly = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
@slowly
def test_a_request_inside_the_limits_passes(operation: str, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[operation])
    assert model_findings(operation, request) == []


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
@slowly
def test_each_breach_is_found_at_its_path(operation: str, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[operation])
    leaf = data.draw(st.sampled_from(list(leaves(input_shape(operation), request))))
    kind, value = data.draw(st.sampled_from(list(breaches(leaf))))
    found = errors_of(model_findings(operation, with_value(request, leaf.steps, value)))
    expected = f"{leaf.path}.NoSuchMember" if kind is Kind.UNKNOWN_MEMBER else leaf.path
    assert (expected, kind) in {(finding.path, finding.kind) for finding in found}
    # A list that is too long repeats its first item; nothing else in the request is touched.
    assert {finding.path for finding in found} == {expected}
    assert all(finding.message and finding.next_step and finding.limit for finding in found)
    assert bool(service_message(found)) is (kind is not Kind.UNKNOWN_MEMBER)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
@slowly
def test_each_missing_member_is_found(operation: str, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[operation])
    structures = [((), "", SHAPES[input_shape(operation)])]
    for leaf in leaves(input_shape(operation), request):
        if leaf.shape["type"] == "structure" and leaf.shape.get("required"):
            structures.append((leaf.steps, f"{leaf.path}.", leaf.shape))
    steps, path, shape = data.draw(st.sampled_from(structures))
    member = data.draw(st.sampled_from(shape["required"]))
    changed = copy.deepcopy(request)
    inner: Any = changed
    for step in steps:
        inner = inner[step]
    del inner[member]
    assert [(finding.path, finding.kind) for finding in model_findings(operation, changed)] == [
        (f"{path}{member}", Kind.REQUIRED)
    ]

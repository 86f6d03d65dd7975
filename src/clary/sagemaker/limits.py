"""A request against the limits of the loaded botocore service model: required, type, size, pattern, enum.

botocore itself checks only presence, type and minimum. The model is the installed one, so a newer boto3 brings newer
limits. Loading it takes about 0.15 s, once in a process, and makes no client and no call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from clary.sagemaker.breaches import (
    Place,
    missing,
    not_in_enum,
    unknown_member,
    wrong_pattern,
    wrong_range,
    wrong_size,
    wrong_type,
)
from clary.sagemaker.findings import Finding
from clary.sagemaker.patterns import fits

# A longer value is not matched against its pattern: its length is the finding, and matching costs time.
_LONGEST_MATCHED = 8192

# The types of a JSON request that the model can ask for; blobs and times are in no create request.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "structure": ((Mapping,), "an object"),
    "map": ((Mapping,), "an object"),
    "list": ((list, tuple), "a list"),
    "string": ((str,), "text"),
    "boolean": ((bool,), "true or false"),
    "integer": ((int,), "a whole number"),
    "long": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
}

Shape = Mapping[str, Any]
Check = Callable[[str, Shape, Any, Place], Iterator[Finding]]


@cache
def service_model() -> Mapping[str, Any]:
    """Return ``operations`` and ``shapes`` of the model that botocore would use (AWS_DATA_PATH included), no prose."""
    import os

    from botocore.loaders import create_loader

    loader = create_loader(os.environ.get("AWS_DATA_PATH"))
    model: Mapping[str, Any] = loader.load_service_model("sagemaker", "service-2")
    shapes = {
        name: {key: value for key, value in shape.items() if key != "documentation"}
        for name, shape in model["shapes"].items()
    }
    return {"operations": model["operations"], "shapes": shapes}


def model_findings(operation: str, request: Mapping[str, Any]) -> list[Finding]:
    """Return everything in ``request`` that breaks the model of ``operation``, e.g. ``CreateTrainingJob``.

    Raises KeyError when the loaded model has no such operation.
    """
    model = service_model()
    name = model["operations"][operation]["input"]["shape"]
    return list(_Walk(model["shapes"]).value(name, request, Place("", "")))


class _Walk:
    """Goes through a request and the shapes of the model side by side."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = shapes
        self.checks: dict[str, Check] = {
            "structure": self.structure,
            "map": self.map,
            "list": self.list,
            "string": self.string,
        }

    def value(self, name: str, value: Any, place: Place) -> Iterator[Finding]:
        """Yield what is wrong with one value of the shape called ``name``."""
        shape = self.shapes[name]
        accepted, words = _TYPES.get(shape["type"], ((object,), "anything"))
        truth_as_number = isinstance(value, bool) and bool not in accepted
        if truth_as_number or not isinstance(value, accepted):
            yield wrong_type(place, value, words)
            return
        yield from self.checks.get(shape["type"], self.number)(name, shape, value, place)

    def structure(self, _name: str, shape: Shape, value: Mapping[str, Any], place: Place) -> Iterator[Finding]:
        members = shape["members"]
        for name in shape.get("required", ()):
            if name not in value:
                yield missing(place.member(name))
        for name, inner in value.items():
            if name in members:
                yield from self.value(members[name]["shape"], inner, place.member(name))
            else:
                yield unknown_member(place.member(str(name)), list(members))

    def map(self, name: str, shape: Shape, value: Mapping[str, Any], place: Place) -> Iterator[Finding]:
        yield from self.size(name, shape, value, place)
        for key, inner in value.items():
            yield from self.value(shape["key"]["shape"], key, place.key(str(key)))
            yield from self.value(shape["value"]["shape"], inner, place.entry(str(key)))

    def list(self, name: str, shape: Shape, value: Sequence[Any], place: Place) -> Iterator[Finding]:
        yield from self.size(name, shape, value, place)
        member = shape["member"]["shape"]
        plain = self.shapes[member]["type"] != "structure"
        for index, inner in enumerate(value):
            yield from self.value(member, inner, place.item(index, plain=plain))

    def string(self, name: str, shape: Shape, value: str, place: Place) -> Iterator[Finding]:
        yield from self.size(name, shape, value, place)
        pattern = shape.get("pattern")
        if pattern is not None and len(value) <= _LONGEST_MATCHED and not fits(pattern, value):
            yield wrong_pattern(place, value, pattern)
        if "enum" in shape and value not in shape["enum"]:
            yield not_in_enum(place, value, shape["enum"])

    def number(self, _name: str, shape: Shape, value: Any, place: Place) -> Iterator[Finding]:
        """Yield what is wrong with a value whose shape bounds nothing, or only its range."""
        finding = wrong_range(place, value, shape)
        if finding is not None:
            yield finding

    def size(self, name: str, shape: Shape, value: Any, place: Place) -> Iterator[Finding]:
        finding = wrong_size(place, value, name, shape)
        if finding is not None:
            yield finding

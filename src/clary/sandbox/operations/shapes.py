"""Answers in exactly the shape of the loaded service model: members that it does not have are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.sagemaker.limits import service_model


def projected(operation: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of ``document`` that the output of ``operation`` has, all the way down."""
    model = service_model()
    output = model["operations"][operation].get("output")
    if output is None:
        return {}
    answer: dict[str, Any] = _fit(model["shapes"], output["shape"], document)
    return answer


def _fit(shapes: Mapping[str, Any], name: str, value: Any) -> Any:
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure" and isinstance(value, Mapping):
        members = shape["members"]
        return {key: _fit(shapes, members[key]["shape"], item) for key, item in value.items() if key in members}
    if kind == "list" and isinstance(value, list):
        return [_fit(shapes, shape["member"]["shape"], item) for item in value]
    if kind == "map" and isinstance(value, Mapping):
        return {key: _fit(shapes, shape["value"]["shape"], item) for key, item in value.items()}
    return value

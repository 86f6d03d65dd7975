"""The findings for each sort of breach of the service model, worded for a person and as the service words them.

Members of an enum that are not in the model:

- an instance type of the form ``ml.<family>.<size>`` is a warning, for AWS adds types faster than people upgrade;
- any other value is an error, unless the model is older than the one these rules were written against
  (``WRITTEN_AGAINST``) and the value is no near miss of a known one: then it may well be newer, and is a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from clary.errors import nearest
from clary.sagemaker.findings import Finding, Kind, Severity, shown
from clary.sagemaker.hints import length_hint, pattern_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WRITTEN_AGAINST = (1, 44, 5)
"""The newest botocore whose model was compared field by field when these rules were written."""

NEAR = 0.75
"""How alike a near miss and the known word are: a word that is less so may be one that the model does not have yet."""

_INSTANCE_TYPE = re.compile(r"ml\.[a-z][a-z0-9-]*\.[a-z0-9][a-z0-9-]*")
_UNITS = {"string": ("character", "characters"), "list": ("item", "items"), "map": ("entry", "entries")}


@cache
def model_is_older() -> bool:
    """Tell whether the installed botocore is older than the one these rules were written against."""
    import botocore

    numbers = re.findall(r"\d+", botocore.__version__)[:3]
    return tuple(int(number) for number in numbers) < WRITTEN_AGAINST


@dataclass(frozen=True)
class Place:
    """Where in the request a value stands, for a person and in the service's way of writing it."""

    path: str
    service: str
    name: str = ""
    """Of the innermost member or key."""
    hidden: bool = False
    """The value may be a secret (environment variables)."""
    within: str = ""
    """``Map value``, ``Map keys`` or ``Member`` where the service reports the container rather than the entry."""

    def member(self, name: str) -> Place:
        """Return the place of a structure's member."""
        path = f"{self.path}.{name}" if self.path else name
        lower = name[:1].lower() + name[1:]
        return Place(path, f"{self.service}.{lower}" if self.service else lower, name, name == "Environment")

    def item(self, index: int, *, plain: bool) -> Place:
        """Return the place of a list's item; ``plain`` items are text or numbers."""
        place = replace(self, path=f"{self.path}[{index}]")
        return (
            replace(place, within="Member") if plain else replace(place, service=f"{self.service}.{index + 1}.member")
        )

    def entry(self, key: str) -> Place:
        """Return the place of the value that a map holds under ``key``."""
        key = shown(key)
        path = f"{self.path}.{key}" if re.fullmatch(r"[\w-]+", key) else f"{self.path}[{key!r}]"
        return replace(self, path=path, name=key, within="Map value")

    def key(self, key: str) -> Place:
        """Return the place of a map's key itself."""
        return replace(self.entry(key), name="", hidden=False, within="Map keys")

    def shown(self, value: Any) -> str:
        """Return the value as it may be shown here."""
        return shown(value, name=self.name, hidden=self.hidden)

    def says(self, value: Any, constraint: str) -> str:
        """Return the service's sentence about a constraint that the value here breaks."""
        text = "null" if value is None else f"'{self.shown(value)}'"
        if self.within:
            constraint = f"{self.within} must satisfy constraint: [{constraint}]"
        return f"Value {text} at '{self.service}' failed to satisfy constraint: {constraint}"


def missing(place: Place) -> Finding:
    """Return the finding for a required member that is not there."""
    return Finding(
        path=place.path,
        value="null",
        limit="required",
        message=f"{place.path} is missing.",
        next_step=f"Add {place.path}.",
        kind=Kind.REQUIRED,
        service_text=place.says(None, "Member must not be null"),
    )


def wrong_type(place: Place, value: Any, words: str) -> Finding:
    """Return the finding for a value that is not ``words``, e.g. ``a whole number``."""
    where = place.path or "The request"
    is_what = "null" if value is None else f"of type {type(value).__name__}"
    return Finding(
        path=place.path,
        value=place.shown(value),
        limit=words,
        message=f"{where} must be {words}, and is {is_what}.",
        next_step=f"Leave {where} out, or give {words}." if value is None else f"Give {words} for {where}.",
        kind=Kind.TYPE,
        service_text=place.says(value, f"Member must be {words}"),
    )


def unknown_member(place: Place, known: Sequence[str]) -> Finding:
    """Return the finding for a member that is not in the model: the service would ignore it, botocore refuses it."""
    near = nearest(place.name, known, cutoff=NEAR)
    return Finding(
        path=place.path,
        value="(unknown member)",
        limit="a member that the installed botocore knows",
        message=f"{place.path} is not a member that the installed botocore knows.",
        next_step=f"Did you mean {near}?" if near else "Correct the name; if the member is new, upgrade boto3.",
        kind=Kind.UNKNOWN_MEMBER,
    )


def wrong_size(place: Place, value: Any, name: str, shape: Mapping[str, Any]) -> Finding | None:
    """Return the finding for a text, list or map that is too short or too long for its shape, or None."""
    size, least, most = len(value), shape.get("min", 0), shape.get("max")
    if size < least:
        bound, words, compared = least, "at least", "greater"
    elif most is not None and size > most:
        bound, words, compared = most, "at most", "less"
    else:
        return None
    one, many = _UNITS[shape["type"]]
    limit = f"{words} {bound} {one if bound == 1 else many}"
    where = f"The key {place.path}" if place.within == "Map keys" else place.path
    return Finding(
        path=place.path,
        value=place.shown(value),
        limit=limit,
        message=f"{where} has {size} {one if size == 1 else many}; the limit is {limit}.",
        next_step=length_hint(name, bound, many) if bound == most else f"Leave {where} out, or give it {limit}.",
        kind=Kind.LENGTH,
        service_text=place.says(value, f"Member must have length {compared} than or equal to {bound}"),
    )


def wrong_range(place: Place, value: float, shape: Mapping[str, Any]) -> Finding | None:
    """Return the finding for a number below the minimum or above the maximum of its shape, or None."""
    least, most = shape.get("min"), shape.get("max")
    if least is not None and value < least:
        bound, words, compared = least, "at least", "greater"
    elif most is not None and value > most:
        bound, words, compared = most, "at most", "less"
    else:
        return None
    return Finding(
        path=place.path,
        value=place.shown(value),
        limit=f"{words} {bound}",
        message=f"{place.path} is {value}; it must be {words} {bound}.",
        next_step=f"Set {place.path} to {words} {bound}.",
        kind=Kind.RANGE,
        service_text=place.says(value, f"Member must have value {compared} than or equal to {bound}"),
    )


def wrong_pattern(place: Place, value: str, pattern: str) -> Finding:
    """Return the finding for a text that does not match its pattern."""
    words, next_step = pattern_in_words(pattern, value)
    allowed = f"allowed: {words}" if words else f"it must match {pattern}"
    return Finding(
        path=place.path,
        value=place.shown(value),
        limit=f"{words} (pattern {pattern})" if words else f"pattern {pattern}",
        message=f"{place.path} is '{place.shown(value)}'; {allowed}.",
        next_step=next_step,
        kind=Kind.PATTERN,
        service_text=place.says(value, f"Member must satisfy regular expression pattern: {pattern}"),
    )


def not_in_enum(place: Place, value: str, known: Sequence[str]) -> Finding:
    """Return the finding for a value that is not in the model's enum; the rule is in this module's text."""
    near = f"ml.{value}" if f"ml.{value}" in known else nearest(value, known, cutoff=NEAR)
    if all(entry.startswith("ml.") for entry in known):
        severity, limit, next_step = _instance_type(value, near)
    else:
        may_be_newer = near is None and model_is_older()
        severity = Severity.WARNING if may_be_newer else Severity.ERROR
        limit = f"one of {', '.join(known)}"
        next_step = f"Did you mean {near}?" if near else f"Choose {limit}; if the value is new, upgrade boto3."
    return Finding(
        path=place.path,
        value=place.shown(value),
        limit=limit,
        message=f"{place.path} is '{place.shown(value)}', which is not among the {len(known)} known values.",
        next_step=next_step,
        severity=severity,
        kind=Kind.ENUM,
        service_text=place.says(value, f"Member must satisfy enum value set: [{', '.join(known)}]"),
    )


def _instance_type(value: str, near: str | None) -> tuple[Severity, str, str]:
    meant = f"Did you mean {near}?" if near else "Check the name."
    if _INSTANCE_TYPE.fullmatch(value):
        limit = "an instance type that the installed botocore knows"
        return Severity.WARNING, limit, f"{meant} If the type is newer than the installed boto3, nothing need be done."
    return Severity.ERROR, "ml.<family>.<size>, such as ml.m5.xlarge", meant

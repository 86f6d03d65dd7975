"""How a row of the table is written: for an operation, the actions it needs, on which resources, with which keys.

Names of actions, resource types (with their ARN templates) and condition keys are those of AWS's Service Authorization
Reference; a test compares every one of them with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from clary.sandbox.iam.call import Call

_VARIABLE = re.compile(r"\$\{(\w+)\}")
Values = Sequence[str]
Read = Callable[[Call], Iterable[str]]
"""Reads values out of a request; none when it does not have them."""


@dataclass(frozen=True)
class ResourceType:
    """A type of resource, with the template of its ARN as the reference has it."""

    service: str
    name: str
    template: str

    def arn(self, call: Call, *values: str) -> str:
        """Return the ARN of one resource; ``values`` are those of the template's own variables, in order."""
        own = iter(values)
        common = {"Partition": call.partition, "Region": call.region, "Account": call.account}
        return _VARIABLE.sub(lambda match: common.get(match[1]) or next(own), self.template)


@dataclass(frozen=True)
class Key:
    """A condition key and where its values are in the request."""

    name: str
    read: Read


@dataclass(frozen=True)
class Tagged:
    """The keys ``aws:RequestTag/…`` and ``aws:TagKeys`` of a request, from its member ``path``."""

    path: str


@dataclass(frozen=True)
class Need:
    """One action that an operation needs."""

    action: str
    """With the prefix of its service, e.g. ``sagemaker:CreateTrainingJob``."""
    on: ResourceType | None = None
    """None: the action has no resources, so policies must name ``*``."""
    arns: Read | None = None
    """The ARNs of the resources, each of which must be allowed."""
    keys: tuple[Key | Tagged, ...] = ()
    when: Callable[[Call], bool] | None = None
    """Whether a request needs it at all."""

    def accesses(self, call: Call) -> Iterable[tuple[str, Mapping[str, Values]]]:
        """Yield (resource, condition keys of the request) of everything that must be allowed."""
        if self.when is not None and not self.when(call):
            return
        context = dict(self._context(call))
        resources = ["*"] if self.arns is None else list(self.arns(call))
        for resource in resources:
            tags = call.facts.tags(resource)
            yield resource, {**context, **{f"aws:resourcetag/{key.lower()}": (value,) for key, value in tags.items()}}

    def _context(self, call: Call) -> Iterable[tuple[str, Values]]:
        for key in self.keys:
            if isinstance(key, Tagged):
                tags = call.tags(key.path)
                yield from ((f"aws:requesttag/{name.lower()}", (value,)) for name, value in tags.items())
                if tags:
                    yield "aws:tagkeys", tuple(tags)
            else:
                values = tuple(key.read(call))
                if values:
                    yield key.name.lower(), values


Rows = Mapping[str, Sequence[Need]]
"""The needs by operation; an empty list is an operation that everybody may call."""


def text(path: str, *others: str) -> Read:
    """Read the first of these members that the request has."""
    return lambda call: [found for one in (path, *others) if (found := call.text(one))][:1]


def texts(path: str) -> Read:
    """Read a list of texts."""
    return lambda call: call.texts(path)


def flag(path: str) -> Read:
    """Read a boolean that is false when it is left out."""
    return lambda call: [str(bool(call.get(path))).lower()]


def needs(service: str, on: ResourceType | None, arns: Read | None, *operations: str) -> dict[str, list[Need]]:
    """Return rows of operations that need the action of their own name on the same resource."""
    return {operation: [Need(f"{service}:{operation}", on, arns)] for operation in operations}

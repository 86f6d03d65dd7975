"""Components: made of a flavor and options, and put together to a stack. Pure; the store is ``clary.control``'s."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from clary.errors import ClaryError, UsageError, ValidationError
from clary.stacks import flavors, forms
from clary.stacks.flavors import KINDS, Problem
from clary.stacks.model import LOCAL, SAGEMAKER, Stack

_ESSENTIAL = {
    "orchestrator": "type",
    "artifact_store": "artifact_store",
    "container_registry": "container_registry",
    "image_builder": "image_builder",
    "secrets_manager": "secrets",
}
"""What a flavor of each kind provides, whatever else."""
_FIELDS = frozenset(one.name for one in fields(Stack)) - {"name"}


@dataclass(frozen=True)
class Component:
    """One part of a stack, checked."""

    kind: str
    name: str
    flavor: str
    options: dict[str, Any] = field(default_factory=dict)
    """As they were given, under their own names."""
    provides: dict[str, Any] = field(default_factory=dict)
    """What the flavor made of them: fields of ``Stack``. Kept, so that a stack is read without its flavors."""
    id: str | None = None
    """None until it is stored."""
    created: float | None = None
    """Epoch seconds."""
    keys: str | None = None
    """The local secret that Clary made of keys that were written out: it goes with the component."""

    @property
    def title(self) -> str:
        """How a sentence names it: ``orchestrator 'prod'``."""
        return f"{flavors.title_of(self.kind)} {self.name!r}"

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain data."""
        return asdict(self)


def make(kind: str, name: str, flavor: str, options: Mapping[str, Any]) -> Component:
    """Return a component of a flavor.

    Raises NotFoundError ``flavor.not_found``, ConfigError ``flavor.broken``, ValidationError
    ``component.bad_options`` with every problem.
    """
    found = flavors.find(kind, flavor)
    canonical, problems = found.canonical(options)
    if problems:
        raise bad_options(kind, problems)
    # As the store would give them back, so that what was made and what was read are equal.
    plain, provides = json.loads(json.dumps([canonical, provided(found, canonical)]))
    return Component(kind, name, found.name, plain, provides)


def provided(flavor: flavors.Flavor, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a flavor makes of checked options.

    Raises ConfigError ``flavor.broken`` for a field that no stack has, and where what its kind is for is missing.
    """
    given = flavor.provide(options)
    name = f"{flavor.kind}.{flavor.name}"
    if not given.get(_ESSENTIAL[flavor.kind]):
        raise flavors.broken(name, f"it provides no {_ESSENTIAL[flavor.kind]}")
    if given.get("type", SAGEMAKER) not in (LOCAL, SAGEMAKER):
        raise flavors.broken(name, f"Clary runs no stacks of the type {given['type']!r}")
    strange = sorted(set(given) - _FIELDS)
    if strange:
        raise flavors.broken(name, f"it provides {', '.join(strange)}, which no stack has")
    return given


def assemble(name: str, components: Iterable[Component]) -> Stack:
    """Return the stack that components make together.

    Raises UsageError ``stack.incomplete`` without an orchestrator or artifact store, ``stack.mixed`` for one that runs
    in SageMaker and keeps its runs in a folder or the other way about, ``stack.conflict`` where two components say
    different things of the same field.
    """
    parts = {component.kind: component for component in components}
    lacking = [kind.name for kind in KINDS.values() if kind.required and kind.name not in parts]
    if lacking:
        raise UsageError(
            "stack.incomplete",
            f"A stack also needs: {', '.join(flavors.title_of(kind) for kind in lacking)}.",
            next_step="Give " + " and ".join(f"--{KINDS[kind].command} NAME" for kind in lacking) + ".",
            field=lacking[0],
            details={"missing": lacking},
        )
    merged: dict[str, Any] = {}
    said_by: dict[str, Component] = {}
    for component in parts.values():
        for field_, value in component.provides.items():
            if field_ not in _FIELDS:
                continue  # a newer Clary has written it
            if field_ in merged and merged[field_] != value:
                raise _conflict(field_, said_by[field_], component)
            merged[field_], said_by[field_] = value, component
    stack = Stack(name=name, **merged)
    in_folder = parts["artifact_store"].flavor == LOCAL
    if in_folder != (stack.type == LOCAL):
        raise _mixed(parts["orchestrator"], parts["artifact_store"])
    return stack


def take_apart(stack: Stack) -> list[Component]:
    """Return components, named like the stack, that make it together: the way of a stack that came whole."""
    if stack.type == LOCAL:
        return [
            make("orchestrator", stack.name, LOCAL, {}),
            make("artifact_store", stack.name, LOCAL, {"path": stack.artifact_store}),
        ]
    whole = stack.to_dict()
    elsewhere = {"name", "type", "artifact_store", "container_registry", "secrets", "image_builder", "settings"}
    default = {one.name: one.default for one in fields(Stack)}
    runner = {
        name: value
        for name, value in whole.items()
        if name not in elsewhere and value != default[name] and value not in (None, {})
    }
    parts = [
        make("orchestrator", stack.name, SAGEMAKER, {**runner, **stack.settings}),
        make("artifact_store", stack.name, "s3", {"path": stack.artifact_store}),
    ]
    if stack.container_registry is not None:
        parts.append(make("container_registry", stack.name, "aws", {"uri": stack.container_registry}))
    for kind, options in (("secrets_manager", stack.secrets), ("image_builder", stack.image_builder)):
        if options:
            rest = {name: value for name, value in options.items() if name != "flavor"}
            parts.append(make(kind, stack.name, options["flavor"], rest))
    return parts


def refuse_bad_name(kind: str, name: str) -> None:
    """Refuse what cannot be a component's name: UsageError ``component.bad_name``."""
    if not forms.is_name(name):
        raise UsageError(
            "component.bad_name",
            f"{name!r} cannot be the name of {flavors.with_article(kind)}.",
            next_step=forms.NAME_RULE,
            field=kind,
        )


def bad_options(kind: str, problems: list[Problem]) -> ValidationError:
    """Return the error that names every problem with a component's options."""
    shown = "; ".join(f"{kind}.{problem.option}: {problem.message.rstrip('.')}" for problem in problems)
    steps = " ".join(dict.fromkeys(problem.next_step for problem in problems if problem.next_step))
    return ValidationError(
        "component.bad_options",
        shown + ".",
        next_step=steps or "Correct the value and run the command again; nothing was stored.",
        field=f"{kind}.{problems[0].option}",
        details={
            "findings": [
                {"field": f"{kind}.{problem.option}", "message": problem.message, "next_step": problem.next_step}
                for problem in problems
            ]
        },
    )


def _conflict(field_: str, one: Component, other: Component) -> ClaryError:
    return UsageError(
        "stack.conflict",
        f"The {one.title} and the {other.title} say different things of {field_!r}.",
        next_step="Say it in one of the two, or alike in both.",
        field=field_,
    )


def _mixed(orchestrator: Component, store: Component) -> ClaryError:
    return UsageError(
        "stack.mixed",
        f"The {orchestrator.title} ({orchestrator.flavor}) and the {store.title} ({store.flavor}) do not go together.",
        next_step="Runs on SageMaker are kept in S3 (flavor s3), runs in this process in a folder (flavor local).",
        field="artifact_store",
    )

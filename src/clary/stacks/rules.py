"""The rules of a new stack: which fields a type takes, which it needs, and how they become components.

Nothing here touches the store or the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ClaryError, ConfigError, ConflictError, UsageError, ValidationError, nearest
from clary.stacks import components, forms
from clary.stacks.draft import FOREIGN, OPTIONS, RUNNER, Draft, sandbox_component
from clary.stacks.model import LOCAL, SAGEMAKER, SANDBOX, Stack

if TYPE_CHECKING:
    from clary.stacks.components import Component

TYPES = (LOCAL, SAGEMAKER, SANDBOX)
"""What a stack can be created as. A sandbox stack is a sagemaker stack that points at the running sandbox."""

_ELSEWHERE = ("kubernetes", "vertex", "azureml", "modal")
"""Types of stacks of the tools that people come from."""


@dataclass(frozen=True)
class Place:
    """What a running sandbox offers a stack that points at it."""

    endpoint_url: str
    bucket: str
    execution_role: str
    account: str
    region: str
    credentials: str | None = None
    image: str | None = None
    """The sandbox's own image: what flows run in that name none."""
    scheduler_role: str | None = None


_COMMON = {"instance_type", "image", "image_builder", "secrets_manager"}
_TAKES: Mapping[str, set[str]] = {
    LOCAL: {"artifact_store", "secrets_manager"},
    SAGEMAKER: set(OPTIONS),
    SANDBOX: _COMMON,
}
_NEEDS = {
    LOCAL: (),
    SAGEMAKER: ("artifact_store", "container_registry", "region", "execution_role"),
    SANDBOX: (),
}
_OPTION_OF = {"artifact_store": "path", "container_registry": "uri"}
"""The option of a component that has its whole kind as its field in a draft."""


def option(field: str) -> str:
    """Return the command-line spelling of a field."""
    return "--" + field.replace("_", "-")


def check_type(type_: str) -> None:
    """Refuse a type that does not exist: UsageError ``stack.unknown_type``, with the nearest one."""
    if type_ in TYPES:
        return
    if type_ in _ELSEWHERE:
        raise UsageError(
            "stack.unknown_type",
            f"Clary makes no {type_} stacks: it runs Python on Amazon SageMaker and on this machine.",
            next_step=f"The types are: {', '.join(TYPES)}.",
            field="type",
        )
    meant = nearest(type_, TYPES)
    raise UsageError(
        "stack.unknown_type",
        f"There is no stack type {type_!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"The types are: {', '.join(TYPES)}.",
        field="type",
    )


def check_name(name: str, type_: str) -> None:
    """Refuse a name of the wrong form (``stack.bad_name``) or one that is kept (``stack.reserved_name``)."""
    if not forms.is_name(name):
        raise UsageError(
            "stack.bad_name", f"{name!r} cannot be the name of a stack.", next_step=forms.NAME_RULE, field="name"
        )
    if name == LOCAL:
        raise ConflictError(
            "stack.reserved_name",
            "The stack 'local' is always there and cannot be made anew.",
            next_step="Choose another name, or run `clary stack use local`.",
            field="name",
        )
    if name == SANDBOX and type_ != SANDBOX:
        raise ConflictError(
            "stack.reserved_name",
            "The name 'sandbox' is kept for a stack of --type sandbox.",
            next_step=f"Choose another name for this {type_} stack.",
            field="name",
        )


def check_fields(draft: Draft) -> None:
    """Refuse fields that the type does not take, then name every one that it lacks."""
    _refuse_other_platforms(draft)
    given = draft.given()
    foreign = [name for name in given if name not in _TAKES[draft.type]]
    if foreign:
        raise _foreign(draft.type, foreign)
    if draft.type == LOCAL and draft.run_async:
        raise _only_sagemaker(["async"])
    if draft.components:
        return
    missing = [name for name in _NEEDS[draft.type] if not given.get(name)]
    if missing:
        listed = ", ".join(option(name) for name in missing)
        raise UsageError(
            "stack.missing_fields",
            f"A {draft.type} stack also needs: {listed}.",
            next_step="Give them all: " + " ".join(f"{option(name)} {_example(name)}" for name in missing),
            field=missing[0],
            details={"missing": missing},
        )


def build(draft: Draft, *, folder: Path, place: Place | None = None) -> list[Component]:
    """Return the components of the stack that a draft asks for, named as it.

    ``folder`` is where a local stack keeps its runs if the draft names none; ``place`` is the running sandbox, needed
    for ``--type sandbox``. Raises UsageError, ConflictError or ValidationError: every problem of a kind at once.
    """
    check_type(draft.type)
    check_name(draft.name, draft.type)
    check_fields(draft)
    if draft.components:
        return [_described(kind, part, folder) for kind, part in draft.components.items()]
    wanted = _wanted(draft, folder, place)
    found: list[Component] = []
    problems: list[dict[str, str]] = []
    for kind, (flavor, options) in wanted.items():
        try:
            found.append(components.make(kind, draft.name, flavor, options))
        except ValidationError as error:
            problems += error.details["findings"]
    if problems:
        raise _malformed(problems)
    return found


def _described(kind: str, part: Mapping[str, Any], folder: Path) -> Component:
    """Return a component as a file describes it; a local store without a path, as ZenML's, keeps its runs here."""
    in_folder = kind == "artifact_store" and part["flavor"] == LOCAL
    options = {**({"path": str(folder)} if in_folder else {}), **part["options"]}
    return components.make(kind, part["name"], part["flavor"], options)


def judge(stack: Stack) -> list[str]:
    """Return what is allowed and yet looks wrong of a whole stack.

    Raises ConfigError ``aws.other_partition`` for a role that the region cannot reach, ``aws.unknown_region`` for a
    region that no partition has.
    """
    if stack.region is None:
        return []
    from clary.sagemaker import partitions

    roles = ("execution_role", "scheduler_role", "assume_role")
    partitions.check_partition(stack.region, {name: getattr(stack, name) for name in roles})
    found = forms.parse_registry(stack.container_registry or "")
    doubts = [partitions.doubt_about(stack.region)]
    if stack.use_fips_endpoint:
        doubts.append(partitions.doubt_about_fips(stack.region))
    if found and found.region != stack.region:
        doubts.append(
            f"The container registry is in {found.region}, the stack in {stack.region}: "
            "SageMaker pulls images from its own region only."
        )
    return [doubt for doubt in doubts if doubt]


def no_sandbox() -> ClaryError:
    """Return the error for a sandbox stack without a running sandbox."""
    return ConfigError(
        "stack.sandbox_not_running",
        "A sandbox stack points at a running sandbox, and none is running.",
        next_step="Run `clary sandbox start --detach`, then create the stack.",
    )


def _wanted(draft: Draft, folder: Path, place: Place | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return flavor and options of each component. A flag and ``extra`` may say the same, but not differ."""
    if draft.type == LOCAL:
        wanted: dict[str, tuple[str, dict[str, Any]]] = {
            "orchestrator": (LOCAL, {}),
            "artifact_store": (LOCAL, {"path": draft.artifact_store or str(folder)}),
        }
    elif draft.type == SANDBOX:
        if place is None:
            raise no_sandbox()
        wanted = _on(place, draft)
    else:
        given = draft.given()
        wanted = {
            "orchestrator": (SAGEMAKER, {name: given[name] for name in RUNNER if name in given}),
            "artifact_store": ("s3", {"path": draft.artifact_store}),
            "container_registry": ("aws", {"uri": draft.container_registry}),
        }
    for kind in ("image_builder", "secrets_manager"):
        if flavor := getattr(draft, kind):
            wanted[kind] = (flavor, {})
    if draft.run_async and "synchronous" not in draft.extra.get("orchestrator", {}):
        wanted["orchestrator"][1]["synchronous"] = False
    for kind, options in draft.extra.items():
        if kind not in wanted:
            raise _no_such_part(draft.type, kind)
        _lay_over(kind, wanted[kind][1], options)
    return wanted


def _lay_over(kind: str, options: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for name, value in extra.items():
        if name in options and options[name] != value:
            both = "" if name == "credentials" else f": {options[name]!r} by its own option, {value!r} by extra"
            raise UsageError(
                "stack.given_twice",
                f"{kind}.{name} is given twice{both}.",
                next_step="Give it once.",
                field=f"{kind}.{name}",
            )
        options[name] = value


def _on(place: Place, draft: Draft) -> dict[str, tuple[str, dict[str, Any]]]:
    runner = {
        "region": place.region,
        "execution_role": place.execution_role,
        "scheduler_role": place.scheduler_role,
        "image": draft.image or place.image,
        "endpoint_url": place.endpoint_url,
        "credentials": place.credentials,
        "instance_type": draft.instance_type,
    }
    return {
        "orchestrator": (SAGEMAKER, {name: value for name, value in runner.items() if value is not None}),
        "artifact_store": ("s3", {"path": f"s3://{place.bucket}/clary"}),
        "container_registry": ("aws", {"uri": f"{place.account}.dkr.ecr.{place.region}.amazonaws.com/clary"}),
    }


def _refuse_other_platforms(draft: Draft) -> None:
    if "sandbox" in draft.foreign:
        raise sandbox_component("sandbox")
    for name in draft.foreign:
        type_ = FOREIGN[name]
        raise UsageError(
            "stack.foreign_field",
            f"{type_.capitalize()}-only options require --type {type_}: {option(name)}.",
            next_step="Leave it out: Clary runs on SageMaker and on this machine only.",
            field=name,
            details={"fields": list(draft.foreign), "type": type_},
        )


def _foreign(type_: str, foreign: list[str]) -> ClaryError:
    if type_ != SANDBOX:
        return _only_sagemaker(foreign)
    return _only_sagemaker(
        foreign,
        "Leave it out: a sandbox stack takes this from the running sandbox. For AWS itself use --type sagemaker.",
    )


def _only_sagemaker(fields: list[str], step: str = f"Add --type {SAGEMAKER}, or leave it out.") -> ClaryError:
    return UsageError(
        "stack.foreign_field",
        f"SageMaker-only options require --type {SAGEMAKER}: {', '.join(option(name) for name in fields)}.",
        next_step=step,
        field=fields[0],
        details={"fields": fields, "type": SAGEMAKER},
    )


def _no_such_part(type_: str, kind: str) -> ClaryError:
    if kind in ("image_builder", "secrets_manager") and kind in _TAKES[type_]:
        step = f"Name its flavor as well: {option(kind)} FLAVOR."
    else:
        step = "Leave it out."
    return UsageError(
        "stack.foreign_field", f"This {type_} stack has no {kind} to set.", next_step=step, field=f"extra.{kind}"
    )


def _malformed(problems: list[dict[str, str]]) -> ClaryError:
    shown = [{**problem, "field": _field_of(problem["field"])} for problem in problems]
    lines = [
        f"{option(one['field']) if '.' not in one['field'] else one['field']}: {one['message'].rstrip('.')}"
        for one in shown
    ]
    steps = " ".join(dict.fromkeys(problem["next_step"] for problem in problems if problem["next_step"]))
    return ValidationError(
        "stack.bad_value",
        "; ".join(lines) + ".",
        next_step=steps or "Correct the value and run the command again; nothing was stored.",
        field=shown[0]["field"],
        details={"findings": shown},
    )


def _field_of(path: str) -> str:
    """Return the field of the draft that a component's option came from: ``container_registry.uri`` is its own."""
    kind, _, name = path.partition(".")
    if _OPTION_OF.get(kind) == name:
        return kind
    return name if kind == "orchestrator" and name in OPTIONS else path


def _example(name: str) -> str:
    return {
        "artifact_store": "s3://BUCKET/PREFIX",
        "container_registry": "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY",
        "region": "REGION",
        "execution_role": "arn:aws:iam::ACCOUNT:role/ROLE",
    }[name]

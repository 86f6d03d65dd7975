"""A stack as somebody asked for it: on the command line, in a file, or both. Pure; rules are in ``rules``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from clary.errors import ClaryError, UsageError, nearest
from clary.sagemaker.settings_layers import merge
from clary.stacks import plain_yaml, zenml_export
from clary.stacks.flavors import KINDS
from clary.stacks.model import LOCAL

FOREIGN = {
    "cluster": "kubernetes",
    "namespace": "kubernetes",
    "subscription_id": "azureml",
    "resource_group": "azureml",
    "workspace": "azureml",
}
"""Documented options of stacks on other platforms, by the type of stack they belong to."""

_ASYNC = "async"
_NOTES = "notes"
"""The key under which ``read_file`` returns what it has left out."""
_OF_A_COMPONENT = frozenset({"name", "flavor", "options", "configuration", "type", "id"})
"""Keys of a component in a file; ``configuration``, ``type`` and ``id`` are ZenML's, whose options may also stand
beside them."""
_TRUE_OR_FALSE = frozenset({"activate", "verify", _ASYNC})


@dataclass(frozen=True)
class Draft:
    """What was asked for; None is what nobody said."""

    name: str
    type: str = LOCAL
    artifact_store: str | None = None
    container_registry: str | None = None
    region: str | None = None
    execution_role: str | None = None
    instance_type: str | None = None
    image: str | None = None
    endpoint_url: str | None = None
    credentials: str | None = None
    image_builder: str | None = None
    """The flavor of the image builder; None: the stack has none of its own."""
    secrets_manager: str | None = None
    """The flavor of the secrets manager."""
    run_async: bool = False
    """``--async``: a shorthand for ``orchestrator.synchronous=false``."""
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of component to further options."""
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of an exported stack: kind of component to its ``name``, ``flavor`` and ``options``."""
    foreign: Mapping[str, Any] = field(default_factory=dict)
    """What was given of ``FOREIGN``, and ``sandbox``: only to be refused by its right name."""
    notes: tuple[str, ...] = ()
    """What a file of another tool says and the stack does not have, in words."""

    def given(self) -> dict[str, Any]:
        """Return the plain options that were given, by field."""
        return {name: value for name in OPTIONS if (value := getattr(self, name)) is not None}


OPTIONS = tuple(
    one.name
    for one in fields(Draft)
    if one.name not in {"name", "type", "run_async", "extra", "components", "foreign", "notes"}
)
"""The fields that are options of their own."""


@dataclass(frozen=True)
class Wish:
    """A draft, and what to do with it."""

    draft: Draft
    activate: bool = True
    verify: bool = True


def parse_extra(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``TARGET.FIELD=VALUE`` assignments: values as YAML, dotted paths nest, a later assignment wins.

    Raises UsageError ``stack.bad_extra`` for another form or an unknown target.
    """
    found: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        target, *names = path.strip().split(".")
        if not equals or not names or not all([target, *names]):
            raise UsageError(
                "stack.bad_extra",
                f"--extra {assignment!r} is not of the form TARGET.FIELD=VALUE.",
                next_step="Write for example --extra orchestrator.instance_type=ml.m5.xlarge.",
                field="extra",
            )
        # Below the option's own name a hyphen is what it is: that of a tag, or of a service.
        target, option = _target(target.replace("-", "_")), names[0].replace("-", "_")
        found = merge(found, nested([target, option, *names[1:]], parse_value(value, assignment)))
    return found


def parse_value(value: str, shown: str, field_: str = "extra") -> Any:
    """Read an option's value as YAML; raises UsageError ``stack.bad_value`` with ``shown`` for what is none."""
    try:
        return plain_yaml.load(value)
    except ValueError as error:
        raise UsageError(
            "stack.bad_value",
            f"The value of {shown!r} is no YAML: {error}.",
            next_step="Quote it, for example 'name=\"a: b\"'.",
            field=field_,
        ) from None


def nested(path: Iterable[str], value: Any) -> Any:
    """Return the value inside a mapping for each name of the path."""
    for name in reversed(list(path)):
        value = {name: value}
    return value


def read_file(path: Path) -> dict[str, Any]:
    """Return the keys of a stack file under their own names; ``notes`` says what of another tool's export is left out.

    Hyphen spellings work; both spellings at once, an unknown key (with the nearest right one) and a value of the wrong
    type are UsageErrors ``stack.bad_file``, as is what cannot be read.
    """
    try:
        document = plain_yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _bad_file(path, f"cannot be read: {reason}", "Name a YAML file with the keys of a stack.") from None
    if not isinstance(document, dict):
        raise _bad_file(path, "holds no keys", "Write one key a line, for example: type: sagemaker")
    known = file_keys()
    found: dict[str, Any] = {}
    if zenml_export.MARK in document:
        document, found[_NOTES] = zenml_export.translated(document)
    for spelling, value in document.items():
        key = str(spelling).replace("-", "_")
        if key not in known:
            meant = nearest(key, known)
            step = f"Did you mean {meant!r}?" if meant else f"The keys are: {', '.join(known)}."
            raise _bad_file(path, f"has the key {spelling!r}, which nothing reads", step, key)
        if key in found:
            raise _bad_file(path, f"has the key {key!r} in both spellings", "Keep one of the two.", key)
        found[key] = _typed(path, key, value)
    return found


def file_keys() -> tuple[str, ...]:
    """Return every key that a stack file may have."""
    rest = ("name", "type", "activate", "verify", _ASYNC, "extra", "components", "sandbox", *FOREIGN)
    return (*rest[:2], *OPTIONS, *rest[2:])


RUNNER = ("region", "execution_role", "instance_type", "image", "endpoint_url", "credentials")
"""Options of a stack that are the orchestrator's, under the same names."""
_ALSO_EXTRA = (
    *((name, "orchestrator", name) for name in RUNNER),
    ("artifact_store", "artifact_store", "path"),
    ("container_registry", "container_registry", "uri"),
)
"""Options that ``extra`` can say too: their name, and the component and option there."""


def wish(name: str | None, options: Mapping[str, Any], file: Mapping[str, Any] | None = None) -> Wish:
    """Return what the command line and a file ask for together.

    ``options`` and ``file`` have the keys of a stack file; a value of None in ``options`` says nothing. The command
    line wins over the file, whichever way either says a thing; ``extra`` of the command line is merged over the file's.
    Raises UsageError ``stack.no_name`` when nobody names the stack.
    """
    said = {key: value for key, value in options.items() if value is not None}
    merged = {**(file or {}), **said}
    said_extra = said.get("extra") or {}
    kept = dict((file or {}).get("extra") or {})
    for field_, kind, key in _ALSO_EXTRA:
        if field_ in said:
            kept[kind] = {other: value for other, value in kept.get(kind, {}).items() if other != key}
        elif field_ in merged and key in said_extra.get(kind, {}):
            merged[field_] = said_extra[kind][key]
    extra = merge({kind: given for kind, given in kept.items() if given}, said_extra)
    named = name or merged.get("name")
    if not named:
        raise UsageError(
            "stack.no_name",
            "The stack has no name.",
            next_step="Give it after `stack create`, or as the key `name` of the file.",
            field="name",
        )
    foreign = {key: merged[key] for key in ("sandbox", *FOREIGN) if merged.get(key) is not None}
    options_given: dict[str, Any] = {option: merged.get(option) for option in OPTIONS}
    draft = Draft(
        name=named,
        type=merged.get("type") or _type_of(merged.get("components") or {}),
        run_async=bool(merged.get(_ASYNC, False)),
        extra=extra,
        components=merged.get("components") or {},
        foreign=foreign,
        notes=tuple(merged.get(_NOTES, ())),
        **options_given,
    )
    return Wish(draft, merged.get("activate", True), merged.get("verify", True))


def _type_of(components: Mapping[str, Any]) -> str:
    runner = components.get("orchestrator")
    return str(runner["flavor"]) if runner else LOCAL


def _typed(path: Path, key: str, value: Any) -> Any:
    if value is None:
        return None
    if key in _TRUE_OR_FALSE:
        if isinstance(value, bool):
            return value
        raise _bad_file(path, f"needs true or false for {key!r}, not {value!r}", f"Write {key}: true", key)
    if key == "extra":
        if isinstance(value, dict) and all(isinstance(options, dict) for options in value.values()):
            return {_target(str(kind).replace("-", "_")): _plain_names(options) for kind, options in value.items()}
        raise _bad_file(path, "needs options by component for 'extra'", "Write extra: {orchestrator: {…}}", key)
    if key == "components":
        return _components(path, value)
    if key == "instance_type" and isinstance(value, list):
        return value
    if isinstance(value, (dict, list, bool)):
        raise _bad_file(path, f"needs text for {key!r}", f"Write {key}: …", key)
    return str(value)


def _components(path: Path, value: Any) -> dict[str, dict[str, Any]]:
    form = "Write components: {orchestrator: {name: NAME, flavor: FLAVOR, options: {…}}, …}"
    if not isinstance(value, dict):
        raise _bad_file(path, "needs components by their kind for 'components'", form, "components")
    found: dict[str, dict[str, Any]] = {}
    for kind, part in value.items():
        options = part.get("options") or part.get("configuration") or {} if isinstance(part, dict) else None
        if not isinstance(options, dict) or not {"name", "flavor"} <= set(part):
            raise _bad_file(path, f"needs name, flavor and options for the component {kind!r}", form, "components")
        beside = {str(name): one for name, one in part.items() if name not in _OF_A_COMPONENT}
        name = _target(str(kind).replace("-", "_"))
        said = {option: one for option, one in {**beside, **options}.items() if one is not None}
        found[name] = {"name": str(part["name"]), "flavor": str(part["flavor"]), "options": said}
    return found


def _plain_names(options: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).replace("-", "_"): value for name, value in options.items()}


def _target(name: str) -> str:
    if name in KINDS:
        return name
    if name == "sandbox":
        raise sandbox_component("extra")
    meant = nearest(name, KINDS)
    raise UsageError(
        "stack.bad_extra",
        f"A stack has no component {name!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"Components are: {', '.join(KINDS)}.",
        field="extra",
    )


def sandbox_component(field_: str) -> ClaryError:
    """Return the refusal of Kitaru's sandbox component."""
    return UsageError(
        "stack.no_sandbox_component",
        "A stack of Clary has no sandbox component: Kitaru's ran an agent's shell commands apart from the flow.",
        next_step="Leave it out; run such commands in a checkpoint. Clary's sandbox is the local SageMaker, a stack of "
        "--type sandbox.",
        field=field_,
    )


def _bad_file(path: Path, what: str, step: str, key: str | None = None) -> UsageError:
    return UsageError("stack.bad_file", f"{path} {what}.", next_step=step, field=key)

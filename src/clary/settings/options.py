"""The options of a run that any source may set, and the form of their values. Job settings are checked elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from clary.engine.retry import Retries, retries_from
from clary.errors import ConfigError, UsageError, nearest
from clary.image import Image

OPTIONS: Mapping[str, str] = {
    "stack": "Where runs go.",
    "image": "The image of jobs: a reference, or what one is made of.",
    "cache": "Whether checkpoints that say nothing of it take results of other runs.",
    "retries": "How often a flow's body that raises runs again.",
    "on_change": "What a resume does about a recorded call whose code changed.",
}
"""Every option beside the job settings, with its meaning."""
DEFAULTS: Mapping[str, Any] = {"image": None, "cache": False, "retries": {"count": 0}, "on_change": "error"}
_JSON = {
    "settings": '{"instance_type": "ml.m5.large"}',
    "retries": '3, or {"count": 3, "delay": 10}',
    "image": '{"requirements": ["polars"]}',
}
"""By what variables and options hold as JSON: an example."""
ON_CHANGE = ("error", "rerun", "accept")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def checked(name: str, value: Any, source: str) -> Any:
    """Return an option's value in its one form (``retries`` is a mapping of its fields).

    ``source`` is where the value stands. Raises ConfigError ``config.wrong_type``.
    """
    if name == "cache":
        return _flag(value, source)
    if name == "retries":
        return _retries(value, source)
    if name == "image" and isinstance(value, (Image, Mapping)):
        return _image(value, source)
    if not isinstance(value, str) or not value:
        raise _wrong(name, value, source, "must be text", f'Write {name} = "…".')
    if name == "on_change" and value not in ON_CHANGE:
        meant = nearest(value, ON_CHANGE)
        step = f"Did you mean {meant!r}?" if meant else f"Give one of: {', '.join(ON_CHANGE)}."
        raise _wrong(name, value, source, "is none of its values", step)
    return value


def settings_table(value: Any, source: str) -> dict[str, Any]:
    """Return a table of job settings, itself not checked; raises ConfigError ``config.wrong_type``."""
    if isinstance(value, Mapping):
        return {str(name): one for name, one in value.items()}
    raise _wrong("settings", value, source, "must be a table", 'Write for example instance_type = "ml.m5.large" in it.')


def from_text(name: str, text: str, source: str) -> Any:
    """Return the value of an option, or of ``settings``, that a variable's text stands for.

    Raises ConfigError ``config.wrong_type``.
    """
    if name == "settings":
        return settings_table(_json(name, text, source), source)
    if name == "retries" or (name == "image" and text.lstrip().startswith("{")):
        return checked(name, _json(name, text, source), source)
    return checked(name, text, source)


def laid_over(name: str, before: Any, value: Any) -> Any:
    """Return what holds of an option where a stronger source says ``value`` and the weaker ones ``before``.

    The fields of ``retries`` and ``image`` are merged, variables of an image name by name. What an image is made of is
    laid over a whole image as over its base; a Dockerfile says all by itself.
    """
    if not isinstance(value, Mapping) or "dockerfile" in value:
        return value
    if name == "image" and isinstance(before, str):
        before = {"base": before}
    return _merged(before, value) if isinstance(before, Mapping) else value


def _merged(before: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: before[name] for name in value if isinstance(before.get(name), Mapping)}
    return {**before, **value, **{name: {**one, **value[name]} for name, one in both.items()}}


def _image(value: Image | Mapping[str, Any], source: str) -> dict[str, Any]:
    from clary.images import spec

    given = spec.checked(value, source=source) if isinstance(value, Image) else spec.parsed(value, source=source)
    return given.to_dict()


def _json(name: str, text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _wrong(name, text, source, f"is no JSON ({error})", f"Write for example {_JSON[name]}.") from None


def _flag(value: Any, source: str) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise _wrong("cache", value, source, "must be true or false", "Write true or false.")


def _retries(value: Any, source: str) -> dict[str, Any]:
    if isinstance(value, Mapping) and "on" in value:
        raise _wrong(
            "retries",
            value,
            source,
            "cannot name exceptions",
            "Which exceptions are tried again, @flow(retries=…) says.",
        )
    given = dict(value) if isinstance(value, Mapping) else value
    if not isinstance(given, (int, dict, Retries)) or isinstance(given, bool):
        step = f"Write for example {_JSON['retries']}."
        raise _wrong("retries", value, source, "must be a number, or a table of its fields", step)
    try:
        policy = retries_from(given)
    except UsageError as error:
        raise ConfigError(
            "config.wrong_type",
            f"The retries of {source} do not fit: {error.summary}",
            next_step=error.next_step,
            field="retries",
        ) from None
    if isinstance(given, dict):
        return {one.name: getattr(policy, one.name) for one in fields(Retries) if one.name in given}
    return {"count": policy.count}


def _wrong(name: str, value: Any, source: str, problem: str, step: str) -> ConfigError:
    return ConfigError(
        "config.wrong_type",
        f"The {name} of {source} {problem}: {value!r}.",
        next_step=step,
        field=name,
    )

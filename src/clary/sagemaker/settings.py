"""Settings of a job: checked, and made one out of layers. The one front door of ``settings_*`` and ``aliases``.

``validate`` judges one layer by itself, as when a stack is made; ``resolve`` makes the settings of a run. Both say
every problem at once, each with its path. Importing this is cheap; checking loads pydantic and the service model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.errors import ValidationError
from clary.sagemaker import aliases, settings_layers
from clary.sagemaker.findings import Finding, Kind, Severity, errors_of
from clary.sagemaker.settings_judged import Use
from clary.sagemaker.settings_layers import DEFAULT
from clary.sagemaker.settings_model import NAMES, JobSettings

_LAST = re.compile(r"(\.[^.\[\]]+|\[[^\]]*\])$")

__all__ = ["DEFAULT", "JobSettings", "Resolved", "Use", "resolve", "validate"]


@dataclass(frozen=True)
class Resolved:
    """The settings that hold, and where each comes from."""

    settings: JobSettings
    origins: Mapping[str, str]
    """Path (``instance_type``, ``tags.team``) to the name of its layer, or ``DEFAULT``."""
    warnings: tuple[Finding, ...] = ()
    """What is allowed, and likely not meant."""

    def is_default(self, name: str) -> bool:
        """Tell whether no layer has set the setting."""
        return self.origins.get(name) == DEFAULT


def validate(
    values: Mapping[str, Any], *, at: str = "settings", use: Use = Use.ANY, whole: bool = False
) -> list[Finding]:
    """Return every finding about one layer of settings, errors and warnings; empty when all is well.

    Args:
        values: the layer; other tools' names are understood.
        at: where it stands, the beginning of the findings' paths.
        use: what will run with it.
        whole: whether nothing else will be set; else what another layer can still supply is only a warning.
    """
    given, named = aliases.canonical(values, at)
    return _ordered([*named, *_judged(given, use=use, whole=whole, at=at)[1]])


def resolve(
    layers: Sequence[tuple[str, Mapping[str, Any]]], *, at: str = "settings", use: Use = Use.ANY, whole: bool = True
) -> Resolved:
    """Return the settings of named layers, the weakest first; each value knows its layer.

    Args:
        layers: (name, values); other tools' names are understood.
        at: the beginning of the findings' paths.
        use: what will run with them.
        whole: whether these are all layers; to show a stack by itself, for instance, they are not.

    Raises ValidationError ``settings.invalid`` with everything that is wrong: ``field`` is the first path,
    ``details["findings"]`` has every error.
    """
    given, findings = [], []
    for layer, values in layers:
        ours, named = aliases.canonical(values, at)
        given.append((layer, ours))
        findings += named
    origins = settings_layers.origins(given, NAMES)
    merged = settings_layers.merge_all([values for _, values in given])
    settings, judged = _judged(merged, use=use, whole=whole, at=at)
    errors = errors_of([*findings, *judged])
    if errors:
        raise refusal(_ordered(errors), {f"{at}.{path}" if at else path: layer for path, layer in origins.items()})
    return Resolved(settings, origins, tuple(_ordered(one for one in judged if one.severity is Severity.WARNING)))


def refusal(errors: Sequence[Finding], layers: Mapping[str, str] | None = None) -> ValidationError:
    """Return the one error that says all of ``errors``; ``layers`` tells which layer a path's value is from."""
    lines = [f"{one.message}{_by(one.path, layers or {})}" for one in errors]
    if len(errors) == 1:
        summary, next_step = lines[0], errors[0].next_step
    else:
        listed = "".join(f"\n  - {line} {one.next_step}" for line, one in zip(lines, errors, strict=True))
        summary = f"{len(errors)} job settings do not fit:{listed}"
        next_step = f"Correct the {len(errors)} settings; nothing was sent."
    return ValidationError(
        "settings.invalid",
        summary,
        next_step=next_step,
        field=errors[0].path,
        details={"findings": [one.to_dict() for one in errors]},
    )


def _by(path: str, layers: Mapping[str, str]) -> str:
    """Return by whom the value at a path, or what holds it, was set."""
    while path not in layers and (shorter := _LAST.sub("", path)) != path:
        path = shorter
    layer = layers.get(path, DEFAULT)
    return "" if layer == DEFAULT else f" (Set by {layer}.)"


def _judged(values: Mapping[str, Any], *, use: Use, whole: bool, at: str) -> tuple[JobSettings, list[Finding]]:
    """Return the settings, less those of a wrong type, and what is wrong or doubtful with them."""
    from clary.sagemaker.settings_checks import parsed
    from clary.sagemaker.settings_rules import rule_findings

    overrides = values.get("request")
    plain = settings_layers.without_none({name: value for name, value in values.items() if name != "request"})
    if overrides is not None:
        plain["request"] = overrides  # None has its meaning there: it takes a member out of the request
    settings, findings = parsed(plain)
    if findings:
        whole = False  # what was left out for its type is not missing
    findings += rule_findings(settings, plain, use=use, whole=whole)
    found = [one for one in _of_request(settings, use, whole=whole) if not _said(one, findings)]
    return settings, [placed(one, at) for one in [*findings, *found]]


def _said(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Tell whether the settings' own rules have said it already; their doubts do not hide a limit of the model."""
    rule = finding.kind in (Kind.RULE, Kind.REQUIRED)
    return any(one.path == finding.path and (rule or one.severity is Severity.ERROR) for one in findings)


def _of_request(settings: JobSettings, use: Use, *, whole: bool) -> list[Finding]:
    """Return what the limits of the request say of the settings that would make it."""
    from clary.sagemaker.settings_requests import probe_findings

    found = probe_findings(settings, flow=use is not Use.CONTAINER)
    return found if whole else [one for one in found if one.kind is not Kind.REQUIRED]


def placed(finding: Finding, at: str) -> Finding:
    """Return the finding with ``at`` before its path, in its message too."""
    if not at:
        return finding
    path = f"{at}.{finding.path}"
    return replace(finding, path=path, message=_first(finding.message, finding.path, path))


def _first(text: str, word: str, other: str) -> str:
    """Return the text with the first ``word``, where it is one by itself, as ``other``."""
    return re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", lambda _: other, text, count=1)


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: one.severity is Severity.WARNING)

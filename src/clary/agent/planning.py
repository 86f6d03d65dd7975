"""From a flow and a stack to one whole, checked request. Nothing here calls AWS: what is wrong is said before."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary import config
from clary.agent import configuration, configured, isolated, secrets
from clary.agent.images import Images
from clary.agent.specs import VERSION, named
from clary.agent.targets import check_name
from clary.code import snapshot
from clary.errors import ConfigError, UsageError
from clary.runtime import tree
from clary.runtime.pointer import ATTEMPT_VARIABLE, RUN_VARIABLE, Pointer, renumbered
from clary.settings import hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clary.agent.place import Place
    from clary.agent.targets import FlowTarget
    from clary.agent.views import Observer
    from clary.code.snapshot import Snapshot
    from clary.journal.records import Record
    from clary.runtime.tree import RuntimeTree
    from clary.sagemaker.findings import Finding
    from clary.sagemaker.settings import JobSettings, Resolved
    from clary.settings.effective import Effective

START = ("python3", "/opt/ml/input/data/runtime/start.py")
"""The job's entry point, in the runtime's channel."""
_PYTHON_IMAGE = re.compile(r"/python:(\d+\.\d+)")


@dataclass(frozen=True)
class Plan:
    """One attempt, planned: what it runs, and the request that asks for its job."""

    spec: Record
    name: Record
    """How the log names the spec."""
    job: str
    request: Record
    code: Snapshot
    runtime: RuntimeTree
    images: Images
    """Of the run's jobs, to be made with the uploads."""
    warnings: tuple[str, ...]
    referring: Mapping[str, str]
    """Variables that the job fills in with secrets, as the spec has them."""


def plan(place: Place, target: FlowTarget, run: str, attempt: int, observer: Observer | None) -> Plan:
    """Plan an attempt; ``observer`` is told where the image takes long.

    Raises UsageError (``submit.no_project``, those of ``clary.code``), ConfigError (``submit.no_image``,
    ``sagemaker.no_role``, ``runtime.client_unavailable``), ValidationError (``settings.invalid``, ``code.too_large``,
    ``sagemaker.invalid_request`` with every finding), and what ``secrets.taken_out`` and ``Images.choose`` raise.
    """
    from clary.sagemaker import requests, settings, settings_requests

    effective = configuration.of(target, place.stack)
    said = _said_image(place, effective)
    images = Images(place, _project_root(target), said, observer)
    layers = [*images.settings(), *effective.settings_layers]
    resolved = settings.resolve(layers, use=settings.Use.FLOW)
    wanted = resolved.settings
    wanted, referring, secrets_at = secrets.taken_out(place, wanted)
    code = snapshot.take(_project_root(target), config.home() / "code")
    image = images.choose(wanted.instance_type)
    python = _PYTHON_IMAGE.search(image.reference) if image.prepared is None else None
    built_for = replace(image.target, python=python[1]) if python else image.target
    runtime = tree.build(built_for, config.home())
    spec = _spec(place, target, code, runtime, built_for.python, wanted) | effective.frozen(resolved.origins)
    if place.stack.scheduler_role:
        spec["waking"] = waking_of(place)
    if referring:
        spec["environment"] |= referring
        spec["secrets"] = secrets_at
    job = requests.job_name(target.flow.name, run, attempt)
    running = requests.JobCode(
        image=image.reference,
        output_s3_uri=f"{place.root}/runs/{run}/output",
        entrypoint=START,
        channels=(
            ("runtime", f"{place.root}/{runtime.prefix}/"),
            ("code", f"{place.root}/{code.key}"),
            *image.channels,
        ),
        environment=pointer(place, run, attempt),
    )
    request = requests.training_request(job, wanted, running)
    apart = isolated.planned(place, target, layers, running, wanted.max_runtime_in_seconds, images)
    spec |= isolated.inheriting(apart.spec, request["Environment"])
    doubts = _notes(resolved, settings_requests.check(request, wanted, running))
    literal = secrets.literal_notes(request["Environment"])
    notes = (*image.notes, *doubts, *apart.warnings, *literal)
    referring = {**referring, **apart.referring}
    return Plan(spec, named(spec), job, request, code, runtime, images, notes, referring)


def _notes(resolved: Resolved, doubts: Iterable[Finding]) -> tuple[str, ...]:
    """Return what to say aloud at submit: each doubt once, and the time limit where nobody has chosen it."""
    found = {finding.path.removeprefix("settings."): finding for finding in (*doubts, *resolved.warnings)}
    notes = [f"{finding.message} {finding.next_step}" for finding in found.values()]
    if resolved.is_default("max_runtime_in_seconds"):
        hours = resolved.settings.max_runtime_in_seconds // 3600
        notes.append(f"Time limit {hours} hour{'' if hours == 1 else 's'} (max_runtime_in_seconds sets it).")
    return tuple(notes)


def again(previous: Record, flow: str, run: str, attempt: int) -> tuple[str, Record]:
    """Return the name and the request of a further attempt that runs just what an earlier one ran."""
    from clary.sagemaker import requests

    job = requests.job_name(flow, run, attempt)
    return job, renumbered(previous, job, attempt)


def waking_of(place: Place) -> Record:
    """Return what the spec says of how a suspended run is woken: by whose rights, in which group, asked for where."""
    from clary.sagemaker.statements import SCHEDULE_GROUP

    return {
        "role": place.stack.scheduler_role,
        "group": SCHEDULE_GROUP,
        "region": place.aws.region,
        "endpoint": place.aws.named_endpoint("scheduler") or place.aws.resolved_endpoint("scheduler"),
    }


def pointer(place: Place, run: str, attempt: int) -> dict[str, str]:
    """Return the variables by which a job finds its run, and by which a job is known to be ours."""
    where = Pointer(place.root, run, place.aws.region, place.s3_endpoint)
    return {RUN_VARIABLE: str(where), ATTEMPT_VARIABLE: str(attempt)}


def pointer_of(request: Record) -> dict[str, str]:
    """Return the pointer that a stored request carries."""
    return {name: request["Environment"][name] for name in (RUN_VARIABLE, ATTEMPT_VARIABLE)}


def _spec(
    place: Place, target: FlowTarget, code: Snapshot, runtime: RuntimeTree, python: str, wanted: JobSettings
) -> Record:
    settings = wanted.to_dict()
    environment = settings.pop("environment")
    return {
        "v": VERSION,
        "flow": target.spec,
        "code": code.digest,
        "runtime": runtime.digest,
        "python": python,
        "store": {"root": place.root, "region": place.aws.region, "endpoint": place.s3_endpoint},
        "settings": configured.safe("settings", settings),
        "environment": hidden.left_out(environment),
    }


def _project_root(target: FlowTarget) -> Path:
    if "file" in target.spec:
        check_name(target.spec["file"])
    if target.project is None:
        raise UsageError(
            "submit.no_project",
            f"The flow {target.flow.name} is in no file, so there is no code to send.",
            next_step="Put it in a .py file; on the stack 'local' it runs as it is.",
        )
    return target.project.root


def _said_image(place: Place, effective: Effective) -> str | Mapping[str, Any]:
    """Return what is said of the image; where nobody says anything, it is made of what the project requires."""
    said: str | Mapping[str, Any] | None = effective.option("image").value
    if said is not None:
        return said
    if place.stack.container_registry is None:
        raise _no_image(place)
    return {}


def _no_image(place: Place) -> ConfigError:
    return ConfigError(
        "submit.no_image",
        f"Neither the flow nor the stack {place.stack.name!r} names an image, nor has the stack a registry for one.",
        next_step="Name one with Python 3.11 or newer: @flow(image=…), or a registry: --container-registry URI.",
        field="image",
    )

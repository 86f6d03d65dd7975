"""What a submit makes of isolated checkpoints: a checked request for the jobs of each, frozen into the spec.

The requests lack what differs from call to call (name, pointer, the run's own output); the flow's job puts that in. So
all that can be wrong with ``resources=`` is said before anything is sent, and nothing of the checks runs in the job.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from clary.agent import secrets
from clary.errors import UsageError
from clary.flows import Flow
from clary.flows.checkpoint import Checkpoint
from clary.runtime.dependencies import CHANNEL
from clary.runtime.isolated.tasks import CALL_VARIABLE
from clary.settings import hidden
from clary.settings.options import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clary.agent.images import Images
    from clary.agent.place import Place
    from clary.agent.targets import FlowTarget
    from clary.journal.records import Record
    from clary.sagemaker.requests import JobCode

_OF_ONE_HOST: Mapping[str, Any] = {"instance_count": 1, "checkpoint_s3_uri": None, "checkpoint_local_path": None}
"""What a call's job does not take from the flow's: its number of hosts, and a folder that one job alone may keep."""


@dataclass(frozen=True)
class Isolated:
    """The isolated checkpoints of a flow, planned."""

    spec: Record
    """What the spec says of them: ``checkpoints``, ``sagemaker`` and, where they refer to any, ``secrets``."""
    warnings: tuple[str, ...] = ()
    referring: Mapping[str, str] = field(default_factory=dict)
    """Their variables that refer to secrets."""


def planned(
    place: Place,
    target: FlowTarget,
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    flows: JobCode,
    limit: int,
    images: Images,
) -> Isolated:
    """Plan the jobs of the isolated checkpoints that the flow's module reaches.

    Args:
        place: the stack.
        target: the flow.
        layers: the settings of the flow's job, the weakest first.
        flows: what the flow's job runs.
        limit: seconds that the flow's job may run, within which the calls' jobs have to end.
        images: of the submission.

    Raises ValidationError ``settings.invalid`` (paths ``checkpoints.NAME.resources.X``), UsageError
    ``checkpoint.name_taken``, and what ``secrets.taken_out`` raises.
    """
    found = _by_name(target)
    if not found:
        return Isolated({})
    spec: Record = {"checkpoints": {}, "sagemaker": _way_to_sagemaker(place)}
    warnings: list[str] = []
    referring: dict[str, str] = {}
    for name, checkpoint in sorted(found.items()):
        entry, notes, at = _planned(place, checkpoint, layers, flows, limit, images)
        spec["checkpoints"][name] = entry
        warnings += notes
        referring |= entry["environment"]
        if at is not None:
            spec["secrets"] = at
    return Isolated(spec, tuple(warnings), referring)


def inheriting(spec: Record, variables: Mapping[str, str]) -> Record:
    """Return what the spec says of isolated checkpoints without the secrets that the flow's own job has.

    ``variables`` are those of the flow's job, from whose request the jobs of calls take the texts again.
    """
    kept = {name: _inheriting(entry, variables) for name, entry in spec.get("checkpoints", {}).items()}
    return {**spec, "checkpoints": kept} if kept else spec


def _inheriting(entry: Record, variables: Mapping[str, str]) -> Record:
    own = entry["request"].get("Environment", {})
    taken = sorted(name for name, text in own.items() if variables.get(name) == text and hidden.is_secret(name, text))
    left = {name: text for name, text in own.items() if name not in taken}
    return {**entry, "request": {**entry["request"], "Environment": left}, "inherited": taken} if taken else entry


def checkpoints_of(target: FlowTarget) -> list[Checkpoint[..., Any]]:
    """Return the isolated checkpoints that the flow's module holds, or the modules of the project that it imports."""
    module = sys.modules.get(inspect.unwrap(target.flow.function).__module__)
    root = target.project.root.resolve() if target.project is not None else None
    every = [] if module is None else [one for part in _reachable(module, root) for one in vars(part).values()]
    isolated = {id(one): one for one in every if isinstance(one, Checkpoint) and one.isolation is not None}
    return list(isolated.values())


def _reachable(module: ModuleType, root: Path | None) -> Iterator[ModuleType]:
    """Yield the module and the project's modules that its names, and theirs, come from."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if one.__name__ in seen:
            continue
        seen.add(one.__name__)
        yield one
        for value in list(vars(one).values()):
            other = value if isinstance(value, ModuleType) else _home(value)
            if other is not None and _is_in(other, root):
                waiting.append(other)


def _home(value: Any) -> ModuleType | None:
    """Return the module that a function, class, checkpoint or flow comes from."""
    if isinstance(value, (Checkpoint, Flow)):
        value = value.function
    name = getattr(value, "__module__", None) if callable(value) else None
    return sys.modules.get(name) if isinstance(name, str) else None


def _is_in(module: ModuleType, root: Path | None) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or root is None:
        return False
    path = Path(file).resolve()
    return path.is_relative_to(root) and "site-packages" not in path.parts


def _by_name(target: FlowTarget) -> dict[str, Checkpoint[..., Any]]:
    found: dict[str, Checkpoint[..., Any]] = {}
    for one in checkpoints_of(target):
        other = found.setdefault(one.name, one)
        if other is not one:
            raise UsageError(
                "checkpoint.name_taken",
                f"Two isolated checkpoints are called {one.name}: {_where(other)} and {_where(one)}.",
                next_step="Give one of them another name=.",
                field="name",
            )
    return found


def _where(checkpoint: Checkpoint[..., Any]) -> str:
    return f"{checkpoint.function.__module__}.{checkpoint.function.__qualname__}"


def _planned(
    place: Place,
    checkpoint: Checkpoint[..., Any],
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    flows: JobCode,
    limit: int,
    images: Images,
) -> tuple[Record, list[str], Record | None]:
    """Return what the spec says of one checkpoint, what to say aloud, and where its secrets are."""
    from clary.sagemaker import requests, settings, settings_requests

    isolation = checkpoint.isolation
    assert isolation is not None
    at = f"checkpoints.{checkpoint.name}.resources"
    who = f"the checkpoint {checkpoint.name}"
    said = None if isolation.image is None else checked("image", isolation.image, who)
    own = [("isolated checkpoints", _OF_ONE_HOST), (who, isolation.resources)]
    resolved = settings.resolve([*layers, *images.settings(said), *own], at=at, use=settings.Use.FLOW)
    wanted, referring, secrets_at = secrets.taken_out(place, resolved.settings)
    code = replace(
        _with_image(flows, said, wanted.instance_type, images),
        environment={**flows.environment, CALL_VARIABLE: "0" * 16 + "/1"},
    )
    request = requests.training_request("call", wanted, code)
    doubts = settings_requests.check(request, wanted, code)
    doubtful = {one.path.removeprefix(f"{at}."): one for one in (*doubts, *resolved.warnings)}
    notes = [f"{checkpoint.name}: {one.message} {one.next_step}" for one in doubtful.values()]
    notes += secrets.literal_notes((isolation.resources or {}).get("environment") or {})
    if wanted.max_runtime_in_seconds > limit:
        notes.append(
            f"Jobs of {checkpoint.name} may run for {wanted.max_runtime_in_seconds} s, the flow's own job, which waits "
            f"for them, for {limit} s: set the flow's max_runtime_in_seconds higher."
        )
    entry = {
        "request": _template(request, code, own_output=wanted.output_data is None),
        "environment": referring,
        "distribution": isolation.distribution,
        "processes": isolation.processes,
    }
    return entry, notes, secrets_at


def _with_image(
    flows: JobCode, own: str | Mapping[str, Any] | None, instance_types: Sequence[str], images: Images
) -> JobCode:
    """Return what a call's job runs: the flow's, in the checkpoint's own image if it has one."""
    if own is None:
        return flows
    image = images.choose(instance_types, own)
    channels = tuple(one for one in flows.channels if one[0] != CHANNEL)
    return replace(flows, image=image.reference, channels=(*channels, *image.channels))


def _template(request: Record, code: JobCode, *, own_output: bool) -> Record:
    """Return a request without what differs from call to call."""
    made = {name: value for name, value in request.items() if name != "TrainingJobName"}
    made["Environment"] = {
        name: value for name, value in request.get("Environment", {}).items() if name not in code.environment
    }
    if own_output:
        made["OutputDataConfig"] = {
            name: value for name, value in request["OutputDataConfig"].items() if name != "S3OutputPath"
        }
    return made


def _way_to_sagemaker(place: Place) -> Record:
    """Return where the flow's job asks for the jobs of calls: the endpoint that botocore resolves."""
    endpoint = place.aws.named_endpoint("sagemaker") or place.aws.resolved_endpoint("sagemaker")
    return {"endpoint": endpoint, "region": place.aws.region}

"""The machines that a request asks for, as quotas count them and as a job's life makes hosts of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.model import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.sandbox.model import Job

_ONLY_GROUP = "homogeneousCluster"


@dataclass(frozen=True)
class Machines:
    """A number of instances of one type."""

    group: str
    instance_type: str
    """Empty for a job that names none (serverless)."""
    count: int


def machines(kind: JobKind, request: Mapping[str, Any]) -> Sequence[Machines]:
    """Return the groups of a request, one at least; before a preference is selected, the first stands for it."""
    config = _config(kind, request)
    groups = config.get("InstanceGroups")
    if groups:
        return [
            Machines(group.get("InstanceGroupName", ""), group["InstanceType"], int(group["InstanceCount"]))
            for group in groups
        ]
    if "SelectedInstanceType" in config:
        return [Machines(_ONLY_GROUP, config["SelectedInstanceType"], int(config["SelectedInstanceCount"]))]
    return [(preferences(kind, request) or [_alone(config, {})])[0]]


def machines_of(job: Job) -> Sequence[Machines]:
    """Return the machines that a job got, or will get when it finds no reason to fall back."""
    return machines(job.kind, {**job.request, **job.describe})


def preferences(kind: JobKind, request: Mapping[str, Any]) -> list[Machines]:
    """Return what InstancePreferences lists, in its order; empty without such a list.

    The count of a preference is its own, or the one that the request gives for all of them.
    """
    config = _config(kind, request)
    return [_alone(config, preference) for preference in config.get("InstancePreferences") or ()]


def selected(job: Job, choice: Machines) -> Mapping[str, Any]:
    """Return the members of the job's description that say which preference was taken."""
    told = {"SelectedInstanceType": choice.instance_type, "SelectedInstanceCount": choice.count}
    config = {**_config(job.kind, {**job.request, **job.describe}), **told}
    if job.kind is JobKind.PROCESSING:
        return {"ProcessingResources": {**job.request["ProcessingResources"], "ClusterConfig": config}}
    return {"ResourceConfig": config}


def _config(kind: JobKind, request: Mapping[str, Any]) -> Mapping[str, Any]:
    if kind is JobKind.PROCESSING:
        config: Mapping[str, Any] = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    else:
        config = request.get("ResourceConfig", {})
    return config


def _alone(config: Mapping[str, Any], preference: Mapping[str, Any]) -> Machines:
    instance_type = preference.get("InstanceType") or config.get("InstanceType") or ""
    count = int(preference.get("InstanceCount") or config.get("InstanceCount") or 1)
    return Machines(_ONLY_GROUP, instance_type, count)

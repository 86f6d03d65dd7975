"""The machines that a request asks for, as quotas count them and as a job's life makes hosts of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.model import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ONLY_GROUP = "homogeneousCluster"


@dataclass(frozen=True)
class Machines:
    """A number of instances of one type."""

    group: str
    instance_type: str
    """Empty for a job that names none (serverless)."""
    count: int


def machines(kind: JobKind, request: Mapping[str, Any]) -> Sequence[Machines]:
    """Return the groups of a request, one at least; the first preference stands for a list of preferences.

    The count of a preference is its own, or the one that the request gives for all of them (CreateTrainingJob).
    """
    if kind is JobKind.PROCESSING:
        config = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    else:
        config = request.get("ResourceConfig", {})
    groups = config.get("InstanceGroups")
    if groups:
        return [
            Machines(group.get("InstanceGroupName", ""), group["InstanceType"], int(group["InstanceCount"]))
            for group in groups
        ]
    first = (config.get("InstancePreferences") or [{}])[0]
    instance_type = config.get("InstanceType") or first.get("InstanceType") or ""
    return [Machines(_ONLY_GROUP, instance_type, int(config.get("InstanceCount") or first.get("InstanceCount") or 1))]

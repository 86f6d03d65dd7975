"""Rules of CreateProcessingJob beyond its model. Source: reference of CreateProcessingJob."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clary.sagemaker.reading import broken, demanded, objects, repeated, section, text
from clary.sagemaker.shared_rules import instances_are_named, preferences_stand_alone

if TYPE_CHECKING:
    from clary.sagemaker.findings import Finding

ROOT = "/opt/ml/processing/"
"""Every input and output of a processing container lies below this folder."""
_CLUSTER = "ProcessingResources.ClusterConfig"
_OUTPUTS = "ProcessingOutputConfig.Outputs"


def machines_are_named(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Type and count are needed unless InstancePreferences says them."""
    cluster = section(request, "ProcessingResources", "ClusterConfig")
    if cluster:
        yield from instances_are_named(_CLUSTER, cluster, "InstancePreferences")
        yield from preferences_stand_alone(_CLUSTER, cluster)


def input_names_are_unique(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Inputs are told apart by name."""
    yield from repeated("ProcessingInputs", request, "ProcessingInputs", "InputName")


def output_names_are_unique(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Outputs are told apart by name."""
    yield from repeated(_OUTPUTS, section(request, "ProcessingOutputConfig"), "Outputs", "OutputName")


def inputs_have_one_source(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Each input is either objects in S3 or a data set."""
    for index, entry in objects(request, "ProcessingInputs"):
        yield from _exactly_one(f"ProcessingInputs[{index}]", entry, "S3Input", "DatasetDefinition")


def outputs_have_one_target(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Each output goes either to S3 or to a feature store."""
    for index, entry in objects(section(request, "ProcessingOutputConfig"), "Outputs"):
        yield from _exactly_one(f"{_OUTPUTS}[{index}]", entry, "S3Output", "FeatureStoreOutput")


def folders_are_below_the_root(request: Mapping[str, Any]) -> Iterator[Finding]:
    """LocalPath is needed, and below ``ROOT``, unless the application looks after the transfer itself."""
    outputs = section(request, "ProcessingOutputConfig")
    for list_path, holder, name, members in (
        ("ProcessingInputs", request, "ProcessingInputs", ("S3Input", "DatasetDefinition")),
        (_OUTPUTS, outputs, "Outputs", ("S3Output",)),
    ):
        for index, entry in objects(holder, name):
            for member in members:
                if isinstance(entry.get(member), Mapping):
                    yield from _folder(f"{list_path}[{index}].{member}", entry[member], entry.get("AppManaged") is True)


def _folder(path: str, holder: Mapping[str, Any], app_managed: bool) -> Iterator[Finding]:
    where = f"{path}.LocalPath"
    if "LocalPath" not in holder:
        if not app_managed:
            yield demanded(
                where, why="it says which folder of the container is meant.", next_step=f"Add one below {ROOT}"
            )
        return
    folder = text(holder, "LocalPath")
    if folder is not None and not posixpath.normpath(folder).startswith(ROOT):
        yield broken(
            where,
            folder,
            limit=f"below {ROOT}",
            message=f"{where} is '{folder[:80]}', which is not below {ROOT}",
            next_step=f"Use a folder such as {ROOT}input/data.",
        )


def _exactly_one(path: str, entry: Mapping[str, Any], first: str, second: str) -> Iterator[Finding]:
    if (first in entry) == (second in entry):
        both = first in entry
        yield broken(
            path,
            f"{first}, {second}" if both else None,
            limit=f"exactly one of {first} and {second}",
            message=f"{path} has {'both' if both else 'neither'} {first} {'and' if both else 'nor'} {second}.",
            next_step=f"Keep {first}." if both else f"Add {first}.",
        )


RULES = (
    machines_are_named,
    input_names_are_unique,
    output_names_are_unique,
    inputs_have_one_source,
    outputs_have_one_target,
    folders_are_below_the_root,
)

"""Rules of CreateTrainingJob beyond its model. Sources: reference of CreateTrainingJob, and the service's refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clary.sagemaker.reading import broken, demanded, doubtful, number, objects, repeated, section, text
from clary.sagemaker.shared_rules import instances_are_named, preferences_stand_alone

if TYPE_CHECKING:
    from clary.sagemaker.findings import Finding

LONGEST_RUN = 28 * 86400
"""Seconds a training job may run."""
SERVICE_RUNTIME = 86400
"""Seconds the service allows when the request names no limit."""
_DATA_SOURCES = ("S3DataSource", "FileSystemDataSource", "DatasetSource")
_WAIT = "StoppingCondition.MaxWaitTimeInSeconds"


def container_job_is_complete(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Three blocks became optional in the model for serverless fine-tuning; every other job needs them."""
    if "ServerlessJobConfig" in request:
        return
    for name, why, next_step in (
        ("AlgorithmSpecification", "it names the image to run.", "Add it with TrainingImage and TrainingInputMode."),
        ("ResourceConfig", "it names the machines.", "Add InstanceType, InstanceCount and VolumeSizeInGB."),
        ("StoppingCondition", "it limits time and money.", "Add MaxRuntimeInSeconds."),
    ):
        if name not in request:
            yield demanded(name, why=why, next_step=next_step)


def image_or_algorithm(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Exactly one of TrainingImage and AlgorithmName."""
    algorithm = section(request, "AlgorithmSpecification")
    if "AlgorithmSpecification" not in request:
        return
    if "TrainingImage" in algorithm and "AlgorithmName" in algorithm:
        yield broken(
            "AlgorithmSpecification.AlgorithmName",
            algorithm["AlgorithmName"],
            limit="TrainingImage or AlgorithmName, not both",
            message="AlgorithmSpecification has both TrainingImage and AlgorithmName.",
            next_step="Leave out the one that is not meant.",
        )
    elif "TrainingImage" not in algorithm and "AlgorithmName" not in algorithm:
        yield demanded(
            "AlgorithmSpecification.TrainingImage",
            why="a job needs TrainingImage or AlgorithmName.",
            next_step="Add the address of the image.",
        )


def private_registry_is_complete(request: Mapping[str, Any]) -> Iterator[Finding]:
    """A registry reached through the VPC needs the VPC; credentials make sense only there."""
    config = section(request, "AlgorithmSpecification", "TrainingImageConfig")
    mode = config.get("TrainingRepositoryAccessMode")
    if mode == "Vpc" and "VpcConfig" not in request:
        yield demanded(
            "VpcConfig",
            why="TrainingRepositoryAccessMode is Vpc.",
            next_step="Add the subnets and security groups from which the registry can be reached.",
        )
    if mode == "Platform" and "TrainingRepositoryAuthConfig" in config:
        yield broken(
            "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig",
            mode,
            limit="only with TrainingRepositoryAccessMode Vpc",
            message="TrainingRepositoryAuthConfig is given, but TrainingRepositoryAccessMode is Platform.",
            next_step="Set TrainingRepositoryAccessMode to Vpc, or leave the credentials out.",
        )


def machines_are_named(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Type, count and volume are optional in the model and needed in practice."""
    if "ResourceConfig" not in request:
        return
    resources = section(request, "ResourceConfig")
    yield from instances_are_named("ResourceConfig", resources, "InstanceGroups", "InstancePreferences")
    if "VolumeSizeInGB" not in resources and "ServerlessJobConfig" not in request:
        yield demanded("ResourceConfig.VolumeSizeInGB", why="a job needs a disk.", next_step="Add it, e.g. 30.")


def amounts_are_positive(request: Mapping[str, Any]) -> Iterator[Finding]:
    """The model allows nought machines and a disk of 0 GB since serverless jobs exist."""
    resources = section(request, "ResourceConfig")
    for member in ("InstanceCount", "VolumeSizeInGB"):
        value = number(resources, member)
        if value == 0:
            path = f"ResourceConfig.{member}"
            yield broken(
                path,
                value,
                limit="at least 1",
                message=f"{path} is 0; it must be at least 1.",
                next_step="Set it to 1 or more.",
            )


def groups_stand_alone(request: Mapping[str, Any]) -> Iterator[Finding]:
    """A heterogeneous cluster names types and counts in its groups, and cannot be kept warm."""
    resources = section(request, "ResourceConfig")
    if "InstanceGroups" not in resources:
        return
    for member in ("InstanceType", "InstanceCount", "InstancePreferences"):
        if member in resources:
            yield broken(
                f"ResourceConfig.{member}",
                resources[member],
                limit=f"InstanceGroups or {member}, not both",
                message=f"ResourceConfig has both InstanceGroups and {member}.",
                next_step=f"Leave {member} out, or leave InstanceGroups out.",
            )
    if number(resources, "KeepAlivePeriodInSeconds"):
        yield broken(
            "ResourceConfig.KeepAlivePeriodInSeconds",
            resources["KeepAlivePeriodInSeconds"],
            limit="not with InstanceGroups",
            message="A cluster of several InstanceGroups cannot be kept warm.",
            next_step="Leave KeepAlivePeriodInSeconds out.",
        )


def preferences_are_alone(request: Mapping[str, Any]) -> Iterator[Finding]:
    """InstancePreferences excludes InstanceType and managed spot."""
    resources = section(request, "ResourceConfig")
    yield from preferences_stand_alone("ResourceConfig", resources)
    if "InstancePreferences" in resources and request.get("EnableManagedSpotTraining") is True:
        yield broken(
            "EnableManagedSpotTraining",
            "true",
            limit="not with InstancePreferences",
            message="EnableManagedSpotTraining cannot be used with ResourceConfig.InstancePreferences.",
            next_step="Name one InstanceType for a spot job.",
        )
    if "InstancePreferences" in resources and "InstancePlacementConfig" in resources:
        yield broken(
            "ResourceConfig.InstancePlacementConfig",
            None,
            limit="not with InstancePreferences",
            message="ResourceConfig.InstancePlacementConfig cannot be used with InstancePreferences.",
            next_step="Leave one of them out.",
        )
    planned = [index for index, entry in objects(resources, "InstancePreferences") if "TrainingPlanArns" in entry]
    if planned and "TrainingPlanArn" in resources:
        yield broken(
            "ResourceConfig.TrainingPlanArn",
            resources["TrainingPlanArn"],
            limit="not with TrainingPlanArns of a preference",
            message="ResourceConfig.TrainingPlanArn is given beside the plans of InstancePreferences.",
            next_step="Leave one of them out.",
        )


def spot_waits_long_enough(request: Mapping[str, Any]) -> Iterator[Finding]:
    """MaxWaitTimeInSeconds covers waiting and running, needs spot, and spot needs it."""
    stopping = section(request, "StoppingCondition")
    spot = request.get("EnableManagedSpotTraining") is True
    wait, runtime = number(stopping, "MaxWaitTimeInSeconds"), number(stopping, "MaxRuntimeInSeconds")
    if spot and wait is None and "StoppingCondition" in request:
        yield demanded(
            _WAIT,
            why="a spot job needs a limit for waiting and running together.",
            next_step="Add it, no smaller than MaxRuntimeInSeconds.",
        )
    if wait is not None and not spot:
        yield broken(
            _WAIT,
            wait,
            limit="only with EnableManagedSpotTraining",
            message="MaxWaitTimeInSeconds is given, but EnableManagedSpotTraining is not true.",
            next_step="Leave MaxWaitTimeInSeconds out, or ask for spot.",
        )
    if spot and wait is not None and runtime is not None and wait < runtime:
        yield broken(
            _WAIT,
            wait,
            limit=f"at least MaxRuntimeInSeconds, {runtime}",
            message=f"MaxWaitTimeInSeconds is {wait}, less than MaxRuntimeInSeconds, {runtime}; it covers both.",
            next_step=f"Set MaxWaitTimeInSeconds to at least {runtime}.",
        )


def spot_is_not_kept_warm(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Warm pools are for on-demand machines."""
    keep = number(section(request, "ResourceConfig"), "KeepAlivePeriodInSeconds")
    if keep and request.get("EnableManagedSpotTraining") is True:
        yield broken(
            "ResourceConfig.KeepAlivePeriodInSeconds",
            keep,
            limit="not with EnableManagedSpotTraining",
            message="A spot job cannot keep its machines warm.",
            next_step="Leave KeepAlivePeriodInSeconds out, or run on demand.",
        )


def spot_has_checkpoints(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Without a checkpoint folder an interrupted spot job begins again, and can cost more than on demand."""
    if request.get("EnableManagedSpotTraining") is True and "CheckpointConfig" not in request:
        yield doubtful(
            "CheckpointConfig",
            None,
            limit="advised with EnableManagedSpotTraining",
            message="A spot job without CheckpointConfig loses the files of its checkpoint folder when interrupted.",
            next_step="Set CheckpointConfig.S3Uri, unless the job keeps its progress elsewhere.",
        )


def runtime_is_bounded(request: Mapping[str, Any]) -> Iterator[Finding]:
    """At most 28 days; a missing limit means a day, which is costly for a job that hangs."""
    if "StoppingCondition" not in request:
        return
    path = "StoppingCondition.MaxRuntimeInSeconds"
    stopping = section(request, "StoppingCondition")
    runtime = number(stopping, "MaxRuntimeInSeconds")
    if "MaxRuntimeInSeconds" not in stopping:
        yield doubtful(
            path,
            None,
            limit=f"{SERVICE_RUNTIME} when left out",
            message=f"{path} is missing: a job that hangs is billed for {SERVICE_RUNTIME} s.",
            next_step="Set it to what the job needs, with some room.",
        )
    elif runtime is not None and runtime > LONGEST_RUN:
        yield broken(
            path,
            runtime,
            limit=f"at most {LONGEST_RUN} (28 days)",
            message=f"{path} is {runtime}, more than {LONGEST_RUN} (28 days).",
            next_step="Lower it, and go on from a checkpoint in a second job.",
        )


def channels_are_unique(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Two channels cannot share a folder."""
    yield from repeated("InputDataConfig", request, "InputDataConfig", "ChannelName")


def channels_have_one_source(request: Mapping[str, Any]) -> Iterator[Finding]:
    """The data of a channel come from exactly one place."""
    for index, channel in objects(request, "InputDataConfig"):
        source = channel.get("DataSource")
        if isinstance(source, Mapping):
            named = [name for name in _DATA_SOURCES if name in source]
            if len(named) != 1:
                path = f"InputDataConfig[{index}].DataSource"
                yield broken(
                    path,
                    ", ".join(named) or None,
                    limit=f"exactly one of {', '.join(_DATA_SOURCES)}",
                    message=f"{path} names {len(named)} sources; it must name exactly one.",
                    next_step="Keep one source for each channel.",
                )


def gzip_is_for_pipes(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Only Pipe mode unpacks. Source: reference of Channel.CompressionType."""
    default = section(request, "AlgorithmSpecification").get("TrainingInputMode")
    for index, channel in objects(request, "InputDataConfig"):
        mode = channel.get("InputMode", default)
        if channel.get("CompressionType") == "Gzip" and mode != "Pipe":
            path = f"InputDataConfig[{index}].CompressionType"
            yield doubtful(
                path,
                "Gzip",
                limit="only in Pipe mode",
                message=f"{path} is Gzip, but in {mode} mode nothing is unpacked.",
                next_step="Use Pipe mode, or unpack in the container.",
            )


def fast_file_prefix_is_a_folder(request: Mapping[str, Any]) -> Iterator[Finding]:
    """FastFile mounts a folder; a prefix without the slash also matches its neighbours."""
    default = section(request, "AlgorithmSpecification").get("TrainingInputMode")
    for index, channel in objects(request, "InputDataConfig"):
        source = section(channel, "DataSource", "S3DataSource")
        address = text(source, "S3Uri")
        streamed = channel.get("InputMode", default) == "FastFile" and source.get("S3DataType") == "S3Prefix"
        if streamed and address is not None and not address.endswith("/"):
            path = f"InputDataConfig[{index}].DataSource.S3DataSource.S3Uri"
            yield doubtful(
                path,
                address,
                limit="a prefix that ends with / in FastFile mode",
                message=f"{path} does not end with /; FastFile mode needs a folder.",
                next_step="Add the slash.",
            )


RULES = (
    container_job_is_complete,
    image_or_algorithm,
    private_registry_is_complete,
    machines_are_named,
    amounts_are_positive,
    groups_stand_alone,
    preferences_are_alone,
    spot_waits_long_enough,
    spot_is_not_kept_warm,
    spot_has_checkpoints,
    runtime_is_bounded,
    channels_are_unique,
    channels_have_one_source,
    gzip_is_for_pipes,
    fast_file_prefix_is_a_folder,
)

"""SageMaker: jobs and tags. ARNs of jobs are in lower case, whatever the name is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.sandbox.iam.table.common import has, pass_role
from clary.sandbox.iam.table.spec import Key, Need, Read, ResourceType, Rows, Tagged, flag, needs, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.sandbox.iam.call import Call

TRAINING_JOB = ResourceType(
    "sagemaker", "training-job", "arn:${Partition}:sagemaker:${Region}:${Account}:training-job/${TrainingJobName}"
)
PROCESSING_JOB = ResourceType(
    "sagemaker", "processing-job", "arn:${Partition}:sagemaker:${Region}:${Account}:processing-job/${ProcessingJobName}"
)
TRAINING_PLAN = ResourceType(
    "sagemaker", "training-plan", "arn:${Partition}:sagemaker:${Region}:${Account}:training-plan/${TrainingPlanName}"
)


def _job(kind: ResourceType, member: str) -> Read:
    return lambda call: [kind.arn(call, call.text(member).lower())]


_training = _job(TRAINING_JOB, "TrainingJobName")
_processing = _job(PROCESSING_JOB, "ProcessingJobName")


def _instance_types(call: Call) -> Iterable[str]:
    """Read every type that the job may get: the one, the groups', the fallbacks'."""
    config: dict[str, Any] = call.get("ResourceConfig") or call.get("ProcessingResources.ClusterConfig") or {}
    groups = [*config.get("InstanceGroups", ()), *config.get("InstancePreferences", ())]
    found = [config.get("InstanceType"), *(group.get("InstanceType") for group in groups)]
    return list(dict.fromkeys(str(one) for one in found if one))


def _keys(network: str, cluster: str, output: str) -> tuple[Key, ...]:
    """Return the keys that both kinds of job have; the arguments are where their members are."""
    prefix = f"{network}." if network else ""
    return (
        Key("sagemaker:InstanceTypes", _instance_types),
        Key("sagemaker:MaxRuntimeInSeconds", text("StoppingCondition.MaxRuntimeInSeconds")),
        Key("sagemaker:NetworkIsolation", flag(f"{prefix}EnableNetworkIsolation")),
        Key("sagemaker:InterContainerTrafficEncryption", flag(f"{prefix}EnableInterContainerTrafficEncryption")),
        Key("sagemaker:VpcSubnets", texts(f"{prefix}VpcConfig.Subnets")),
        Key("sagemaker:VpcSecurityGroupIds", texts(f"{prefix}VpcConfig.SecurityGroupIds")),
        Key("sagemaker:VolumeKmsKey", text(f"{cluster}.VolumeKmsKeyId")),
        Key("sagemaker:OutputKmsKey", text(f"{output}.KmsKeyId")),
    )


def _file_systems(member: str) -> Read:
    def read(call: Call) -> list[str]:
        channels = call.get("InputDataConfig") or []
        systems = [channel.get("DataSource", {}).get("FileSystemDataSource") or {} for channel in channels]
        return [str(system[member]) for system in systems if member in system]

    return read


def _tags(operation: str, on: ResourceType, job: Read) -> Need:
    keys = (Tagged("Tags"), Key("sagemaker:TaggingAction", lambda _: [operation]))
    return Need("sagemaker:AddTags", on, job, keys=keys, when=has("Tags"))


def _given(call: Call) -> list[str]:
    return [call.text("ResourceArn").lower()]


_TRAINING_KEYS: tuple[Key | Tagged, ...] = (
    Tagged("Tags"),
    *_keys("", "ResourceConfig", "OutputDataConfig"),
    Key("sagemaker:KeepAlivePeriod", text("ResourceConfig.KeepAlivePeriodInSeconds")),
    Key("sagemaker:EnableRemoteDebug", flag("RemoteDebugConfig.EnableRemoteDebug")),
    Key("sagemaker:FileSystemId", _file_systems("FileSystemId")),
    Key("sagemaker:FileSystemType", _file_systems("FileSystemType")),
    Key("sagemaker:FileSystemAccessMode", _file_systems("FileSystemAccessMode")),
    Key("sagemaker:FileSystemDirectoryPath", _file_systems("DirectoryPath")),
)
_PROCESSING_KEYS: tuple[Key | Tagged, ...] = (
    Tagged("Tags"),
    *_keys("NetworkConfig", "ProcessingResources.ClusterConfig", "ProcessingOutputConfig"),
)
_UPDATE_KEYS = (
    Key("sagemaker:KeepAlivePeriod", text("ResourceConfig.KeepAlivePeriodInSeconds")),
    Key("sagemaker:EnableRemoteDebug", text("RemoteDebugConfig.EnableRemoteDebug")),
)

ROWS: Rows = {
    "CreateTrainingJob": [
        Need("sagemaker:CreateTrainingJob", TRAINING_JOB, _training, _TRAINING_KEYS),
        Need(
            "sagemaker:CreateTrainingJob",
            TRAINING_PLAN,
            text("ResourceConfig.TrainingPlanArn"),
            _TRAINING_KEYS,
            when=has("ResourceConfig.TrainingPlanArn"),
        ),
        pass_role("sagemaker", "RoleArn"),
        _tags("CreateTrainingJob", TRAINING_JOB, _training),
    ],
    "CreateProcessingJob": [
        Need("sagemaker:CreateProcessingJob", PROCESSING_JOB, _processing, _PROCESSING_KEYS),
        pass_role("sagemaker", "RoleArn"),
        _tags("CreateProcessingJob", PROCESSING_JOB, _processing),
    ],
    "UpdateTrainingJob": [Need("sagemaker:UpdateTrainingJob", TRAINING_JOB, _training, _UPDATE_KEYS)],
    **needs("sagemaker", TRAINING_JOB, _training, "DescribeTrainingJob", "StopTrainingJob", "DeleteTrainingJob"),
    **needs("sagemaker", PROCESSING_JOB, _processing, "DescribeProcessingJob", "StopProcessingJob"),
    **needs("sagemaker", None, None, "ListTrainingJobs", "ListProcessingJobs"),
    "AddTags": [Need("sagemaker:AddTags", TRAINING_JOB, _given, (Tagged("Tags"),))],
    "DeleteTags": [Need("sagemaker:DeleteTags", TRAINING_JOB, _given, (Key("aws:TagKeys", texts("TagKeys")),))],
    "ListTags": [Need("sagemaker:ListTags", TRAINING_JOB, _given)],
}
"""Every operation that the sandbox answers. AddTags and its like take the ARN of any kind of resource."""

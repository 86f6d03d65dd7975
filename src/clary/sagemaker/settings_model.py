"""The model of a job's settings: every name, its type, its default. Plain data; ``clary.sagemaker.settings`` checks it.

The page ``docs/reference/job-settings.md`` is made from this module: the text below a setting is its line there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

DEFAULT_MAX_RUNTIME = 3600
"""Seconds; the service's own default is a day, which is dear for a job that hangs."""
PIPELINE_MAX_RUNTIME = 86400
"""Seconds a step of a pipeline may run unless told otherwise: what users of such pipelines are used to."""
SPOT_WAIT = 3600
"""Seconds a spot job waits for machines, on top of its running time, unless ``max_wait_in_seconds`` says otherwise."""

InputMode = Literal["File", "FastFile", "Pipe"]

# For pydantic, which checks the types: YAML's numbers may stand where text is wanted, other names may not stand at all.
_CHECKED: Mapping[str, Any] = {"coerce_numbers_to_str": True, "extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel of input data: what lies at an S3 address appears at ``/opt/ml/input/data/<name of the channel>``."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _CHECKED

    uri: str
    """`s3://bucket/prefix`: every object under the prefix; or one object."""
    mode: InputMode | None = None
    """`File` copies before the start, `FastFile` mounts, `Pipe` streams. Default: `input_mode`."""
    content_type: str | None = None
    """MIME type that the container is told."""
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    """Whether every host gets all objects, or each its share."""
    compression: Literal["None", "Gzip"] | None = None
    """`Gzip`: SageMaker unpacks; in `Pipe` mode only."""
    data_type: Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile"] = "S3Prefix"
    """What `uri` is: a prefix, or a manifest that lists objects."""
    attribute_names: tuple[str, ...] = ()
    """Attributes to read from an augmented manifest."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What a person may set of a job. Only what is set, and the defaults below, goes into the request."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _CHECKED

    instance_type: tuple[str, ...] = ("ml.m5.xlarge",)
    """Machine type, `ml.<family>.<size>`; or an ordered list of up to 5: the first that has capacity is taken."""
    instance_count: int = 1
    """Machines. A flow runs on the first; the others idle unless its code uses them."""
    volume_size_in_gb: int = 30
    """Disk in GB, 1 to 16384. Types with NVMe disks of their own use those instead."""
    max_runtime_in_seconds: int = DEFAULT_MAX_RUNTIME
    """Time limit of the job, 1 second to 28 days; all of SageMaker's own retries count together."""
    execution_role: str | None = None
    """ARN of the role the job runs with. Default: the stack's."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the job, up to 50; no key may begin with `aws:`."""
    keep_alive_period_in_seconds: int | None = None
    """Keeps the machines warm for the next job with the same needs, up to an hour, at their full price."""
    use_spot: bool = False
    """Spare machines at a lower price that can be taken away; a run goes on from its record."""
    max_wait_in_seconds: int | None = None
    """For spot: limit of waiting and running together. Default: `max_runtime_in_seconds` and an hour."""
    max_pending_time_in_seconds: int | None = None
    """Limit of waiting for accelerator capacity, before the job starts."""
    max_retry_attempts: int | None = None
    """How often SageMaker itself starts again after an internal error, 1 to 30; nothing else is retried by it."""
    subnets: tuple[str, ...] = ()
    """Subnets of your VPC, 1 to 16; goes with `security_group_ids`."""
    security_group_ids: tuple[str, ...] = ()
    """Security groups, 1 to 5; goes with `subnets`."""
    enable_network_isolation: bool = False
    """No network inside the container. Not for flows, whose record is in S3."""
    encrypt_inter_container_traffic: bool = False
    """Encrypts what the hosts of a job send each other; slower."""
    volume_kms_key: str | None = None
    """KMS key (id, ARN or alias) of the disk. Not for types with NVMe disks, which encrypt by themselves."""
    output_kms_key: str | None = None
    """KMS key (id, ARN or alias) of what the job leaves in S3."""
    input_data: Mapping[str, Channel] = field(default_factory=dict)
    """Channel to S3 address, or to an object with the members below. A bare address is the channel `training`."""
    input_mode: InputMode = "File"
    """How channels arrive that say no `mode`."""
    output_data: str | None = None
    """`s3://bucket/prefix` for what the job leaves in `/opt/ml/model` and `/opt/ml/output/data`. Default: by the run's
    record."""
    checkpoint_s3_uri: str | None = None
    """Folder in S3 that SageMaker keeps in step with `checkpoint_local_path`; restored when a spot job starts again."""
    checkpoint_local_path: str | None = None
    """Folder in the container. Default: `/opt/ml/checkpoints`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables, up to 100 of 512 characters. Anybody who may describe the job reads them: secrets go in as
    `{{secrets.NAME.KEY}}`."""
    metric_definitions: Mapping[str, str] = field(default_factory=dict)
    """Name of a metric to the regular expression whose first group, in a line of the log, is its value; up to 40."""
    registry_access: Literal["Platform", "Vpc"] | None = None
    """`Vpc`: the image is in a private registry that is reached from `subnets`. Default: Amazon ECR."""
    registry_credentials_lambda: str | None = None
    """ARN of the Lambda function that gives the private registry's credentials."""
    enable_remote_debug: bool = False
    """Lets a shell into the running container, by AWS Systems Manager."""
    enable_infra_check: bool = False
    """Checks the machines' health before the job starts."""
    training_plan: str | None = None
    """ARN of a training plan: reserved capacity of one machine type."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Members of CreateTrainingJob, merged last; objects are merged, lists replaced, null takes a member out."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, as they would be written in YAML: one machine type is text."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if len(self.instance_type) == 1:
            plain["instance_type"] = self.instance_type[0]
        plain["input_data"] = {
            name: {member: value for member, value in asdict(channel).items() if value not in (None, ())}
            for name, channel in self.input_data.items()
        }
        return plain


NAMES = tuple(known.name for known in fields(JobSettings))
"""Every setting, in the order of the reference page."""
DEFAULTS: Mapping[str, Any] = JobSettings().to_dict()

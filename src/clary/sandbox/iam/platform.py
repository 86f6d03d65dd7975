"""What SageMaker does for a job is done with the rights of the execution role; here they are weighed.

Source: SageMaker developer guide, "How to use SageMaker execution roles" (CreateTrainingJob and CreateProcessingJob
API: execution role permissions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.sandbox.iam import SESSION_NAME
from clary.sandbox.iam.call import Call
from clary.sandbox.iam.sessions import Session
from clary.sandbox.iam.table.common import KEY
from clary.sandbox.iam.table.ec2 import INTERFACE, SECURITY_GROUP, SUBNET
from clary.sandbox.iam.table.logs import STREAM
from clary.sandbox.iam.table.s3 import BUCKET, OBJECT
from clary.sandbox.model import Job, JobKind
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clary.sandbox.iam.guard import Guard
    from clary.sandbox.model import ObjectAccess

_NETWORK_LOOKS = ("Subnets", "SecurityGroups", "Vpcs", "DhcpOptions", "NetworkInterfaces")
_OF_INTERFACES = ("CreateNetworkInterfacePermission", "DeleteNetworkInterface", "DeleteNetworkInterfacePermission")
_AN_INTERFACE = "eni-0123456789abcdef0"
"""Stands for the interface that is made: a policy cannot name it beforehand."""


class RoleRights:
    """What one role may do in one region, as SageMaker's session of it."""

    def __init__(self, guard: Guard, role: str, account: str, region: str) -> None:
        self._guard = guard
        self.session = Session("", account, role, SESSION_NAME)
        self._region = region
        self._call = Call("", "", account, region, guard.facts)

    def lacks(self, action: str, resource: str, **context: str) -> str | None:
        """Return the words that refuse an action, or None when it is allowed. Context keys as ``s3_prefix``."""
        principal = self._guard.principals.of_session(self.session)
        if principal is None:
            return f"The role {self.session.role} does not exist."
        keys = {name.replace("_", ":", 1).lower(): (value,) for name, value in context.items()}
        return self._guard.refuses(principal, action, resource, self._region, keys)

    def bucket(self, name: str) -> str:
        """Return the ARN of a bucket."""
        return BUCKET.arn(self._call, name)

    def object(self, bucket: str, key: str) -> str:
        """Return the ARN of an object."""
        return OBJECT.arn(self._call, bucket, key)

    def cannot_list(self, bucket: str, prefix: str) -> str | None:
        """Return why a prefix cannot be listed, or None."""
        return self.lacks("s3:ListBucket", self.bucket(bucket), s3_prefix=prefix)

    def cannot_sign_in(self) -> str | None:
        """Return why nobody can sign in to ECR, or None; whether an image may be pulled then, its registry weighs."""
        return self.lacks("ecr:GetAuthorizationToken", "*")

    def cannot_log(self, group: str, stream: str, *, exists: bool) -> str | None:
        """Return why a stream cannot be written, or None; a group that exists need not be made."""
        of_group, of_stream = STREAM.arn(self._call, group, ""), STREAM.arn(self._call, group, stream)
        actions = [] if exists else [("logs:CreateLogGroup", of_group)]
        actions += [("logs:DescribeLogStreams", of_group)]
        actions += [("logs:CreateLogStream", of_stream), ("logs:PutLogEvents", of_stream)]
        found = (self.lacks(action, resource) for action, resource in actions)
        return next((one for one in found if one), None)

    def cannot_join_network(self, network: Mapping[str, Any]) -> str | None:
        """Return why network interfaces cannot be made in a request's VpcConfig, or None.

        CreateNetworkInterface is weighed for the interface, its subnet and each of its security groups, as the Service
        Authorization Reference lists its resources.
        """
        interface = INTERFACE.arn(self._call, _AN_INTERFACE)
        subnets = [SUBNET.arn(self._call, str(one)) for one in network.get("Subnets", [])]
        groups = [SECURITY_GROUP.arn(self._call, str(one)) for one in network.get("SecurityGroupIds", [])]
        needs = [(f"ec2:Describe{what}", "*") for what in _NETWORK_LOOKS]
        needs += [("ec2:CreateNetworkInterface", one) for one in (*subnets, *groups, interface)]
        needs += [(f"ec2:{action}", interface) for action in _OF_INTERFACES]
        found = (self.lacks(action, resource) for action, resource in needs)
        return next((one for one in found if one), None)

    def cannot_use_key(self, action: str, key: str, service: str, **context: str) -> str | None:
        """Return why a KMS key cannot be used through a service, or None."""
        arn = KEY.arn(self._call, self._guard.facts.key_id(key, self._call.account, self._region))
        via = f"{service}.{self._region}.amazonaws.com"
        return self.lacks(action, arn, kms_ViaService=via, kms_CallerAccount=self._call.account, **context)


def rights_of(guard: Guard, job: Job) -> RoleRights:
    """Return the rights of a job's execution role."""
    return RoleRights(guard, str(job.request["RoleArn"]), job.account, job.region)


def check_creation(guard: Guard, call: Call) -> None:
    """Refuse a job, as its creation does, whose role cannot do what SageMaker tries at once; raises ApiError.

    A role that does not exist, and places that do not, are left to the operation itself, which has words for them.
    """
    rights = RoleRights(guard, call.text("RoleArn"), call.account, call.region)
    if guard.principals.of_session(rights.session) is None:
        return
    for uri in _input_uris(call):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        lack = rights.cannot_list(bucket, prefix)
        if lack is not None:
            # The wording is the service's, e.g. in aws/amazon-sagemaker-examples#2489.
            raise ApiError(
                "ValidationException",
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket'
                f" exists in the selected region ({call.region}), that objects exist under that S3 prefix, and that the"
                f' role "{call.text("RoleArn")}" has "s3:ListBucket" permissions on bucket "{bucket}". Error message'
                f" from S3: {lack}",
            )
    network = call.get("VpcConfig") or call.get("NetworkConfig.VpcConfig")
    lack = rights.cannot_join_network(network) if network else None
    volume = call.text("ResourceConfig.VolumeKmsKeyId") or call.text("ProcessingResources.ClusterConfig.VolumeKmsKeyId")
    if lack is None and volume:
        lack = rights.cannot_use_key("kms:CreateGrant", volume, "sagemaker", kms_GrantIsForAWSResource="true")
    if lack is not None:
        raise ApiError("ValidationException", f"The execution role lacks a permission: {lack}")


def _input_uris(call: Call) -> list[str]:
    channels = [one.get("DataSource", {}).get("S3DataSource") for one in call.get("InputDataConfig") or []]
    inputs = [one.get("S3Input") for one in call.get("ProcessingInputs") or []]
    found = [str(source.get("S3Uri", "")) for source in [*channels, *inputs] if source]
    return [uri for uri in found if uri.startswith("s3://")]


class RoleObjects:
    """S3 with the rights of a job's role; a lack is PermissionError with the service's words."""

    def __init__(self, objects: ObjectAccess, rights: RoleRights, output_key: str | None) -> None:
        self._objects = objects
        self._rights = rights
        self._output_key = output_key

    def list(self, bucket: str, prefix: str) -> Sequence[tuple[str, int]]:
        """See ``model.ObjectAccess``."""
        _require(self._rights.cannot_list(bucket, prefix))
        return self._objects.list(bucket, prefix)

    def download(self, bucket: str, key: str, to: Path) -> None:
        """See ``model.ObjectAccess``."""
        self._read(bucket, key)
        self._objects.download(bucket, key, to)

    def read(self, bucket: str, key: str) -> bytes:
        """See ``model.ObjectAccess``."""
        self._read(bucket, key)
        return self._objects.read(bucket, key)

    def _read(self, bucket: str, key: str) -> None:
        _require(self._rights.lacks("s3:GetObject", self._rights.object(bucket, key)))

    def upload(self, source: Path, bucket: str, key: str) -> None:
        """See ``model.ObjectAccess``."""
        _require(self._rights.lacks("s3:PutObject", self._rights.object(bucket, key)))
        if self._output_key:
            _require(self._rights.cannot_use_key("kms:GenerateDataKey", self._output_key, "s3"))
        self._objects.upload(source, bucket, key)


def _require(message: str | None) -> None:
    if message is not None:
        raise PermissionError(f"AccessDenied (403): {message}")


def output_key(job: Job) -> str | None:
    """Return the KMS key that a job's request names for what it writes."""
    member = "OutputDataConfig" if job.kind is JobKind.TRAINING else "ProcessingOutputConfig"
    found: str | None = job.request.get(member, {}).get("KmsKeyId")
    return found

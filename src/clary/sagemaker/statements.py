"""The statements of the least policies, one function for each thing that somebody does. Pure.

Which actions and resources: what the code in this repository calls, and, for what SageMaker itself does under a role,
the page "How to use SageMaker execution roles" of the developer guide (CreateTrainingJob, CreateProcessingJob). The
forms of resources and condition keys: the Service Authorization Reference. ``permissions`` joins the statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Statement = dict[str, Any]
"""One statement of a policy, as JSON has it."""

SCHEDULE_GROUP = "clary"
"""The group of EventBridge schedules that start the next attempt of a suspended run."""
BUILD_CONTEXTS = "build-context-store"
"""The folder of the artifact store where builders find what they build."""
WRITE_TESTS = "doctor"
"""The folder of the artifact store where `doctor` tries whether it may write."""
AWS_SECRETS, SSM_SECRETS = "aws", "ssm"
"""The flavors of secrets managers that need rights."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What policies are about: the places and roles of one stack.

    Every text goes into the policy as it is: who makes a scope of foreign text escapes it with ``literal`` first.
    """

    partition: str
    """``aws``, ``aws-cn``, ``aws-us-gov`` …"""
    region: str
    account: str
    """12 digits."""
    bucket: str
    prefix: str = ""
    """Of the artifact store in the bucket, without slashes at its ends; empty: the whole bucket."""
    execution_role: str
    """ARN."""
    scheduler_role: str | None = None
    """ARN; None: suspended runs are not woken by schedules."""
    registry: str | None = None
    """ARN, or pattern of ARNs, of the repositories that images are pushed to; None: none."""
    images: tuple[str, ...] = ()
    """ARNs, or patterns, of the repositories that jobs' images are pulled from."""
    inputs: tuple[str, ...] = ()
    """Further places in S3 that jobs read, as ``bucket/prefix``."""
    folders: tuple[str, ...] = ()
    """Further places in S3 that jobs read and write."""
    secrets: str | None = None
    """``aws`` (Secrets Manager), ``ssm`` (parameters), or None where secrets are kept outside AWS."""
    secrets_prefix: str = "clary/"
    """What the names of the stack's secrets begin with."""
    secrets_keys: tuple[str, ...] = ()
    """KMS keys that encrypt secrets: ARNs, or aliases (``alias/NAME``) of the account's. The service's own: none."""
    volume_keys: tuple[str, ...] = ()
    """KMS keys that encrypt the volumes of jobs, likewise."""
    data_keys: tuple[str, ...] = ()
    """KMS keys that encrypt what SageMaker stores for jobs, likewise."""
    subnets: tuple[str, ...] = ()
    """Ids of the subnets that jobs run in; empty: jobs run in no VPC of the account."""
    security_groups: tuple[str, ...] = ()
    registry_lambda: str | None = None
    """ARN of the function that gives a private registry's credentials."""
    training_plan: str | None = None
    """ARN of the reserved capacity that jobs use."""
    remote_debug: bool = False
    """Whether people may open a shell in a job's container."""
    isolated: bool = False
    """Whether flows may run checkpoints in jobs of their own, which the flow's job asks for itself."""

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a regional resource of the account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def key(self, path: str = "*") -> str:
        """Return the ARN of objects under the artifact store."""
        return f"arn:{self.partition}:s3:::{self.bucket}/{self.below(path)}"

    def below(self, path: str) -> str:
        """Return the key of something under the artifact store."""
        return f"{self.prefix}/{path}" if self.prefix else path


def literal(text: str) -> str:
    """Return text for a policy's resource or condition in which ``*``, ``?`` and ``$`` mean themselves.

    Source: IAM User Guide, "Policy variables", special characters.
    """
    return "".join(f"${{{sign}}}" if sign in "*?$" else sign for sign in text)


def allow(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Any] | None = None
) -> Statement:
    """Return a statement that allows actions on resources."""
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": sorted(resources)}
    return statement | ({"Condition": dict(condition)} if condition else {})


# -- the artifact store


def list_artifacts(scope: Scope) -> Statement:
    """List the store; also what makes S3 answer 404 rather than 403 for an object that is not there.

    "IfExists": a look at an object or the bucket itself has no ``s3:prefix``, and Clary must be able to tell an absent
    object from a forbidden one (the next entry of a log). It leaves the names, not the contents, of the rest of the
    bucket open to a listing without a prefix.
    """
    condition = {"StringLikeIfExists": {"s3:prefix": [scope.below("*")]}} if scope.prefix else None
    return allow("ListArtifacts", ["s3:ListBucket"], [f"arn:{scope.partition}:s3:::{scope.bucket}"], condition)


def read_artifacts(scope: Scope) -> Statement:
    """Read what is in the store."""
    return allow("ReadArtifacts", ["s3:GetObject"], [scope.key()])


def write_artifacts(scope: Scope, *folders: str) -> Statement:
    """Write into the store, or only into some of its folders. The abort is for uploads in parts that fail."""
    where = [scope.key(f"{folder}/*") for folder in folders] or [scope.key()]
    return allow("WriteArtifacts", ["s3:AbortMultipartUpload", "s3:PutObject"], where)


def use_folders(scope: Scope) -> list[Statement]:
    """Read the stack's input data; read and write its further folders, such as SageMaker's checkpoint folder."""
    found = []
    places = [place.partition("/") for place in (*scope.inputs, *scope.folders)]
    arn = f"arn:{scope.partition}:s3:::"
    if places:
        condition = {"StringLikeIfExists": {"s3:prefix": sorted({f"{prefix}*" for _, _, prefix in places})}}
        buckets = {arn + bucket for bucket, _, _ in places}
        found.append(allow("ListFolders", ["s3:ListBucket"], buckets, condition))
        found.append(
            allow("ReadFolders", ["s3:GetObject"], {f"{arn}{bucket}/{prefix}*" for bucket, _, prefix in places})
        )
    if scope.folders:
        writing = ["s3:AbortMultipartUpload", "s3:PutObject"]
        found.append(allow("WriteFolders", writing, [f"{arn}{folder}/*" for folder in scope.folders]))
    return found


# -- images


def sign_in_to_registry() -> Statement:
    """Get a registry token. Source: the action knows no resource."""
    return allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])


def pull_images(repositories: Iterable[str]) -> Statement:
    """Pull images."""
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return allow("PullImages", actions, repositories)


def push_images(scope: Scope) -> list[Statement]:
    """Make the registry's repository, look at it, push to it."""
    if scope.registry is None:
        return []
    actions = ["CompleteLayerUpload", "CreateRepository", "DescribeImages", "DescribeRepositories"]
    actions += ["InitiateLayerUpload", "PutImage", "UploadLayerPart"]
    return [allow("PushImages", [f"ecr:{action}" for action in actions], [scope.registry])]


# -- what SageMaker does under the execution role


def write_job_logs(scope: Scope) -> Statement:
    """Write the output of jobs, in groups that the first job makes."""
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    return allow("WriteJobLogs", actions, [_job_logs(scope)])


def publish_metrics() -> Statement:
    """Publish the metrics of jobs. Source: the action knows no resource; the namespace is SageMaker's."""
    condition = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
    return allow("PublishJobMetrics", ["cloudwatch:PutMetricData"], ["*"], condition)


def use_keys(scope: Scope) -> list[Statement]:
    """Use the KMS keys that the stack's settings name."""
    grants = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [
        *_with_keys(scope, "EncryptVolumes", ["kms:CreateGrant"], scope.volume_keys, grants),
        *_with_keys(scope, "EncryptOutput", ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], scope.data_keys),
    ]


def _with_keys(
    scope: Scope, sid: str, actions: list[str], keys: Iterable[str], condition: Mapping[str, Any] | None = None
) -> list[Statement]:
    """A policy cannot name a key by its alias. Source: KMS guide, "Specifying KMS keys in IAM policy statements"."""
    aliases = [key for key in keys if key.startswith("alias/")]
    arns = [key for key in keys if not key.startswith("alias/")]
    found = [allow(sid, actions, arns, condition)] if arns else []
    if aliases:
        named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": sorted(aliases)}}
        found.append(allow(f"{sid}ByAlias", actions, [scope.arn("kms", "key/*")], {**(condition or {}), **named}))
    return found


def join_vpc(scope: Scope) -> list[Statement]:
    """Put network interfaces into the stack's subnets, and look at them. Source: Describe actions know no resource."""
    if not scope.subnets:
        return []
    interfaces = scope.arn("ec2", "network-interface/*")
    parts = [scope.arn("ec2", f"subnet/{subnet}") for subnet in scope.subnets]
    parts += [scope.arn("ec2", f"security-group/{group}") for group in scope.security_groups]
    described = ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
    managed = ("CreateNetworkInterfacePermission", "DeleteNetworkInterface", "DeleteNetworkInterfacePermission")
    return [
        allow("MakeNetworkInterfaces", ["ec2:CreateNetworkInterface"], [interfaces, *parts]),
        allow("UseNetworkInterfaces", [f"ec2:{action}" for action in managed], [interfaces]),
        allow("LookAtNetwork", [f"ec2:Describe{what}" for what in described], ["*"]),
    ]


def reach_private_registry(scope: Scope) -> list[Statement]:
    """Ask the function that gives a private registry's credentials. Source: developer guide, "Use a Private Docker
    Registry for Training".
    """
    if scope.registry_lambda is None:
        return []
    return [allow("AskForRegistryCredentials", ["lambda:InvokeFunction"], [scope.registry_lambda])]


def open_shells(scope: Scope) -> list[Statement]:
    """Let Systems Manager open a shell in the container. Source: developer guide, "Access a training container through
    AWS Systems Manager for remote debugging"; the actions know no resource.
    """
    if not scope.remote_debug:
        return []
    verbs = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
    return [allow("OpenShells", [f"ssmmessages:{verb}" for verb in verbs], ["*"])]


def run_isolated_checkpoints(scope: Scope) -> list[Statement]:
    """Ask for the jobs of isolated checkpoints from inside the flow's job, watch and stop them.

    They run under the same role as a rule: it hands itself to SageMaker, and to nobody else.
    """
    if not scope.isolated:
        return []
    return [start_jobs(scope), watch_and_stop_jobs(scope), pass_execution_role(scope)]


# -- jobs, as the one who submits them


def start_jobs(scope: Scope) -> Statement:
    """Start training jobs, with tags.

    Jobs are named after their flows, so no pattern of names tells Clary's from others; PassRole keeps it to jobs under
    the stack's role.
    """
    plan = [scope.training_plan] if scope.training_plan else []
    return allow("StartJobs", ["sagemaker:AddTags", "sagemaker:CreateTrainingJob"], [_jobs(scope), *plan])


def watch_and_stop_jobs(scope: Scope) -> Statement:
    """Look at training jobs and stop them."""
    actions = ["sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"]
    return allow("WatchAndStopJobs", actions, [_jobs(scope)])


def pass_execution_role(scope: Scope) -> Statement:
    """Hand the execution role to SageMaker, and to nobody else."""
    return _pass_role("PassExecutionRole", scope.execution_role, "sagemaker.amazonaws.com")


def read_job_logs(scope: Scope) -> Statement:
    """Read the output of jobs."""
    return allow("ReadJobLogs", ["logs:DescribeLogStreams", "logs:GetLogEvents"], [_job_logs(scope)])


def keep_schedules(scope: Scope) -> list[Statement]:
    """Make, look at and take back the one-time schedules that wake suspended runs."""
    if scope.scheduler_role is None:
        return []
    actions = ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:GetSchedule"]
    return [
        allow("KeepSchedules", actions, [scope.arn("scheduler", f"schedule/{SCHEDULE_GROUP}/*")]),
        _pass_role("PassSchedulerRole", scope.scheduler_role, "scheduler.amazonaws.com"),
    ]


# -- secrets


def read_secrets(scope: Scope) -> list[Statement]:
    """Read the values of the stack's secrets, as a job does."""
    reading = {AWS_SECRETS: "secretsmanager:GetSecretValue", SSM_SECRETS: "ssm:GetParameters"}
    if scope.secrets not in reading:
        return []
    return [
        allow("ReadSecrets", [reading[scope.secrets]], [_secrets(scope)]),
        *_with_keys(scope, "DecryptSecrets", ["kms:Decrypt"], scope.secrets_keys),
    ]


def keep_secrets(scope: Scope) -> list[Statement]:
    """Set, list, show and delete the stack's secrets. Source: the actions that list know no resource."""
    verbs: tuple[str, ...]
    if scope.secrets == AWS_SECRETS:
        verbs = ("CreateSecret", "DeleteSecret", "DescribeSecret", "GetSecretValue", "PutSecretValue", "TagResource")
        keep, listing = [f"secretsmanager:{verb}" for verb in verbs], "secretsmanager:ListSecrets"
    elif scope.secrets == SSM_SECRETS:
        verbs = ("AddTagsToResource", "DeleteParameters", "GetParametersByPath", "PutParameter")
        keep, listing = [f"ssm:{verb}" for verb in verbs], "ssm:DescribeParameters"
    else:
        return []
    encrypt = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
    return [
        allow("KeepSecrets", keep, [_secrets(scope)]),
        allow("ListSecrets", [listing], ["*"]),
        *_with_keys(scope, "EncryptSecrets", encrypt, scope.secrets_keys),
    ]


def _secrets(scope: Scope) -> str:
    """Source: SSM's ARNs hold one slash where the parameter's name begins with one; parameters are kept in a folder."""
    if scope.secrets == AWS_SECRETS:
        return scope.arn("secretsmanager", f"secret:{scope.secrets_prefix}*")
    return scope.arn("ssm", f"parameter/{scope.secrets_prefix.strip('/')}/*")


# -- looks, by which `stack create` and `doctor` tell what is wrong; runs work without them


def look_at_roles(scope: Scope) -> Statement:
    """See that the roles are there, whom they trust, and what they may do."""
    actions = ("GetRole", "ListAttachedRolePolicies", "ListRolePolicies", "SimulatePrincipalPolicy")
    roles = [scope.execution_role, *([scope.scheduler_role] if scope.scheduler_role else [])]
    return allow("LookAtRoles", [f"iam:{action}" for action in actions], roles)


def look_at_own_rights(scope: Scope) -> Statement:
    """Ask IAM what one may do oneself, as a user: a policy cannot name the role of whoever is in a session."""
    own = f"arn:{scope.partition}:iam::{scope.account}:user/${{aws:username}}"
    return allow("LookAtOwnRights", ["iam:SimulatePrincipalPolicy"], [own])


def look_at_bucket(scope: Scope) -> list[Statement]:
    """See how the bucket is encrypted; take the object of the write test away again."""
    bucket = f"arn:{scope.partition}:s3:::{scope.bucket}"
    return [
        allow("LookAtBucket", ["s3:GetEncryptionConfiguration"], [bucket]),
        allow("LookAtBucketLeavingNothing", ["s3:DeleteObject"], [scope.key(f"{WRITE_TESTS}/*")]),
    ]


def look_at_images(scope: Scope) -> list[Statement]:
    """See that the repository and the image are there, and for which machines the image is."""
    if not scope.images:
        return []
    actions = ["ecr:BatchGetImage", "ecr:DescribeRepositories", "ecr:GetDownloadUrlForLayer"]
    return [allow("LookAtImages", actions, scope.images)]


def look_at_account(scope: Scope) -> list[Statement]:
    """See quotas, log groups and the registry's sign-in; with a VPC, its routes. Source: no action knows a resource."""
    actions = ["ecr:GetAuthorizationToken", "logs:DescribeLogGroups", "servicequotas:ListServiceQuotas"]
    if scope.subnets:
        described = ("RouteTables", "SecurityGroups", "Subnets", "VpcEndpoints")
        actions += [f"ec2:Describe{what}" for what in described]
    return [allow("LookAtAccount", actions, ["*"])]


def look_at_keys(scope: Scope) -> list[Statement]:
    """See that the keys are there and switched on."""
    keys = {*scope.volume_keys, *scope.data_keys}
    return _with_keys(scope, "LookAtKeys", ["kms:DescribeKey"], keys)


def _jobs(scope: Scope) -> str:
    return scope.arn("sagemaker", "training-job/*")


def _job_logs(scope: Scope) -> str:
    """The pattern covers the groups and, behind a colon, their streams."""
    return scope.arn("logs", "log-group:/aws/sagemaker/*")


def _pass_role(sid: str, role: str, service: str) -> Statement:
    return allow(sid, ["iam:PassRole"], [role], {"StringEquals": {"iam:PassedToService": service}})

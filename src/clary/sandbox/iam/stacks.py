"""What a CloudFormation stack makes, changes and deletes needs the rights of who asked, resource by resource.

Each resource of the template becomes the requests that CloudFormation sends for it, which the table weighs like any
other. On AWS a lack shows as a resource that could not be made and a rollback; here it refuses the whole operation
before anything is made, in the same words. A type of resource that is not listed here is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

Step = tuple[str, str, dict[str, Any]]
"""Service, operation and parameters of one request."""
_SUB = re.compile(r"\$\{(!?[\w:.]+)\}")
_UNKNOWN = "*"


@dataclass(frozen=True)
class _Kind:
    """What is sent to make and to delete one type of resource."""

    create: Callable[[Mapping[str, Any]], list[Step]]
    delete: Callable[[Mapping[str, Any]], list[Step]]
    name: str
    """The property that names it."""


def _bucket(props: Mapping[str, Any]) -> list[Step]:
    parts = {
        "BucketEncryption": "PutBucketEncryption",
        "CorsConfiguration": "PutBucketCors",
        "LifecycleConfiguration": "PutBucketLifecycleConfiguration",
        "LoggingConfiguration": "PutBucketLogging",
        "NotificationConfiguration": "PutBucketNotificationConfiguration",
        "OwnershipControls": "PutBucketOwnershipControls",
        "PublicAccessBlockConfiguration": "PutPublicAccessBlock",
        "Tags": "PutBucketTagging",
        "VersioningConfiguration": "PutBucketVersioning",
    }
    wanted = ["CreateBucket", *(operation for part, operation in parts.items() if part in props)]
    return [("s3", operation, {"Bucket": props["BucketName"]}) for operation in wanted]


def _repository(props: Mapping[str, Any]) -> list[Step]:
    name = {"repositoryName": props["RepositoryName"]}
    steps: list[Step] = [("ecr", "CreateRepository", {**name, "tags": props.get("Tags", [])})]
    steps += [("ecr", "PutLifecyclePolicy", name)] if "LifecyclePolicy" in props else []
    return steps + ([("ecr", "SetRepositoryPolicy", name)] if "RepositoryPolicyText" in props else [])


def _role(props: Mapping[str, Any]) -> list[Step]:
    given = {name: props[name] for name in ("RoleName", "Path", "PermissionsBoundary", "Tags") if name in props}
    steps: list[Step] = [("iam", "CreateRole", given)]
    steps += [("iam", "TagRole", given)] if props.get("Tags") else []
    steps += [("iam", "PutRolePolicy", given) for _ in props.get("Policies", ())]
    return steps + [
        ("iam", "AttachRolePolicy", {**given, "PolicyArn": arn}) for arn in props.get("ManagedPolicyArns", ())
    ]


def _drop_role(props: Mapping[str, Any]) -> list[Step]:
    steps: list[Step] = [("iam", "DeleteRolePolicy", dict(props)) for _ in props.get("Policies", ())]
    steps += [("iam", "DetachRolePolicy", {**props, "PolicyArn": arn}) for arn in props.get("ManagedPolicyArns", ())]
    return [*steps, ("iam", "DeleteRole", dict(props))]


def _inline(verb: str) -> Callable[[Mapping[str, Any]], list[Step]]:
    kinds = {"Roles": "Role", "Users": "User", "Groups": "Group"}
    return lambda props: [
        ("iam", f"{verb}{kind}Policy", {f"{kind}Name": name})
        for member, kind in kinds.items()
        for name in props.get(member, ())
    ]


def _managed(props: Mapping[str, Any]) -> list[Step]:
    made: Step = ("iam", "CreatePolicy", {"PolicyName": props["ManagedPolicyName"], "Path": props.get("Path", "/")})
    return [made, *(("iam", "AttachRolePolicy", {"RoleName": name}) for name in props.get("Roles", ()))]


def _log_group(props: Mapping[str, Any]) -> list[Step]:
    name = {"logGroupName": props["LogGroupName"]}
    steps: list[Step] = [("logs", "CreateLogGroup", {**name, "tags": props.get("Tags", [])})]
    return steps + ([("logs", "PutRetentionPolicy", name)] if "RetentionInDays" in props else [])


def _rule(props: Mapping[str, Any]) -> list[Step]:
    pattern = json.dumps(props.get("EventPattern", {}))
    steps: list[Step] = [("events", "PutRule", {**props, "EventPattern": pattern})]
    return steps + ([("events", "PutTargets", {**props, "Rule": props["Name"]})] if props.get("Targets") else [])


def _one(service: str, operation: str, **members: str) -> Callable[[Mapping[str, Any]], list[Step]]:
    """Return the one request of a type; ``members`` are the request's names for properties that it names otherwise."""
    return lambda props: [
        (service, operation, {**props, **{member: props.get(own, "") for member, own in members.items()}})
    ]


_KINDS: Mapping[str, _Kind] = {
    "AWS::S3::Bucket": _Kind(_bucket, _one("s3", "DeleteBucket", Bucket="BucketName"), "BucketName"),
    "AWS::S3::BucketPolicy": _Kind(_one("s3", "PutBucketPolicy"), _one("s3", "DeleteBucketPolicy"), "Bucket"),
    "AWS::ECR::Repository": _Kind(
        _repository, _one("ecr", "DeleteRepository", repositoryName="RepositoryName"), "RepositoryName"
    ),
    "AWS::IAM::Role": _Kind(_role, _drop_role, "RoleName"),
    "AWS::IAM::Policy": _Kind(_inline("Put"), _inline("Delete"), "PolicyName"),
    "AWS::IAM::ManagedPolicy": _Kind(_managed, _one("iam", "DeletePolicy", PolicyArn="Arn"), "ManagedPolicyName"),
    "AWS::Logs::LogGroup": _Kind(
        _log_group, _one("logs", "DeleteLogGroup", logGroupName="LogGroupName"), "LogGroupName"
    ),
    "AWS::Events::Rule": _Kind(_rule, _one("events", "DeleteRule"), "Name"),
    "AWS::SQS::Queue": _Kind(_one("sqs", "CreateQueue", tags="Tags"), _one("sqs", "DeleteQueue"), "QueueName"),
    "AWS::Scheduler::ScheduleGroup": _Kind(
        _one("scheduler", "CreateScheduleGroup", Group="Name"),
        _one("scheduler", "DeleteScheduleGroup", Group="Name"),
        "Name",
    ),
    "AWS::Scheduler::Schedule": _Kind(_one("scheduler", "CreateSchedule"), _one("scheduler", "DeleteSchedule"), "Name"),
    "AWS::SecretsManager::Secret": _Kind(
        _one("secretsmanager", "CreateSecret"), _one("secretsmanager", "DeleteSecret", SecretId="Name"), "Name"
    ),
    "AWS::SSM::Parameter": _Kind(_one("ssm", "PutParameter"), _one("ssm", "DeleteParameter"), "Name"),
    "AWS::KMS::Key": _Kind(_one("kms", "CreateKey"), _one("kms", "ScheduleKeyDeletion", KeyId="Id"), "Id"),
    "AWS::KMS::Alias": _Kind(_one("kms", "CreateAlias"), _one("kms", "DeleteAlias"), "AliasName"),
}
_NONE = ("AWS::CloudFormation::WaitConditionHandle", "AWS::CloudFormation::WaitCondition")
"""Types that CloudFormation makes by itself."""


class UnknownType(Exception):  # noqa: N818 - a fact about the template, not a mistake of the program
    """A type of resource whose requests are not known here; the text names it."""


@dataclass(frozen=True)
class _Resource:
    kind: str
    props: Mapping[str, Any]
    kept: bool
    """Whether it stays when the stack goes."""


@dataclass
class _Template:
    """A template with its values filled in, as far as names need it."""

    call: Call
    stack: str
    document: Mapping[str, Any]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def resources(self) -> dict[str, _Resource]:
        """Return the resources by their logical names."""
        return {
            logical: _Resource(
                str(one.get("Type")),
                self._props(logical, one),
                str(one.get("DeletionPolicy", "Delete")).startswith("Retain"),
            )
            for logical, one in self.document.get("Resources", {}).items()
        }

    def _props(self, logical: str, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        filled = self._fill(resource.get("Properties", {}))
        kind = _KINDS.get(str(resource.get("Type")))
        return {kind.name: f"{self.stack}-{logical}-*", **filled} if kind is not None else filled

    def _fill(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._fill(one) for one in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, inner = next(iter(value.items()))
            if name == "Ref":
                return self._ref(str(inner))
            if name == "Fn::Sub":
                return self._sub(inner)
            if name == "Fn::Join":
                return str(inner[0]).join(str(self._fill(one)) for one in inner[1])
            if name.startswith("Fn::"):
                return _UNKNOWN
        return {name: self._fill(inner) for name, inner in value.items()}

    def _sub(self, inner: Any) -> str:
        text, own = (inner, {}) if isinstance(inner, str) else (inner[0], self._fill(inner[1]))
        return _SUB.sub(lambda match: str(own.get(match[1]) or self._ref(match[1])), text)

    def _ref(self, name: str) -> str:
        pseudo = {
            "AWS::AccountId": self.call.account,
            "AWS::Region": self.call.region,
            "AWS::Partition": self.call.partition,
            "AWS::StackName": self.stack,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        parameter = self.document.get("Parameters", {}).get(name)
        if parameter is not None:
            return str(self.parameters.get(name, parameter.get("Default", "")))
        resource = self.document.get("Resources", {}).get(name)
        kind = _KINDS.get(str(resource.get("Type"))) if resource is not None else None
        return str(self._props(name, resource)[kind.name]) if kind is not None and resource is not None else _UNKNOWN


def calls_of(call: Call) -> Iterator[Call]:
    """Yield the requests that CloudFormation sends for an operation on a stack; raises UnknownType."""
    name = call.text("StackName")
    old = _existing(call, name)
    if call.operation in ("CreateStack", "UpdateStack"):
        new = _Template(call, name, _document(call), _parameters(call)).resources()
    elif call.operation == "ExecuteChangeSet":
        new = _of_change_set(call)
    elif call.operation == "DeleteStack":
        new = {}
    else:
        return
    for logical, resource in new.items():
        if resource != old.get(logical):
            yield from _requests(call, resource, create=True)
    for logical, resource in old.items():
        if logical not in new and not resource.kept:
            yield from _requests(call, resource, create=False)


def _requests(call: Call, resource: _Resource, *, create: bool) -> Iterator[Call]:
    if resource.kind in _NONE:
        return
    kind = _KINDS.get(resource.kind)
    if kind is None:
        raise UnknownType(resource.kind)
    for service, operation, params in (kind.create if create else kind.delete)(resource.props):
        yield replace(call, service=service, operation=operation, params=params, headers={})


def _backend(call: Call) -> Any:
    from moto.cloudformation.models import cloudformation_backends

    return cloudformation_backends[call.account][call.region]


def _existing(call: Call, name: str) -> dict[str, _Resource]:
    for stack in list(_backend(call).stacks.values()):
        if name in (stack.name, stack.stack_id) and stack.status != "DELETE_COMPLETE":
            return _Template(call, stack.name, stack.template_dict, dict(stack.parameters)).resources()
    return {}


def _of_change_set(call: Call) -> dict[str, _Resource]:
    name = call.text("ChangeSetName")
    for change in list(_backend(call).change_sets.values()):
        if name in (change.change_set_name, change.change_set_id):
            document = change.template_dict
            return _Template(call, change.stack.name, document, dict(change.parameters or {})).resources()
    return {}


def _document(call: Call) -> Mapping[str, Any]:
    """Read the template of a request: the one in it, or the one that the stack has."""
    text = call.text("TemplateBody")
    if text:
        return _loaded(text)
    if call.text("TemplateURL"):
        raise UnknownType("of a template behind TemplateURL; send it as TemplateBody")
    name = call.text("StackName")
    stacks = [one for one in list(_backend(call).stacks.values()) if name in (one.name, one.stack_id)]
    return stacks[0].template_dict if stacks else {}


def _loaded(text: str) -> Mapping[str, Any]:
    """Read a template in JSON or YAML, with the short forms of CloudFormation's functions."""
    import yaml
    from moto.cloudformation.utils import yaml_tag_constructor

    class Loader(yaml.SafeLoader):
        """Knows ``!Ref`` and its like."""

    Loader.add_multi_constructor("!", lambda loader, tag, node: yaml_tag_constructor(loader, f"!{tag}", node))
    try:
        found = yaml.load(text, Loader=Loader)  # noqa: S506 - it is a safe loader
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _parameters(call: Call) -> dict[str, str]:
    keys = {
        name: value
        for name, value in call.params.items()
        if re.fullmatch(r"Parameters\.member\.\d+\.ParameterKey", name)
    }
    return {value: call.text(name.removesuffix("Key") + "Value") for name, value in keys.items()}

"""One request as the table reads it: service, operation and parameters, whatever protocol it came in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote

from clary.sandbox.wire import read_body

if TYPE_CHECKING:
    from clary.sandbox.wire import Request

_SERVICES = {
    "SageMaker": "sagemaker",
    "ServiceQuotasV20190624": "servicequotas",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "Logs_20140328": "logs",
    "AWSEvents": "events",
    "AmazonSQS": "sqs",
    "secretsmanager": "secretsmanager",
    "AmazonSSM": "ssm",
    "TrentService": "kms",
}
"""The IAM prefixes of services by the target prefix of their JSON protocol (botocore's models)."""


class Facts(Protocol):
    """What the table may look up of resources that exist."""

    def tags(self, arn: str) -> Mapping[str, str]:
        """Return the tags of a resource; empty when it is unknown here."""

    def path_of(self, kind: str, name: str, account: str) -> str:
        """Return path and name of a role, user or group, such as ``team/x``; the name alone when it is unknown."""

    def user_name(self, access_key: str) -> str:
        """Return the user whose access key this is; empty for none."""

    def boundary(self, role: str, account: str) -> str:
        """Return the ARN of a role's permissions boundary; empty for none."""

    def secret_name(self, name: str, account: str, region: str) -> str:
        """Return the last part of a secret's ARN for its name or ARN: the name and six random characters."""

    def key_id(self, name: str, account: str, region: str) -> str:
        """Return the id of a KMS key for its id, ARN, alias or alias ARN."""

    def stack_id(self, name: str, account: str, region: str) -> str:
        """Return ``name/id`` of a CloudFormation stack for its name or ARN; ``name/*`` when there is none."""


@dataclass(frozen=True)
class Call:
    """What is asked for."""

    service: str
    """The prefix of the service's actions, such as ``sagemaker``."""
    operation: str
    account: str
    region: str
    facts: Facts
    params: Mapping[str, Any] = field(default_factory=dict)
    """The members of the request; of a query protocol request the flat names, such as ``Tags.member.1.Key``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header names in lower case."""
    access_key: str = ""

    @property
    def partition(self) -> str:
        """The partition of the region."""
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b"}
        prefixes |= {"eusc-": "aws-eusc"}
        return next((name for prefix, name in prefixes.items() if self.region.startswith(prefix)), "aws")

    def get(self, path: str) -> Any:
        """Return a member by its path, such as ``OutputDataConfig.KmsKeyId``; None when it is not there."""
        if path in self.params:
            return self.params[path]
        found: Any = self.params
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def text(self, path: str) -> str:
        """Return a member as text; empty when it is not there."""
        found = self.get(path)
        return "" if found is None else str(found)

    def texts(self, path: str) -> list[str]:
        """Return a list of texts, of a JSON or a query protocol request (``path.member.N``, ``path.N``)."""
        found = self.get(path)
        if isinstance(found, Sequence) and not isinstance(found, str):
            return [str(one) for one in found]
        return [self.params[name] for name in self._numbered(path, "")]

    def tags(self, path: str) -> dict[str, str]:
        """Return the tags that a request carries: a list of Key and Value, a map, or numbered pairs."""
        found = self.get(path)
        if isinstance(found, Mapping):
            return {str(key): str(value) for key, value in found.items()}
        if isinstance(found, Sequence) and not isinstance(found, str):
            return dict(_pair(one) for one in found if isinstance(one, Mapping))
        keys = list(self._numbered(path, r"\.Key"))
        return {self.params[key]: self.params.get(key.removesuffix("Key") + "Value", "") for key in keys}

    def _numbered(self, path: str, suffix: str) -> Iterator[str]:
        pattern = re.compile(rf"{re.escape(path)}(?:\.member|\.entry)?\.\d+{suffix}")
        return (name for name in self.params if pattern.fullmatch(name))


def _pair(tag: Mapping[str, Any]) -> tuple[str, str]:
    """Return key and value of a tag; the services spell the members in three ways."""
    for key, value in (("Key", "Value"), ("key", "value"), ("TagKey", "TagValue")):
        if key in tag:
            return str(tag[key]), str(tag.get(value, ""))
    return "", ""


def read_call(request: Request, document: Any, account: str, facts: Facts) -> Call | None:
    """Return a request other than S3's as a Call; None when the protocol does not tell the operation.

    ``document`` is the parsed body of a JSON request that has been read already.
    """
    common: dict[str, Any] = {
        "account": account,
        "region": request.region,
        "facts": facts,
        "access_key": request.access_key or "",
    }
    headers = read_headers(request)
    if request.target:
        prefix, _, operation = request.target.partition(".")
        service = _SERVICES.get(prefix)
        params = _object(read_body(request.environ)) if document is None else document
        if service is None or not isinstance(params, dict):
            return None
        return Call(service, operation, params=params, headers=headers, **common)
    if request.action:
        form = dict(parse_qsl(read_body(request.environ).decode("utf-8", "replace"), keep_blank_values=True))
        form |= {name: values[0] for name, values in request.query.items()}
        return Call(request.service, request.action, params=form, headers=headers, **common)
    if request.service == "scheduler":
        return _scheduler(request, headers, common)
    return None


def read_headers(request: Request) -> dict[str, str]:
    """Return the headers by their names in lower case."""
    return {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in request.environ.items()
        if name.startswith("HTTP_")
    }


_SCHEDULER = (
    (re.compile(r"/schedules/(?P<Name>[^/]+)"), {"POST": "Create", "PUT": "Update", "GET": "Get", "DELETE": "Delete"}),
    (re.compile(r"/schedule-groups/(?P<Group>[^/]+)"), {"POST": "Create", "GET": "Get", "DELETE": "Delete"}),
)
_SCHEDULER_KINDS = ("Schedule", "ScheduleGroup")


def _scheduler(request: Request, headers: Mapping[str, str], common: Mapping[str, Any]) -> Call | None:
    """Read a request of EventBridge Scheduler, whose protocol is REST (botocore's model of the service)."""
    body = _object(read_body(request.environ))
    query = {name: values[0] for name, values in request.query.items()}
    path = request.path.rstrip("/")
    lists = {"/schedules": "ListSchedules", "/schedule-groups": "ListScheduleGroups"}
    if path in lists and request.method == "GET":
        return Call("scheduler", lists[path], params=query, headers=headers, **common)
    if path.startswith("/tags/"):
        verbs = {"GET": "ListTagsForResource", "POST": "TagResource", "DELETE": "UntagResource"}
        params = {**body, **query, "ResourceArn": unquote(path.removeprefix("/tags/"))}
        return Call("scheduler", verbs.get(request.method, request.method), params=params, headers=headers, **common)
    for (pattern, verbs), kind in zip(_SCHEDULER, _SCHEDULER_KINDS, strict=True):
        match = pattern.fullmatch(path)
        if match and request.method in verbs:
            params = {**body, **query, **{name: unquote(value) for name, value in match.groupdict().items()}}
            params.setdefault("GroupName", query.get("groupName", "default"))
            return Call("scheduler", verbs[request.method] + kind, params=params, headers=headers, **common)
    return None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

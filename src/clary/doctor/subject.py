"""A stack under examination, and what several checks need to know of it, asked for once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clary.errors import ClaryError
from clary.stacks.access import open_aws
from clary.stacks.scope import scope_of

if TYPE_CHECKING:
    from clary.sagemaker.permissions import Scope
    from clary.sagemaker.settings import JobSettings
    from clary.stacks.model import Stack

T = TypeVar("T")


class Once(Generic[T]):
    """A value that is made at the first call, by one thread, and remembered: an error too."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []
        self._error: Exception | None = None

    def __call__(self) -> T:
        """Return the value, or raise what making it raised."""
        with self._lock:
            if not self._made and self._error is None:
                try:
                    self._made.append(self._make())
                except Exception as error:  # noqa: BLE001 every asker is to hear of it
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._made[0]


@dataclass(frozen=True)
class Caller:
    """Who the credentials are."""

    arn: str
    account: str


@dataclass(frozen=True)
class Moment:
    """The clock of AWS beside that of this machine, at one moment."""

    theirs: datetime
    """From the Date header, whole seconds."""
    ours: float
    """Epoch seconds."""

    @property
    def ahead(self) -> float:
        """How many seconds this machine's clock is ahead."""
        return self.ours - self.theirs.timestamp()


@dataclass(frozen=True)
class Attached:
    """The policies of a role."""

    managed: Mapping[str, str]
    """Names of managed policies to their ARNs."""
    inline: tuple[str, ...]


@dataclass(frozen=True)
class Quota:
    """One quota of SageMaker as it holds for the account and region."""

    code: str
    value: float
    adjustable: bool


class Subject:
    """A stack, its way to AWS, and shared facts. Each fact is a call that raises what AWS refused."""

    def __init__(self, stack: Stack) -> None:
        role = stack.settings.get("execution_role") or stack.execution_role
        self.stack = replace(stack, execution_role=role)
        """The stack, with the role that its jobs run under: its settings may name another."""
        self.aws = open_aws(stack)
        self.settings = Once(self._settings)
        """The stack's job settings, checked."""
        self.moment = Once(self._moment)
        """The two clocks; raises when AWS does not answer at all."""
        self.caller = Once(self._caller)
        self.scope: Once[Scope] = Once(lambda: scope_of(self.stack))
        self.attached = Once(self._attached)
        """The policies of the execution role."""
        self.quotas = Once(self._quotas)
        """Every quota of SageMaker by its name."""
        self._answer: Once[tuple[dict[str, Any], float]] = Once(self._identity)

    @property
    def role(self) -> str:
        """ARN of the execution role."""
        return self.stack.execution_role or ""

    @property
    def role_name(self) -> str:
        """The execution role's name, without its path."""
        return self.role.rpartition("/")[2]

    @property
    def partition(self) -> str:
        """The partition of the stack's ARNs, ``aws`` in most regions."""
        return self.role.split(":")[1]

    @property
    def instance_types(self) -> tuple[str, ...]:
        """The machine types of the stack's jobs, the preferred one first."""
        return self.settings().instance_type

    def _settings(self) -> JobSettings:
        from clary.sagemaker.settings import Use, resolve

        return resolve([("the stack", self.stack.settings)], use=Use.FLOW).settings

    def _identity(self) -> tuple[dict[str, Any], float]:
        with self.aws.call("sts:GetCallerIdentity") as sts:
            return sts.get_caller_identity(), time.time()

    def _caller(self) -> Caller:
        answer, _ = self._answer()
        return Caller(str(answer["Arn"]), str(answer["Account"]))

    def _moment(self) -> Moment:
        """A clock that is far off makes AWS refuse; that refusal tells the time as well."""
        try:
            answer, ours = self._answer()
        except ClaryError as error:
            ours = time.time()
            answer = getattr(error.__cause__, "response", {})
            if "ResponseMetadata" not in answer:
                raise
        return Moment(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]), ours)

    def _attached(self) -> Attached:
        name = self.role_name
        with self.aws.call("iam:ListAttachedRolePolicies", resource=self.role) as iam:
            pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
            managed = {each["PolicyName"]: each["PolicyArn"] for page in pages for each in page["AttachedPolicies"]}
        with self.aws.call("iam:ListRolePolicies", resource=self.role) as iam:
            pages = iam.get_paginator("list_role_policies").paginate(RoleName=name)
            inline = tuple(name for page in pages for name in page["PolicyNames"])
        return Attached(managed, inline)

    def _quotas(self) -> Mapping[str, Quota]:
        """Source: a quota's code cannot be told from its name, so all are listed, a hundred (the most) at a time."""
        from clary.sagemaker.translation import aws_errors

        client = self.aws.client("service-quotas")
        with aws_errors("servicequotas:ListServiceQuotas", endpoint=client.meta.endpoint_url):
            pages = client.get_paginator("list_service_quotas").paginate(
                ServiceCode="sagemaker", PaginationConfig={"PageSize": 100}
            )
            return {
                quota["QuotaName"]: Quota(
                    quota["QuotaCode"], float(quota["Value"]), bool(quota.get("Adjustable", True))
                )
                for page in pages
                for quota in page["Quotas"]
            }

"""One CloudFormation stack: looked at, made, brought up to date, deleted, with its events as they come."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import AwsError, ClaryError, ConflictError, Retry, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.sagemaker.session import Aws

POLL_SECONDS = 2.0
PATIENCE = 1800.0
"""Seconds for which a change is watched; it goes on in AWS all the same."""
_NO_CHANGE = "No updates are to be performed"
_BROKEN = frozenset(
    {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"}
)
"""States in which CloudFormation takes no update."""


@dataclass(frozen=True)
class Event:
    """One line of progress."""

    resource: str
    """Its logical name in the template."""
    type: str
    status: str
    reason: str
    """Why, where CloudFormation says so."""


@dataclass(frozen=True)
class Found:
    """A CloudFormation stack that is there."""

    id: str
    status: str
    outputs: dict[str, str]


class CloudFormation:
    """The stack of one name."""

    def __init__(
        self, aws: Aws, name: str, tell: Callable[[Event], None], *, pause: Callable[[float], object] = time.sleep
    ) -> None:
        """``tell`` is given each event of a change as it comes."""
        self._aws = aws
        self._name = name
        self._tell = tell
        self._pause = pause

    def find(self, ref: str | None = None) -> Found | None:
        """Return the stack, by its name or by an id, which also finds one that was deleted; None if there is none."""
        with self._call("DescribeStacks") as client:
            try:
                answer = client.describe_stacks(StackName=ref or self._name)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
                    return None
                raise
        described = answer["Stacks"][0]
        if ref is None and described["StackStatus"] == "DELETE_COMPLETE":
            return None
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs") or ()}
        return Found(described["StackId"], described["StackStatus"], outputs)

    def apply(self, body: str) -> tuple[str, Found]:
        """Make the stack or bring it up to date; return ``created``, ``updated`` or ``unchanged``, and the stack.

        A stack that could not be made is taken back whole. Raises ConflictError ``bootstrap.broken`` for one that takes
        no update, AwsError ``bootstrap.failed`` with the first reason when the change did not succeed.
        """
        found = self.find()
        if found is not None and found.status.endswith("_IN_PROGRESS"):  # an apply that was cut off, or a colleague's
            self._follow(found.id, seen=set())
            found = self.find()
        if found is None:
            with self._call("CreateStack") as client:
                made = client.create_stack(**self._wanted(body), OnFailure="DELETE")["StackId"]
            return "created", self._watch(made, set(), "CREATE_COMPLETE")
        if found.status in _BROKEN:
            raise self._broken(found)
        if self._template() == json.loads(body):
            return "unchanged", found
        seen = {event["EventId"] for event in self._events(found.id)}
        try:
            with self._call("UpdateStack") as client:
                client.update_stack(**self._wanted(body))
        except ValidationError as error:
            if _NO_CHANGE in error.details.get("service_text", ""):
                return "unchanged", found
            raise
        return "updated", self._watch(found.id, seen, "UPDATE_COMPLETE")

    def delete(self, found: Found) -> None:
        """Delete the stack. Raises AwsError ``bootstrap.failed`` when something of it could not be deleted."""
        seen = {event["EventId"] for event in self._events(found.id)}
        with self._call("DeleteStack") as client:
            client.delete_stack(StackName=self._name)
        self._watch(found.id, seen, "DELETE_COMPLETE")

    def made(self) -> set[str]:
        """Return the logical names of the resources that are there."""
        with self._call("ListStackResources") as client:
            pages = client.get_paginator("list_stack_resources").paginate(StackName=self._name)
            listed = [item for page in pages for item in page["StackResourceSummaries"]]
        return {item["LogicalResourceId"] for item in listed if item.get("PhysicalResourceId")}

    def _template(self) -> Any:
        """Return the template that the stack was made of: botocore decodes one that is JSON."""
        with self._call("GetTemplate") as client:
            return client.get_template(StackName=self._name)["TemplateBody"]

    def _wanted(self, body: str) -> dict[str, Any]:
        return {"StackName": self._name, "TemplateBody": body, "Capabilities": ["CAPABILITY_NAMED_IAM"]}

    def _watch(self, stack: str, seen: set[str], wanted: str) -> Found:
        failures = self._follow(stack, seen)
        found = self.find(stack)
        if found is not None and found.status.startswith(wanted):
            return found
        if found is None and wanted == "DELETE_COMPLETE":
            return Found(stack, wanted, {})
        raise self._failed(found, failures)

    def _follow(self, stack: str, seen: set[str]) -> list[Event]:
        """Tell the events of a change until it is over; return those of what failed."""
        give_up = time.monotonic() + PATIENCE
        failures: list[Event] = []
        while True:
            found = self.find(stack)
            over = found is None or not found.status.endswith("_IN_PROGRESS")
            for raw in self._events(stack):
                if raw["EventId"] in seen:
                    continue
                seen.add(raw["EventId"])
                event = Event(
                    raw["LogicalResourceId"],
                    raw["ResourceType"],
                    raw["ResourceStatus"],
                    raw.get("ResourceStatusReason") or "",
                )
                self._tell(event)
                if event.status.endswith("_FAILED"):
                    failures.append(event)
            if over:
                return failures
            if time.monotonic() > give_up:
                raise AwsError(
                    "bootstrap.still_running",
                    f"CloudFormation is still at work on {self._name} after {PATIENCE / 60:.0f} minutes.",
                    next_step="Run the same command again: it goes on watching. The CloudFormation console shows why.",
                    retry=Retry.LATER,
                )
            self._pause(POLL_SECONDS)

    def _events(self, stack: str) -> Iterator[dict[str, Any]]:
        """Yield the events of the stack, oldest first."""
        with self._call("DescribeStackEvents") as client:
            try:
                pages = client.get_paginator("describe_stack_events").paginate(StackName=stack)
                listed = [event for page in pages for event in page["StackEvents"]]
            except client.exceptions.ClientError as error:
                if "does not exist" not in str(error):
                    raise
                listed = []
        yield from reversed(listed)

    def _call(self, operation: str) -> Any:
        return self._aws.call(f"cloudformation:{operation}", resource=f"the CloudFormation stack {self._name}")

    def _failed(self, found: Found | None, failures: list[Event]) -> ClaryError:
        told = [event for event in failures if "cancelled" not in event.reason] or failures
        first = f" {told[0].resource} ({told[0].type}): {told[0].reason}" if told else ""
        status = found.status if found else "gone"
        return AwsError(
            "bootstrap.failed",
            f"CloudFormation could not do it, {self._name} is {status}.{first}",
            next_step="Mend what the reason names, and run the same command again; what was half made is taken back.",
            details={"status": status, "failures": [vars(event) for event in told]},
        )

    def _broken(self, found: Found) -> ClaryError:
        return ConflictError(
            "bootstrap.broken",
            f"The CloudFormation stack {self._name} is {found.status} and takes no update.",
            next_step=f"Delete it (`aws cloudformation delete-stack --stack-name {self._name}`; bucket and repository "
            "stay), then run this command again.",
            details={"status": found.status},
        )

"""What a schedule does when it is due: one request to its target, with the rights of its role.

Sources: the user guide of EventBridge Scheduler, "Using universal targets", "Adding context attributes", "Configuring a
dead-letter queue" for the attributes of a dead-letter message.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clary.sandbox.operations.context import Caller
from clary.sandbox.records import make_environ
from clary.sandbox.schedule_rules import universal_operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clary.sandbox.gateway import Gateway
    from clary.sandbox.wire import Environ, Response

_log = logging.getLogger(__name__)
_SESSION_SECONDS = 3600
_RENEW_SECONDS = 300.0
"""Real seconds before a session's end from which a new one is made."""
_THROTTLED = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|ServiceUnavailable")


class Refused(Exception):  # noqa: N818 - what the target answered
    """The target's answer, where it has not done what it was asked for."""

    def __init__(self, code: str, message: str, *, passing: bool) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.passing = passing
        """Whether the same may succeed later: throttled, or a fault of the service."""


@dataclass(frozen=True)
class Invocation:
    """One invocation of a target."""

    account: str
    region: str
    group: str
    name: str
    id: str
    scheduled: float
    """The time it was due, in epoch seconds."""
    attempt: int
    target: Mapping[str, Any]

    @property
    def arn(self) -> str:
        """The ARN of the schedule."""
        partition = Caller(self.account, self.region).partition
        return f"arn:{partition}:scheduler:{self.region}:{self.account}:schedule/{self.group}/{self.name}"

    @property
    def scheduled_time(self) -> str:
        """The time it was due, as the service writes it."""
        return f"{datetime.fromtimestamp(self.scheduled, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def input(self) -> str:
        """Return the target's input with its context attributes filled in."""
        values = {
            "schedule-arn": self.arn,
            "scheduled-time": self.scheduled_time,
            "execution-id": self.id,
            "attempt-number": str(self.attempt),
        }
        text = str(self.target.get("Input") or "{}")
        for name, value in values.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return text


class Targets:
    """Sends the requests of invocations through the sandbox's own door, where they are weighed like any other."""

    def __init__(self, gateway: Gateway, send: Callable[[Environ], Response]) -> None:
        self._gateway = gateway
        self._send = send
        self._keys: dict[str, tuple[str, str, float]] = {}

    def invoke(self, invocation: Invocation) -> None:
        """Do what a schedule is for; raises Refused."""
        arn = str(invocation.target["Arn"])
        operation = universal_operation(arn)
        if operation is not None:
            service, _, name = operation.partition(":")
            self._call(invocation, service, f"SageMaker.{name[:1].upper()}{name[1:]}", _object(invocation.input()))
        elif arn.split(":")[2] == "sqs":
            more = {"MessageGroupId": group} if (group := self._group(invocation)) else {}
            self._send_message(invocation, arn, invocation.input(), more)
        else:
            self._put_event(invocation, arn)

    def bury(self, invocation: Invocation, refusal: Refused, exhausted: str) -> None:
        """Send what could not be delivered to the dead-letter queue, if there is one; a queue that refuses is lost."""
        arn = (invocation.target.get("DeadLetterConfig") or {}).get("Arn")
        if not arn:
            return
        told = {
            "ERROR_CODE": refusal.code,
            "ERROR_MESSAGE": refusal.message,
            "EXECUTION_ID": invocation.id,
            "EXHAUSTED_RETRY_CONDITION": exhausted,
            "IS_PAYLOAD_TRUNCATED": "false",
            "RETRY_ATTEMPTS": str(invocation.attempt - 1),
            "SCHEDULED_TIME": invocation.scheduled_time,
            "SCHEDULE_ARN": invocation.arn,
            "TARGET_ARN": str(invocation.target["Arn"]),
        }
        attributes = {
            name: {"DataType": "String", "StringValue": value[:1024]} for name, value in told.items() if value
        }
        try:
            self._send_message(invocation, arn, invocation.input(), {"MessageAttributes": attributes})
        except Refused as lost:
            _log.warning("%s: the dead-letter queue refused: %s", invocation.arn, lost)

    @staticmethod
    def _group(invocation: Invocation) -> str:
        return str((invocation.target.get("SqsParameters") or {}).get("MessageGroupId") or "")

    def _send_message(self, invocation: Invocation, arn: str, body: str, more: Mapping[str, Any]) -> None:
        _, _, _, region, account, name = arn.split(":", 5)
        message = {"QueueUrl": f"http://127.0.0.1/{account}/{name}", "MessageBody": body, **more}
        self._call(invocation, "sqs", "AmazonSQS.SendMessage", message, region=region)

    def _put_event(self, invocation: Invocation, arn: str) -> None:
        asked = invocation.target["EventBridgeParameters"]
        entry = {
            "Source": asked["Source"],
            "DetailType": asked["DetailType"],
            "Detail": invocation.input(),
            "Time": invocation.scheduled,
            "EventBusName": arn,
        }
        self._call(invocation, "events", "AWSEvents.PutEvents", {"Entries": [entry]}, region=arn.split(":")[3])

    def _call(
        self, invocation: Invocation, service: str, target: str, document: Mapping[str, Any], region: str = ""
    ) -> None:
        version = "1.0" if service == "sqs" else "1.1"
        access_key, token = self._session(invocation)
        scope = f"{access_key}/20200101/{region or invocation.region}/{service}/aws4_request"
        headers = {
            "CONTENT_TYPE": f"application/x-amz-json-{version}",
            "HTTP_X_AMZ_TARGET": target,
            "HTTP_X_AMZ_SECURITY_TOKEN": token,
            "HTTP_USER_AGENT": "AWS EventBridge Scheduler",
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        }
        response = self._send(make_environ("POST", "/", headers, json.dumps(document).encode()))
        if response.status >= 400:
            raise _refusal(response)

    def _session(self, invocation: Invocation) -> tuple[str, str]:
        """Return access key and token of a session of the schedule's role."""
        role = str(invocation.target["RoleArn"])
        kept = self._keys.get(role)
        if kept is not None and kept[2] - time.time() > _RENEW_SECONDS:
            return kept[:2]
        from moto.sts.models import sts_backends

        partition = Caller(invocation.account, invocation.region).partition
        assumed = sts_backends[invocation.account][partition].assume_role(
            region_name=invocation.region,
            role_session_name="EventBridgeScheduler",
            role_arn=role,
            policy="",
            duration=_SESSION_SECONDS,
            external_id="",
        )
        self._gateway.sessions.add(assumed)
        self._keys[role] = (assumed.access_key_id, assumed.session_token, time.time() + _SESSION_SECONDS)
        return self._keys[role][:2]


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused("SerializationException", "The Input is no JSON object once it is filled in.", passing=False)
    return found


def _refusal(response: Response) -> Refused:
    try:
        said = json.loads(b"".join(response.body))
    except ValueError:
        said = {}
    code = str(said.get("__type") or response.header("x-amzn-ErrorType") or response.status).rpartition("#")[2]
    message = str(said.get("message") or said.get("Message") or "")
    return Refused(code, message, passing=response.status >= 500 or _THROTTLED.search(code) is not None)

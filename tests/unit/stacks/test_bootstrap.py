"""Bootstrap's template and names, and how it meets what CloudFormation answers."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clary.errors import ClaryError, ConflictError, UsageError
from clary.sagemaker.permissions import LONGEST_POLICY
from clary.stacks.bootstrap.cloudformation import CloudFormation, Event
from clary.stacks.bootstrap.names import LONGEST_NAME, PREFIX, Names, check_name, check_region
from clary.stacks.bootstrap.template import ROLES, body, template

REGIONS = ("us-east-1", "cn-northwest-1", "us-gov-west-1", "eusc-de-east-1", "ap-southeast-7")
LONGEST = "n" * LONGEST_NAME


class TestNames:
    @pytest.mark.parametrize("region", REGIONS)
    def test_fit_the_limits(self, region: str) -> None:
        names = Names(LONGEST, region, account="1" * 12)
        assert len(names.bucket) <= 63
        assert all(len(names.role(kind)) <= 64 for kind in ROLES)
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", names.bucket)

    @pytest.mark.parametrize("name", ["", "Team", "a_b", "-a", "a-", "a--b", "1a", "a.b", LONGEST + "n"])
    def test_a_name_that_would_not_fit_is_refused(self, name: str) -> None:
        with pytest.raises(UsageError) as refused:
            check_name(name)
        assert refused.value.code == "bootstrap.bad_name"

    def test_others_are_taken(self) -> None:
        for name in ("a", "team", "team-2", LONGEST):
            check_name(name)
        for region in REGIONS:
            check_region(region)
        with pytest.raises(UsageError):
            check_region("useast1")


def resources(kind: str, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the resources of a type."""
    return [one for one in document["Resources"].values() if one["Type"] == kind]


class TestTemplate:
    DOCUMENT = template(Names(LONGEST, "eu-central-1"))

    def test_cfn_lint_finds_nothing(self) -> None:
        from cfnlint.api import ManualArgs, lint  # type: ignore[import-untyped]

        found = lint(json.dumps(self.DOCUMENT), config=ManualArgs(regions=["eu-central-1"]))
        assert [str(match) for match in found] == []

    def test_it_is_small_enough_to_be_sent(self) -> None:
        assert len(body(self.DOCUMENT)) < 51_200, "limit of TemplateBody"

    def test_it_names_no_account(self) -> None:
        assert not re.search(r"\d{12}", body(self.DOCUMENT))
        assert "arn:aws:" not in body(self.DOCUMENT)

    def test_nothing_but_scratch_expires(self) -> None:
        (bucket,) = resources("AWS::S3::Bucket", self.DOCUMENT)
        rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        expiring = [rule for rule in rules if set(rule) - {"Id", "Status", "AbortIncompleteMultipartUpload"}]
        for rule in expiring:
            assert set(rule) == {"Id", "Status", "Prefix", "ExpirationInDays"}
            for kept in ("code", "runtime", "specs", "values", "runs", "cache"):
                folder = f"{PREFIX}/{kept}/"
                assert not folder.startswith(rule["Prefix"])
                assert not rule["Prefix"].startswith(folder)

    def test_what_holds_data_outlives_the_stack(self) -> None:
        for kind in ("AWS::S3::Bucket", "AWS::ECR::Repository"):
            (one,) = resources(kind, self.DOCUMENT)
            assert one["DeletionPolicy"] == "RetainExceptOnCreate"
            assert one["UpdateReplacePolicy"] == "Retain"

    def test_the_bucket_is_closed(self) -> None:
        (bucket,) = resources("AWS::S3::Bucket", self.DOCUMENT)
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        assert properties["BucketEncryption"]
        (policy,) = resources("AWS::S3::BucketPolicy", self.DOCUMENT)
        (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_the_policies_fit_a_role(self) -> None:
        policies = resources("AWS::IAM::Policy", self.DOCUMENT)
        assert len(policies) == len(ROLES)
        for policy in policies:
            assert len(json.dumps(policy["Properties"]["PolicyDocument"])) < LONGEST_POLICY


def event(number: int, status: str, resource: str = "clary-team", reason: str = "") -> dict[str, Any]:
    """Return an event as DescribeStackEvents gives it."""
    return {
        "EventId": str(number),
        "LogicalResourceId": resource,
        "ResourceType": "AWS::S3::Bucket",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": dt.datetime.now(dt.UTC),
    }


class Scripted:
    """CloudFormation, answering what a test says: one status and the events so far for each look."""

    def __init__(self, *looks: tuple[str | None, list[dict[str, Any]]], template: Any = None) -> None:
        self._looks = list(looks)
        self._template = template
        self.calls: list[str] = []
        self.update_refusal = ""

    exceptions = type("Exceptions", (), {"ClientError": ClientError})

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        status = self._looks[0][0]
        if status is None:
            if len(self._looks) > 1:
                self._looks.pop(0)
            raise _refused("Stack with id clary-team does not exist")
        return {"Stacks": [{"StackId": "arn:stack/1", "StackStatus": status, "Outputs": []}]}

    def get_paginator(self, name: str) -> Any:
        events = self._looks[0][1]
        if len(self._looks) > 1:
            self._looks.pop(0)
        return type("Pages", (), {"paginate": lambda *_, **__: [{"StackEvents": events[::-1]}]})()

    def create_stack(self, **_: Any) -> dict[str, Any]:
        self.calls.append("create")
        return {"StackId": "arn:stack/1"}

    def update_stack(self, **_: Any) -> None:
        self.calls.append("update")
        if self.update_refusal:
            raise _refused(self.update_refusal)

    def delete_stack(self, **_: Any) -> None:
        self.calls.append("delete")

    def get_template(self, **_: Any) -> dict[str, Any]:
        return {"TemplateBody": self._template}

    @contextmanager
    def call(self, action: str, *, resource: str | None = None) -> Iterator[Scripted]:
        from clary.sagemaker.translation import aws_errors

        with aws_errors(action, resource=resource):
            yield self


def _refused(text: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationError", "Message": text}}, "CloudFormation")


Formation = Callable[..., tuple[CloudFormation, Scripted, list[Event]]]


@pytest.fixture
def formation() -> Formation:
    """Make a CloudFormation of scripted looks; return it, the script, and the list of what it told."""

    def make(*looks: tuple[str | None, list[dict[str, Any]]], **options: Any) -> Any:
        scripted = Scripted(*looks, **options)
        told: list[Event] = []
        return CloudFormation(scripted, "clary-team", told.append, pause=lambda _: None), scripted, told  # type: ignore[arg-type]

    return make


class TestCloudFormation:
    def test_a_creation_is_followed_to_its_end_and_each_event_is_told_once(self, formation: Formation) -> None:
        started, done = event(1, "CREATE_IN_PROGRESS"), event(2, "CREATE_COMPLETE")
        cloud, script, told = formation(
            (None, []), ("CREATE_IN_PROGRESS", [started]), ("CREATE_COMPLETE", [started, done])
        )
        assert cloud.apply("{}")[0] == "created"
        assert script.calls == ["create"]
        assert [one.status for one in told] == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]

    def test_a_failed_creation_tells_its_first_reason(self, formation: Formation) -> None:
        failures = [
            event(1, "CREATE_FAILED", "Images", "Resource creation cancelled"),
            event(2, "CREATE_FAILED", "Artifacts", "clary-team-… already exists"),
        ]
        cloud, _, _ = formation((None, []), ("DELETE_IN_PROGRESS", failures), ("DELETE_COMPLETE", failures))
        with pytest.raises(ClaryError, match=r"Artifacts .* already exists") as failed:
            cloud.apply("{}")
        assert failed.value.code == "bootstrap.failed"

    def test_the_same_template_is_not_sent_again(self, formation: Formation) -> None:
        cloud, script, _ = formation(("CREATE_COMPLETE", []), template={"a": 1})
        assert cloud.apply('{"a": 1}')[0] == "unchanged"
        assert script.calls == []

    def test_an_update_without_effect_is_no_change(self, formation: Formation) -> None:
        cloud, script, _ = formation(("CREATE_COMPLETE", []), template={"a": 1})
        script.update_refusal = "No updates are to be performed."
        assert cloud.apply('{"a": 2}')[0] == "unchanged"
        assert script.calls == ["update"]

    def test_only_events_of_this_update_are_told(self, formation: Formation) -> None:
        old, new = event(1, "CREATE_FAILED", "Old", "long ago"), event(2, "UPDATE_COMPLETE")
        cloud, _, told = formation(("CREATE_COMPLETE", [old]), ("UPDATE_COMPLETE", [old, new]), template={})
        assert cloud.apply('{"a": 2}')[0] == "updated"
        assert [one.status for one in told] == ["UPDATE_COMPLETE"]

    def test_an_update_that_was_taken_back_is_an_error(self, formation: Formation) -> None:
        failed = event(2, "UPDATE_FAILED", "AgentPolicy", "API: iam:PutRolePolicy is not authorized")
        cloud, _, _ = formation(("CREATE_COMPLETE", []), ("UPDATE_ROLLBACK_COMPLETE", [failed]), template={})
        with pytest.raises(ClaryError, match="iam:PutRolePolicy"):
            cloud.apply('{"a": 2}')

    @pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"])
    def test_a_broken_stack_is_not_updated(self, formation: Formation, status: str) -> None:
        cloud, script, _ = formation((status, []))
        with pytest.raises(ConflictError) as refused:
            cloud.apply("{}")
        assert refused.value.code == "bootstrap.broken"
        assert script.calls == []

    def test_a_change_under_way_is_awaited_first(self, formation: Formation) -> None:
        cloud, script, told = formation(
            ("CREATE_IN_PROGRESS", [event(1, "CREATE_IN_PROGRESS")]),
            ("CREATE_COMPLETE", [event(1, "CREATE_IN_PROGRESS"), event(2, "CREATE_COMPLETE")]),
            template={},
        )
        assert cloud.apply("{}")[0] == "unchanged"
        assert script.calls == []
        assert [one.status for one in told] == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]

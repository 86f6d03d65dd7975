"""Runs that outlive their credentials, in the job and on the side that submits and follows."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary import testing
from clary.agent import service
from clary.agent.place import place_of
from clary.errors import PermissionDeniedError
from clary.sagemaker.session import Aws
from clary.stacks.access import open_aws

if TYPE_CHECKING:
    from clary.stacks.model import Stack

pytestmark = pytest.mark.usefixtures("project")

_PROCESS = """
import json, sys, urllib.parse, urllib.request
from xml.etree import ElementTree

endpoint, role, seconds, log = sys.argv[1:]
query = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": "x",
         "DurationSeconds": seconds}
scope = "AWS4-HMAC-SHA256 Credential=sandbox/20200101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0"
request = urllib.request.Request(endpoint, urllib.parse.urlencode(query).encode(), {"Authorization": scope})
given = ElementTree.fromstring(urllib.request.urlopen(request).read()).find(".//{*}Credentials")
keys = {name: given.findtext("{*}" + name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")}
with open(log, "a") as file:
    file.write(keys["AccessKeyId"] + "\\n")
print(json.dumps({"Version": 1, **keys}))
"""
"""What a company's own sign-in program does; the sandbox takes a life shorter than STS would give."""


def test_a_job_outlives_the_keys_of_its_role(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.faults.short_credentials(2, times=1000)

    began = time.monotonic()
    run = service.start(service.load_target("flows.py:squares"), {"count": 12, "pause": 0.5}, stack)
    done = service.wait(stack, run.id, 60)

    assert (done.status, done.result) == ("completed", str(sum(number * number for number in range(12))))
    assert time.monotonic() - began > 6
    assert len(done.attempts) == 1
    (fault,) = sandbox.faults.planned()
    assert fault["taken"] > 3


def test_a_job_whose_keys_are_called_expired_before_their_time_asks_for_others(
    stack: Stack, sandbox: testing.Sandbox
) -> None:
    sandbox.faults.short_credentials(3600, times=1000)
    run = service.start(service.load_target("flows.py:squares"), {"count": 3, "pause": 0.1}, stack)
    sandbox.faults.expire_credentials(operation="PutObject", match=f"*{run.id}/log/*")

    done = service.wait(stack, run.id, 60)

    assert (done.status, len(done.attempts)) == ("completed", 1)
    asked, expired = sandbox.faults.planned()
    assert (asked["taken"], expired["taken"]) == (2, 1)


@pytest.fixture
def by_process(
    stack: Stack, sandbox: testing.Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Stack, Path]:
    """A stack whose profile has a program that gives keys for two seconds; and where it notes those it gave."""
    program, given, config = tmp_path / "sign_in.py", tmp_path / "given", tmp_path / "config"
    program.write_text(_PROCESS)
    command = f"{sys.executable} {program} {sandbox.endpoint} {sandbox.role} 2 {given}"
    config.write_text(f"[profile company]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return dataclasses.replace(stack, credentials="aws-profile:company"), given


def test_following_a_run_outlives_the_keys_of_a_profile(by_process: tuple[Stack, Path]) -> None:
    stack, given = by_process
    run = service.start(service.load_target("flows.py:squares"), {"count": 5, "pause": 0.5}, stack)

    assert service.wait(stack, run.id, 60).status == "completed"
    assert len(set(given.read_text().split())) >= 3


def test_a_role_over_the_stacks_credentials_is_used_for_everything(stack: Stack, sandbox: testing.Sandbox) -> None:
    under_role = dataclasses.replace(stack, assume_role=sandbox.role, external_id="from-us")
    aws = open_aws(under_role)
    with aws.call("sts:GetCallerIdentity") as sts:
        assert ":assumed-role/" in sts.get_caller_identity()["Arn"]

    run = service.start(service.load_target("flows.py:squares"), {"count": 1}, under_role)

    assert service.wait(under_role, run.id, 60).status == "completed"
    aws.close()


def test_an_expired_answer_is_met_once_with_new_keys(stack: Stack, sandbox: testing.Sandbox) -> None:
    under_role = dataclasses.replace(stack, assume_role=sandbox.role)
    place = place_of(under_role)
    place.store.put("k", b"x")
    with place.aws.call("sts:GetCallerIdentity") as sts:
        before = sts.get_caller_identity()["UserId"], place.aws.keys().access_key
    time.sleep(1.1)  # keys that were just found are not looked for again

    sandbox.faults.expire_credentials(operation="ListTrainingJobs")
    with place.aws.call("ListTrainingJobs") as sagemaker:
        sagemaker.list_training_jobs()
    between = place.aws.keys().access_key
    sandbox.faults.expire_credentials(operation="HeadObject")
    assert place.store.size("k") == 1
    sandbox.faults.expire_credentials(operation="GetObject")
    assert place.store.get("k") == b"x"
    sandbox.faults.expire_credentials(operation="HeadBucket")
    with place.aws.call("s3:HeadBucket") as s3:
        s3.head_bucket(Bucket=sandbox.bucket)

    assert between != before[1]
    assert [fault["left"] for fault in sandbox.faults.planned()] == [0, 0, 0, 0]
    place.aws.close()


def test_a_role_of_another_asks_for_its_external_id(monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.sandbox(enforce_rates=False, iam="enforce") as strict:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", strict.environment["AWS_ACCESS_KEY_ID"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", strict.environment["AWS_SECRET_ACCESS_KEY"])
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{strict.account}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "theirs"}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = strict.client("iam").create_role(RoleName="Partner", AssumeRolePolicyDocument=document)["Role"]["Arn"]

        def opened(external_id: str | None) -> Aws:
            return Aws(strict.region, endpoint_url=strict.endpoint, assume_role=role, external_id=external_id)

        for wrong in ("ours", None):
            with pytest.raises(PermissionDeniedError) as caught:
                opened(wrong).keys()
            assert caught.value.code == "aws.assume_role_denied"
            assert role in caught.value.summary
        assert opened("theirs").keys().access_key.startswith("ASIA")

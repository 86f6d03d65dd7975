"""Nothing that was answered is lost by kill -9 of the sandbox."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from clary.sandbox import api
from integration.sandbox.conftest import make_training_request

if TYPE_CHECKING:
    from clary.testing import Sandbox

MIB = 1 << 20


def killed(sandbox: Sandbox) -> float:
    """Kill and restart; return how long the start took in seconds."""
    sandbox.kill()
    began = time.monotonic()
    sandbox.restart()
    return time.monotonic() - began


def test_everything_survives_a_kill(own_idle: Sandbox) -> None:
    s3, iam, sqs = (own_idle.client(name) for name in ("s3", "iam", "sqs"))
    bucket = own_idle.bucket
    s3.put_object(
        Bucket=bucket, Key="a", Body=b"1", Metadata={"x": "y"}, Tagging="t=u", ContentType="text/a", ACL="public-read"
    )
    s3.upload_fileobj(__import__("io").BytesIO(b"z" * (9 * MIB)), bucket, "big")
    s3.put_object(Bucket=bucket, Key="gone", Body=b"1")
    s3.delete_object(Bucket=bucket, Key="gone")
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="versions", Key="v", Body=b"%d" % n)["VersionId"] for n in range(3)]
    s3.delete_object(Bucket="versions", Key="v")
    role = iam.create_role(RoleName="mine", AssumeRolePolicyDocument="{}")["Role"]
    secret = own_idle.client("secretsmanager").create_secret(Name="s", SecretString="hush")["ARN"]
    kms = own_idle.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    cipher = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    for n in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(n), MessageAttributes=_attribute())
    first = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1)["Messages"][0]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    own_idle.client("ssm").put_parameter(Name="p", Value="v", Type="String")
    own_idle.client("ecr").create_repository(repositoryName="repo")
    own_idle.client("scheduler").create_schedule_group(Name="g")
    sagemaker = own_idle.client("sagemaker")
    sagemaker.create_training_job(
        **make_training_request(own_idle, "done", Environment={"end": "Completed", "log": "line 1\nline 2"})
    )
    sagemaker.create_training_job(**make_training_request(own_idle, "running"))
    done = sagemaker.describe_training_job(TrainingJobName="done")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    names = ("a", "big")
    before = [{**_head(s3, bucket, name)} for name in names]

    killed(own_idle)

    assert [{**_head(s3, bucket, name)} for name in names] == before
    assert s3.list_objects_v2(Bucket=bucket)["Contents"] == listed
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "t", "Value": "u"}]
    assert len(s3.get_object_acl(Bucket=bucket, Key="a")["Grants"]) == 2
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == b"z" * (9 * MIB)
    shown = s3.list_object_versions(Bucket="versions")
    assert [entry["VersionId"] for entry in shown["Versions"]] == versions[::-1]
    assert shown["DeleteMarkers"][0]["IsLatest"] is True
    assert s3.get_object(Bucket="versions", Key="v", VersionId=versions[1])["Body"].read() == b"1"
    assert iam.get_role(RoleName="mine")["Role"]["RoleId"] == role["RoleId"]
    secrets = own_idle.client("secretsmanager")
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "hush"
    assert kms.decrypt(CiphertextBlob=cipher)["Plaintext"] == b"plain"
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    assert sorted(message["Body"] for message in messages) == ["1", "2"]
    assert messages[0]["MessageAttributes"] == _attribute()
    assert own_idle.client("ssm").get_parameter(Name="p")["Parameter"]["Value"] == "v"
    repositories = own_idle.client("ecr").describe_repositories()["repositories"]
    assert sorted(one["repositoryName"] for one in repositories) == ["clary", "clary-sandbox/python", "repo"]
    assert own_idle.client("scheduler").get_schedule_group(Name="g")["Name"] == "g"
    after = sagemaker.describe_training_job(TrainingJobName="done")
    assert {**after, "ResponseMetadata": None} == {**done, "ResponseMetadata": None}
    lost = sagemaker.describe_training_job(TrainingJobName="running")
    assert (lost["TrainingJobStatus"], lost["FailureReason"]) == ("Failed", "InternalServerError: lost")
    logs = own_idle.client("logs").get_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName="done/algo-1-1"
    )
    assert [event["message"] for event in logs["events"]] == ["line 1", "line 2"]


def _attribute() -> dict[str, Any]:
    return {
        "kind": {"DataType": "String", "StringValue": "x"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }


def _head(s3: Any, bucket: str, key: str) -> dict[str, Any]:
    head = s3.head_object(Bucket=bucket, Key=key)
    return {name: value for name, value in head.items() if name != "ResponseMetadata"}


def test_deleted_things_stay_deleted_and_ids_stay_the_same(own_idle: Sandbox) -> None:
    secrets, s3 = own_idle.client("secretsmanager"), own_idle.client("s3")
    kept = [secrets.create_secret(Name=f"s{n}", SecretString="x")["ARN"] for n in range(4)]
    secrets.delete_secret(SecretId=kept.pop(1), ForceDeleteWithoutRecovery=True)
    s3.create_bucket(Bucket="short-lived")
    s3.put_object(Bucket="short-lived", Key="k", Body=b"x")
    s3.delete_object(Bucket="short-lived", Key="k")
    s3.delete_bucket(Bucket="short-lived")
    logs = own_idle.client("logs")
    own_idle.client("sagemaker").create_training_job(**make_training_request(own_idle, "j", Environment={"log": "x"}))
    logs.put_retention_policy(logGroupName="/aws/sagemaker/TrainingJobs", retentionInDays=3)
    killed(own_idle)
    killed(own_idle)
    assert sorted(entry["ARN"] for entry in secrets.list_secrets()["SecretList"]) == sorted(kept)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [own_idle.bucket]
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 3
    logs.delete_log_group(logGroupName="/aws/sagemaker/TrainingJobs")
    killed(own_idle)
    assert logs.describe_log_groups()["logGroups"] == []


def test_an_event_on_its_way_arrives_after_the_kill(own_idle: Sandbox) -> None:
    sqs, events = own_idle.client("sqs"), own_idle.client("events")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": f"arn:aws:sqs:us-east-1:{own_idle.account}:q"}])
    own_idle.faults.delay_events(3600, times=10)
    own_idle.client("sagemaker").create_training_job(**make_training_request(own_idle, "j"))
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    killed(own_idle)
    message = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]
    assert json.loads(message["Body"])["detail"]["TrainingJobName"] == "j"


def test_what_came_and_went_leaves_no_record(own_idle: Sandbox) -> None:
    s3, scheduler = own_idle.client("s3"), own_idle.client("scheduler")
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = own_idle.client("iam").create_role(
        RoleName="alarm", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    before = recorded(own_idle)
    scheduler.create_schedule_group(Name="g")
    for group in ("default", "g"):
        for name in ("kept", "gone"):
            scheduler.create_schedule(
                Name=name,
                GroupName=group,
                ScheduleExpression="rate(1 hour)",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={"Arn": f"arn:aws:sqs:us-east-1:{own_idle.account}:q", "RoleArn": role},
            )
    scheduler.delete_schedule(Name="gone")
    s3.create_bucket(Bucket="short-lived")
    s3.put_bucket_versioning(Bucket="short-lived", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_cors(Bucket="short-lived", CORSConfiguration={"CORSRules": [_cors()]})
    s3.delete_bucket_cors(Bucket="short-lived")
    s3.delete_bucket(Bucket="short-lived")
    assert recorded(own_idle) == before + 1 + 3
    killed(own_idle)
    listed = scheduler.list_schedules()["Schedules"]
    shown = sorted((schedule["GroupName"], schedule["Name"]) for schedule in listed)
    assert shown == [("default", "kept"), ("g", "gone"), ("g", "kept")]
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [own_idle.bucket]
    assert "not restored" not in (own_idle.data / "sandbox.log").read_text()


def _cors() -> dict[str, Any]:
    return {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}


def recorded(sandbox: Sandbox) -> int:
    database = sqlite3.connect(sandbox.data / "aws.db")
    try:
        return int(database.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        database.close()


def test_a_thousand_objects_do_not_slow_the_start(own_idle: Sandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    empty = killed(own_idle)
    s3 = own_idle.client("s3")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket=own_idle.bucket, Key=f"n/{n}", Body=b"x"), range(1000)))
    full = killed(own_idle)
    assert full < 4 * empty, f"{full:.1f} s with the objects, {empty:.1f} s without"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=own_idle.bucket, Prefix="n/")
    assert sum(page["KeyCount"] for page in pages) == 1000


def test_two_sandboxes_never_share_a_folder(own_idle: Sandbox) -> None:
    with pytest.raises(Exception, match="already") as caught:
        api.start(data=own_idle.data)
    assert caught.value.code == "sandbox.already_running"  # type: ignore[attr-defined]
    state = own_idle.data / "state.json"
    kept = state.read_text()
    state.unlink()
    with pytest.raises(Exception, match="Another sandbox") as caught:
        api.start(data=own_idle.data)
    assert caught.value.code == "sandbox.already_running"  # type: ignore[attr-defined]
    state.write_text(kept)


def test_the_clock_goes_on_from_where_it_was(own_idle: Sandbox) -> None:
    own_idle.clock.speed(100_000)
    sagemaker = own_idle.client("sagemaker")
    sagemaker.create_training_job(**make_training_request(own_idle, "future", Environment={"end": "Completed"}))
    shown = sagemaker.describe_training_job(TrainingJobName="future")["LastModifiedTime"].timestamp()
    killed(own_idle)
    assert own_idle.clock.now() >= shown


def test_a_taken_port_is_said(own_idle: Sandbox, tmp_path: Any) -> None:
    with pytest.raises(Exception, match="cannot be used") as caught:
        api.start(port=int(own_idle.endpoint.rpartition(":")[2]), data=tmp_path)
    assert caught.value.code == "sandbox.port_taken"  # type: ignore[attr-defined]


def test_what_was_refused_is_not_recorded(own_idle: Sandbox) -> None:
    iam = own_idle.client("iam")
    with pytest.raises(ClientError):
        iam.attach_role_policy(RoleName="nobody", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    killed(own_idle)
    assert "not restored" not in (own_idle.data / "sandbox.log").read_text()

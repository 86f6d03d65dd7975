"""Requests under ``iam="enforce"``: who asks, what policies say, what a job's role may do, the words of refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from clary import testing
from clary.sagemaker.refusals import Refusal, told
from integration.sandbox.conftest import make_training_request
from patience import until

if TYPE_CHECKING:
    from clary.testing import Sandbox

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module")
def strict() -> Iterator[Sandbox]:
    """A sandbox that weighs policies, and really runs jobs."""
    with testing.sandbox(enforce_rates=False, iam="enforce") as running:
        yield running


def allow(action: Any, resource: Any = "*", **conditions: Any) -> dict[str, Any]:
    return statement("Allow", action, resource, **conditions)


def statement(effect: str, action: Any, resource: Any = "*", **conditions: Any) -> dict[str, Any]:
    more = {"Condition": conditions} if conditions else {}
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trust(**principal: Any) -> str:
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


class User:
    """A user with access keys and one inline policy."""

    def __init__(self, running: Sandbox, name: str) -> None:
        self.running = running
        self.name = name
        self.iam = running.client("iam")
        self.arn: str = self.iam.create_user(UserName=name)["User"]["Arn"]
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        self.keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def may(self, *statements: Mapping[str, Any]) -> None:
        self.iam.put_user_policy(UserName=self.name, PolicyName="own", PolicyDocument=document(*statements))

    def client(self, service: str) -> Any:
        return self.running.client(service, **self.keys)


@pytest.fixture
def user(strict: Sandbox, request: pytest.FixtureRequest) -> User:
    return User(strict, f"u-{abs(hash(request.node.name)) % 10**8}")


def make_role(running: Sandbox, name: str, *statements: Mapping[str, Any], trusted: str | None = None) -> str:
    iam = running.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted or trust(Service="sagemaker.amazonaws.com"))
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
    arn: str = made["Role"]["Arn"]
    return arn


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error.get("Message", "")


def ended(client: Any, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
        return found if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return until(look, f"the end of {name}")


def test_status_says_that_policies_are_enforced(strict: Sandbox) -> None:
    assert strict.status()["iam"] == "enforce"


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("sagemaker", "list_training_jobs", "UnrecognizedClientException"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("iam", "list_roles", "InvalidClientTokenId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("sqs", "list_queues", "InvalidClientTokenId"),
        ("scheduler", "list_schedules", "UnrecognizedClientException"),
        ("ec2", "describe_subnets", "AuthFailure"),
    ],
)
def test_a_key_that_nobody_has_is_refused(strict: Sandbox, service: str, operation: str, code: str) -> None:
    client = strict.client(service, aws_access_key_id="AKIAUNKNOWN", aws_secret_access_key="x")
    assert refused(getattr(client, operation))[0] == code


def test_an_inactive_key_is_refused(strict: Sandbox, user: User) -> None:
    user.may(allow("*"))
    user.client("s3").list_buckets()
    user.iam.update_access_key(UserName=user.name, AccessKeyId=user.keys["aws_access_key_id"], Status="Inactive")
    assert refused(user.client("s3").list_buckets)[0] == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    ("service", "operation", "action", "resource", "code"),
    [
        ("sagemaker", "list_training_jobs", "sagemaker:ListTrainingJobs", "*", "AccessDeniedException"),
        ("s3", "list_buckets", "s3:ListAllMyBuckets", "arn:aws:s3:::*", "AccessDenied"),
        ("ecr", "get_authorization_token", "ecr:GetAuthorizationToken", "*", "AccessDeniedException"),
        ("iam", "list_roles", "iam:ListRoles", "*", "AccessDenied"),
        ("sqs", "list_queues", "sqs:ListQueues", "*", "AccessDenied"),
        ("ec2", "describe_subnets", "ec2:DescribeSubnets", "*", "UnauthorizedOperation"),
        ("scheduler", "list_schedules", "scheduler:ListSchedules", "*", "AccessDeniedException"),
        ("kms", "list_keys", "kms:ListKeys", "*", "AccessDeniedException"),
        ("events", "list_rules", "events:ListRules", "*", "AccessDeniedException"),
        ("ssm", "describe_parameters", "ssm:DescribeParameters", "*", "AccessDeniedException"),
        ("cloudformation", "list_stacks", "cloudformation:ListStacks", "*", "AccessDenied"),
        ("secretsmanager", "list_secrets", "secretsmanager:ListSecrets", "*", "AccessDeniedException"),
    ],
)
def test_a_refusal_names_who_what_and_where(
    user: User, service: str, operation: str, action: str, resource: str, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(user.client(service), operation)()
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert f"User: {user.arn} is not authorized to perform: {action} on resource: " in error["Message"]
    assert error["Message"].endswith(f"because no identity-based policy allows the {action} action")
    shown = told(Refusal.of(caught.value, "any:Thing", None))
    assert shown.details["statement"] == {"Effect": "Allow", "Action": action, "Resource": resource}


def test_who_one_is_anybody_may_ask(user: User) -> None:
    assert user.client("sts").get_caller_identity()["Arn"] == user.arn


def test_what_the_table_does_not_know_is_denied_and_says_so(user: User) -> None:
    user.may(allow("*"))
    code, message = refused(user.client("ec2").describe_images)
    assert code == "UnauthorizedOperation"
    assert "ec2:DescribeImages" in message
    assert "does not know" in message


def test_an_explicit_denial_says_so(strict: Sandbox, user: User) -> None:
    user.may(allow("s3:*"), statement("Deny", "s3:ListBucket"))
    _, message = refused(user.client("s3").list_objects_v2, Bucket=strict.bucket)
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_policies_of_groups_and_managed_policies_count(strict: Sandbox, user: User) -> None:
    iam = strict.client("iam")
    arn = iam.create_policy(PolicyName="listing", PolicyDocument=document(allow("s3:ListAllMyBuckets")))["Policy"][
        "Arn"
    ]
    iam.create_group(GroupName="team")
    iam.attach_group_policy(GroupName="team", PolicyArn=arn)
    iam.add_user_to_group(GroupName="team", UserName=user.name)
    user.client("s3").list_buckets()


# -- S3


def test_prefixes_and_missing_objects(strict: Sandbox, user: User) -> None:
    s3, bucket = user.client("s3"), f"arn:aws:s3:::{strict.bucket}"
    user.may(allow("s3:ListBucket", bucket, StringLike={"s3:prefix": "mine/*"}), allow("s3:GetObject", f"{bucket}/*"))
    s3.list_objects_v2(Bucket=strict.bucket, Prefix="mine/")
    assert refused(s3.list_objects_v2, Bucket=strict.bucket, Prefix="other/")[0] == "AccessDenied"
    assert refused(s3.get_object, Bucket=strict.bucket, Key="missing")[0] == "AccessDenied"
    assert refused(s3.head_object, Bucket=strict.bucket, Key="missing")[0] == "403"
    user.may(allow("s3:ListBucket", bucket), allow("s3:GetObject", f"{bucket}/*"))
    assert refused(s3.get_object, Bucket=strict.bucket, Key="missing")[0] == "NoSuchKey"


def test_uploads_in_parts_and_copies(strict: Sandbox, user: User) -> None:
    s3, bucket = user.client("s3"), f"arn:aws:s3:::{strict.bucket}"
    user.may(allow("s3:PutObject", f"{bucket}/to/*"))
    upload = s3.create_multipart_upload(Bucket=strict.bucket, Key="to/parts")["UploadId"]
    target = {"Bucket": strict.bucket, "Key": "to/parts", "UploadId": upload}
    part = s3.upload_part(**target, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert "s3:ListMultipartUploadParts" in refused(s3.list_parts, **target)[1]
    assert "s3:AbortMultipartUpload" in refused(s3.abort_multipart_upload, **target)[1]
    s3.complete_multipart_upload(**target, MultipartUpload=parts)
    copy = {"Bucket": strict.bucket, "Key": "to/copy", "CopySource": f"{strict.bucket}/to/parts"}
    assert f'"{bucket}/to/parts"' in refused(s3.copy_object, **copy)[1]
    user.may(allow("s3:PutObject", f"{bucket}/to/*"), allow("s3:GetObject", f"{bucket}/to/parts"))
    s3.copy_object(**copy)


def test_a_conditional_write_may_need_to_read(strict: Sandbox, user: User) -> None:
    s3, objects = user.client("s3"), f"arn:aws:s3:::{strict.bucket}/*"
    user.may(allow("s3:PutObject", objects))
    tag = s3.put_object(Bucket=strict.bucket, Key="lease", Body=b"1", IfNoneMatch="*")["ETag"]
    code, message = refused(s3.put_object, Bucket=strict.bucket, Key="lease", Body=b"2", IfMatch=tag)
    assert code == "AccessDenied"
    assert "s3:GetObject" in message


def test_each_object_of_a_deletion_is_weighed(strict: Sandbox, user: User) -> None:
    admin, s3 = strict.client("s3"), user.client("s3")
    for key in ("gone/1", "stays/1"):
        admin.put_object(Bucket=strict.bucket, Key=key, Body=b"x")
    user.may(allow("s3:DeleteObject", f"arn:aws:s3:::{strict.bucket}/gone/*"))
    both = {"Objects": [{"Key": "gone/1"}, {"Key": "stays/1"}]}
    answer = s3.delete_objects(Bucket=strict.bucket, Delete=both)
    assert [one["Key"] for one in answer["Deleted"]] == ["gone/1"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("stays/1", "AccessDenied")]
    answer = s3.delete_objects(Bucket=strict.bucket, Delete={"Objects": [{"Key": "stays/1"}]})
    assert "Deleted" not in answer
    admin.head_object(Bucket=strict.bucket, Key="stays/1")


def test_a_bucket_policy_counts(strict: Sandbox, user: User) -> None:
    admin, s3 = strict.client("s3"), user.client("s3")
    name = "with-a-policy"
    admin.create_bucket(Bucket=name)
    admin.put_object(Bucket=name, Key="k", Body=b"x")
    assert refused(s3.get_object, Bucket=name, Key="k")[0] == "AccessDenied"
    given = {**allow("s3:GetObject", f"arn:aws:s3:::{name}/*"), "Principal": {"AWS": user.arn}}
    admin.put_bucket_policy(Bucket=name, Policy=document(given))
    s3.get_object(Bucket=name, Key="k")
    insecure = statement("Deny", "s3:*", f"arn:aws:s3:::{name}/*", Bool={"aws:SecureTransport": "false"})
    closed = {**statement("Deny", "s3:*", f"arn:aws:s3:::{name}/closed"), "Principal": "*"}
    admin.put_bucket_policy(Bucket=name, Policy=document(given, {**insecure, "Principal": "*"}, closed))
    s3.get_object(Bucket=name, Key="k")
    _, message = refused(s3.get_object, Bucket=name, Key="closed")
    assert message.endswith("with an explicit deny in a resource-based policy")


# -- roles


def test_a_role_is_assumed_by_whom_it_trusts(strict: Sandbox, user: User) -> None:
    sts = user.client("sts")
    open_to_account = document(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{strict.account}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "right"}},
        }
    )
    role = make_role(strict, f"{user.name}-role", allow("s3:ListAllMyBuckets"), trusted=open_to_account)
    asked = {"RoleArn": role, "RoleSessionName": "session", "ExternalId": "right"}
    assert "sts:AssumeRole" in refused(sts.assume_role, **asked)[1]
    user.may(allow("sts:AssumeRole", role))
    assert refused(sts.assume_role, **{**asked, "ExternalId": "wrong"})[0] == "AccessDenied"
    assert refused(sts.assume_role, **{**asked, "RoleArn": role + "-none"})[0] == "AccessDenied"
    given = sts.assume_role(**asked)["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    strict.client("s3", **keys).list_buckets()
    _, message = refused(strict.client("sagemaker", **keys).list_training_jobs)
    assert f"User: arn:aws:sts::{strict.account}:assumed-role/{user.name}-role/session is not" in message
    given = sts.assume_role(**asked, Policy=document(allow("ec2:*")))["Credentials"]
    keys["aws_access_key_id"] = given["AccessKeyId"]
    _, message = refused(strict.client("s3", **keys).list_buckets)
    assert message.endswith("because no session policy allows the s3:ListAllMyBuckets action")


def test_a_boundary_counts(strict: Sandbox, user: User) -> None:
    iam = strict.client("iam")
    limit = iam.create_policy(PolicyName=f"{user.name}-limit", PolicyDocument=document(allow("ec2:*")))["Policy"]["Arn"]
    role = make_role(strict, f"{user.name}-bound", allow("*"), trusted=trust(AWS=user.arn))
    iam.put_role_permissions_boundary(RoleName=f"{user.name}-bound", PermissionsBoundary=limit)
    given = user.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    client = strict.client(
        "s3",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    assert "because no permissions boundary allows" in refused(client.list_buckets)[1]


# -- jobs


def job(running: Sandbox, role: str, name: str, command: str = "print('hello')", **more: Any) -> dict[str, Any]:
    algorithm = {
        "TrainingImage": running.image,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python", "-c", command],
    }
    return make_training_request(running, name, RoleArn=role, AlgorithmSpecification=algorithm, **more)


def rights(running: Sandbox) -> dict[str, dict[str, Any]]:
    """What SageMaker needs of the role of such a job, one statement a purpose."""
    repository = f"arn:aws:ecr:{running.region}:{running.account}:repository/clary-sandbox/*"
    logs = f"arn:aws:logs:{running.region}:{running.account}:log-group:{GROUP}"
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
    return {
        "token": allow("ecr:GetAuthorizationToken"),
        "pull": allow(pull, repository),
        "list": allow("s3:ListBucket", f"arn:aws:s3:::{running.bucket}", StringLike={"s3:prefix": "in/*"}),
        "read": allow("s3:GetObject", f"arn:aws:s3:::{running.bucket}/in/*"),
        "write": allow("s3:PutObject", f"arn:aws:s3:::{running.bucket}/output/*"),
        "log": allow(
            ["logs:CreateLogGroup", "logs:DescribeLogStreams", "logs:CreateLogStream", "logs:PutLogEvents"],
            f"{logs}:*",
        ),
    }


def test_creating_a_job_needs_the_job_the_role_and_the_tags(strict: Sandbox, user: User) -> None:
    sagemaker, name = user.client("sagemaker"), f"Job-{user.name}"
    arn = f"arn:aws:sagemaker:{strict.region}:{strict.account}:training-job/job-*"
    request = job(strict, strict.role, name, Tags=[{"Key": "team", "Value": "a"}])
    passing = allow("iam:PassRole", strict.role, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    small = {
        "StringEquals": {"aws:RequestTag/team": "a"},
        "ForAllValues:StringLike": {"sagemaker:InstanceTypes": "ml.m5.*"},
    }
    steps = [
        ("sagemaker:CreateTrainingJob", allow("sagemaker:CreateTrainingJob", arn, **small)),
        ("iam:PassRole", passing),
        ("sagemaker:AddTags", allow("sagemaker:AddTags", arn)),
    ]
    given: list[dict[str, Any]] = [allow("sagemaker:DescribeTrainingJob", arn)]
    user.may(*given)
    for action, more in steps:
        code, message = refused(sagemaker.create_training_job, **request)
        assert code == "AccessDeniedException"
        assert f"is not authorized to perform: {action} on resource: arn:aws:" in message
        given.append(more)
        user.may(*given)
    for wrong in (
        {**request, "Tags": [{"Key": "team", "Value": "b"}]},
        {**request, "ResourceConfig": {**request["ResourceConfig"], "InstanceType": "ml.g5.xlarge"}},
        {**request, "TrainingJobName": f"other-{user.name}"},
    ):
        assert "sagemaker:CreateTrainingJob" in refused(sagemaker.create_training_job, **wrong)[1]
    user.may(
        *given[:2], {**passing, "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}, given[3]
    )
    assert "iam:PassRole" in refused(sagemaker.create_training_job, **request)[1]
    user.may(*given)
    sagemaker.create_training_job(**request)
    assert ended(sagemaker, name)["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("token", "Cannot pull algorithm container"),
        ("pull", "Cannot pull algorithm container"),
        ("read", "Data download failed"),
        ("write", "Artifact upload failed"),
    ],
)
def test_a_job_fails_for_what_its_role_lacks(strict: Sandbox, lacking: str, words: str) -> None:
    strict.client("s3").put_object(Bucket=strict.bucket, Key="in/x", Body=b"x")
    given = rights(strict)
    missing = given.pop(lacking)
    role = make_role(strict, f"lacks-{lacking}", *given.values())
    sagemaker = strict.client("sagemaker")
    sagemaker.create_training_job(**job(strict, role, f"lacks-{lacking}", InputDataConfig=[channel(strict)]))
    found = ended(sagemaker, f"lacks-{lacking}")
    assert found["TrainingJobStatus"] == "Failed"
    assert words in found["FailureReason"]
    actions = missing["Action"] if isinstance(missing["Action"], list) else [missing["Action"]]
    assert (
        f":assumed-role/lacks-{lacking}/SageMaker is not authorized to perform: {actions[0]}" in found["FailureReason"]
    )


def channel(running: Sandbox) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{running.bucket}/in/"}
    return {"ChannelName": "data", "DataSource": {"S3DataSource": source}}


def test_a_job_whose_inputs_cannot_be_listed_is_refused_at_once(strict: Sandbox) -> None:
    given = rights(strict)
    del given["list"]
    role = make_role(strict, "lacks-list", *given.values())
    request = job(strict, role, "lacks-list", InputDataConfig=[channel(strict)])
    code, message = refused(strict.client("sagemaker").create_training_job, **request)
    assert code == "ValidationException"
    assert "No S3 objects found" in message
    assert "s3:ListBucket" in message


def test_a_network_and_a_volume_key_need_rights_of_the_role(strict: Sandbox) -> None:
    role = make_role(strict, "plain-role", *rights(strict).values())
    create = strict.client("sagemaker").create_training_job
    network = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert "ec2:DescribeSubnets" in refused(create, **job(strict, role, "in-a-network", VpcConfig=network))[1]
    request = job(strict, role, "with-a-key")
    request["ResourceConfig"]["VolumeKmsKeyId"] = strict.client("kms").create_key()["KeyMetadata"]["KeyId"]
    assert "kms:CreateGrant" in refused(create, **request)[1]


def test_a_job_that_may_not_log_runs_without_logs(strict: Sandbox) -> None:
    given = rights(strict)
    sagemaker, logs = strict.client("sagemaker"), strict.client("logs")
    for name, some in (("logs", given.values()), ("no-logs", [given[one] for one in given if one != "log"])):
        role = make_role(strict, f"role-{name}", *some)
        sagemaker.create_training_job(**job(strict, role, name))
        assert ended(sagemaker, name)["TrainingJobStatus"] == "Completed"
    found = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    assert {one["logStreamName"].partition("/")[0] for one in found} >= {"logs"}
    assert not [one for one in found if one["logStreamName"].startswith("no-logs/")]


_WHO = """
import json, os
from urllib.request import Request, urlopen
env = os.environ
uri = env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
key = json.load(urlopen("http://169.254.170.2" + uri))["AccessKeyId"]
scope = f"Credential={key}/20260101/us-east-1/s3/aws4_request, Signature=0"
head = {"Authorization": "AWS4-HMAC-SHA256 " + scope}
try:
    urlopen(Request(env["AWS_ENDPOINT_URL"] + "/", headers=head))
except OSError as error:
    print(error.read().decode())
"""


def test_what_a_container_does_is_done_with_its_role(strict: Sandbox) -> None:
    if strict.status()["executor"] == "process":
        pytest.skip("plain processes have no credentials endpoint")
    role = make_role(strict, "container-role", *rights(strict).values())
    sagemaker, logs = strict.client("sagemaker"), strict.client("logs")
    sagemaker.create_training_job(
        **job(strict, role, "who", command="import os; exec(os.environ['who'])", Environment={"who": _WHO})
    )
    assert ended(sagemaker, "who")["TrainingJobStatus"] == "Completed"
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="who/")["logStreams"]
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"])["events"]
    assert "assumed-role/container-role/SageMaker is not authorized to perform: s3:ListAllMyBuckets" in str(events)


# -- other services


def test_a_schedule_passes_its_role_to_the_scheduler(strict: Sandbox, user: User) -> None:
    role = make_role(strict, f"{user.name}-clock", trusted=trust(Service="scheduler.amazonaws.com"))
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:createTrainingJob", "RoleArn": role, "Input": "{}"}
    request = {
        "Name": "wake",
        "ScheduleExpression": "at(2030-01-01T00:00:00)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }
    create = user.client("scheduler").create_schedule
    schedule = f"arn:aws:scheduler:{strict.region}:{strict.account}:schedule/default/wake"
    assert f"scheduler:CreateSchedule on resource: {schedule} " in refused(create, **request)[1]
    making = allow("scheduler:CreateSchedule", schedule)
    user.may(making, allow("iam:PassRole", role, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"}))
    assert f"iam:PassRole on resource: {role} " in refused(create, **request)[1]
    user.may(making, allow("iam:PassRole", role, StringEquals={"iam:PassedToService": "scheduler.amazonaws.com"}))
    create(**request)


def test_a_role_names_the_services_and_the_account_that_may_assume_it(strict: Sandbox) -> None:
    def trusting(service: Any, account: str) -> str:
        given = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        return document({**given, "Condition": {"StringEquals": {"aws:SourceAccount": account}}})

    iam, sagemaker, scheduler = (strict.client(service) for service in ("iam", "sagemaker", "scheduler"))
    role = make_role(strict, "careful", allow("*"), trusted=trusting("sagemaker.amazonaws.com", "999999999999"))
    assert "Could not assume role" in refused(sagemaker.create_training_job, **job(strict, role, "careful"))[1]
    wake = {
        "Name": "careful",
        "ScheduleExpression": "at(2030-01-01T00:00:00)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:createTrainingJob", "RoleArn": role, "Input": "{}"},
    }
    assert refused(scheduler.create_schedule, **wake)[0] == "ValidationException"
    both = ["sagemaker.amazonaws.com", "scheduler.amazonaws.com"]
    iam.update_assume_role_policy(RoleName="careful", PolicyDocument=trusting(both, strict.account))
    sagemaker.create_training_job(**job(strict, role, "careful"))
    scheduler.create_schedule(**wake)


def test_a_key_policy_decides_over_a_key(strict: Sandbox, user: User) -> None:
    admin, kms = strict.client("kms"), user.client("kms")
    key = admin.create_key()["KeyMetadata"]
    user.may(allow(["kms:Encrypt", "kms:Decrypt"], key["Arn"]))
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    only_admin = {**allow("kms:*"), "Principal": {"AWS": "arn:aws:iam::999999999999:root"}}
    admin.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=document(only_admin))
    assert (
        "because no resource-based policy allows the kms:Decrypt action"
        in refused(kms.decrypt, CiphertextBlob=sealed)[1]
    )


def test_names_of_logs_secrets_and_parameters(strict: Sandbox, user: User) -> None:
    place = f"{strict.region}:{strict.account}"
    user.may(
        allow(["logs:CreateLogGroup", "logs:PutRetentionPolicy"], f"arn:aws:logs:{place}:log-group:/clary/*:*"),
        allow("secretsmanager:*", f"arn:aws:secretsmanager:{place}:secret:clary/token-??????"),
        allow(["ssm:PutParameter", "ssm:GetParameter"], f"arn:aws:ssm:{place}:parameter/clary/*"),
    )
    logs, secrets, ssm = (user.client(service) for service in ("logs", "secretsmanager", "ssm"))
    logs.create_log_group(logGroupName="/clary/x")
    logs.put_retention_policy(logGroupName="/clary/x", retentionInDays=7)
    assert refused(logs.create_log_group, logGroupName="/other")[0] == "AccessDeniedException"
    secrets.create_secret(Name="clary/token", SecretString="s")
    secrets.get_secret_value(SecretId="clary/token")
    assert refused(secrets.create_secret, Name="clary/tokens", SecretString="s")[0] == "AccessDeniedException"
    ssm.put_parameter(Name="/clary/a", Value="v", Type="String")
    ssm.get_parameter(Name="/clary/a")
    assert refused(ssm.put_parameter, Name="/b", Value="v", Type="String")[0] == "AccessDeniedException"


def test_a_stack_is_made_with_the_rights_of_who_asks(strict: Sandbox, user: User) -> None:
    template = {
        "Parameters": {"Name": {"Type": "String"}},
        "Resources": {
            "B": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "BucketName": {"Fn::Sub": "${Name}-data"},
                    "VersioningConfiguration": {"Status": "Enabled"},
                },
            },
            "R": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "RoleName": {"Fn::Join": ["-", [{"Ref": "Name"}, "role"]]},
                    "AssumeRolePolicyDocument": json.loads(trust(Service="sagemaker.amazonaws.com")),
                },
            },
        },
    }
    name = user.name
    request = {
        "StackName": name,
        "TemplateBody": json.dumps(template),
        "Parameters": [{"ParameterKey": "Name", "ParameterValue": name}],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    bucket, role = f"arn:aws:s3:::{name}-data", f"arn:aws:iam::{strict.account}:role/{name}-role"
    given = [
        allow("cloudformation:*", f"arn:aws:cloudformation:{strict.region}:{strict.account}:stack/{name}/*"),
        allow("s3:CreateBucket", bucket),
        allow("s3:PutBucketVersioning", bucket, Bool={"aws:ViaAWSService": "true"}),
        allow("iam:CreateRole", role),
    ]
    client = user.client("cloudformation")
    for count, action in enumerate(
        ["cloudformation:CreateStack", "s3:CreateBucket", "s3:PutBucketVersioning", "iam:CreateRole"]
    ):
        user.may(*given[:count], allow("sts:GetCallerIdentity"))
        assert f"is not authorized to perform: {action} on" in refused(client.create_stack, **request)[1]
    user.may(*given)
    client.create_stack(**request)
    assert client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    assert "is not authorized to perform: s3:DeleteBucket on" in refused(client.delete_stack, StackName=name)[1]
    user.may(*given, allow("s3:DeleteBucket", bucket), allow("iam:DeleteRole", role))
    client.delete_stack(StackName=name)


# -- simulation


def test_simulations_are_answered_also_while_nothing_is_enforced(idle: Sandbox) -> None:
    user = User(idle, "simulated")
    user.may(
        allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}/*"),
        allow("iam:PassRole", "*", StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"}),
        statement("Deny", "s3:PutObject"),
    )
    found = user.iam.simulate_principal_policy(
        PolicySourceArn=user.arn,
        ActionNames=["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        ResourceArns=["arn:aws:s3:::b/simulated/x"],
    )["EvaluationResults"]
    assert [one["EvalDecision"] for one in found] == ["allowed", "explicitDeny", "implicitDeny"]
    assert found[0]["MatchedStatements"][0]["SourcePolicyId"] == "own"
    entry = {"ContextKeyName": "iam:PassedToService", "ContextKeyValues": ["sagemaker.amazonaws.com"]}
    passing = {"PolicySourceArn": user.arn, "ActionNames": ["iam:PassRole"]}
    (lacks,) = user.iam.simulate_principal_policy(**passing)["EvaluationResults"]
    assert (lacks["EvalDecision"], lacks["MissingContextValues"]) == ("implicitDeny", ["iam:PassedToService"])
    (has,) = user.iam.simulate_principal_policy(**passing, ContextEntries=[{**entry, "ContextKeyType": "string"}])[
        "EvaluationResults"
    ]
    assert has["EvalDecision"] == "allowed"
    assert (
        refused(user.iam.simulate_principal_policy, **{**passing, "PolicySourceArn": user.arn + "x"})[0]
        == "NoSuchEntity"
    )
    assert refused(user.iam.simulate_custom_policy, PolicyInputList=["{"], ActionNames=["a:B"])[0] == "InvalidInput"
    pages = user.iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=[document(allow("s3:*"))],
        ActionNames=["s3:GetObject", "ecr:PutImage", "s3:PutObject"],
        PermissionsBoundaryPolicyInputList=[document(allow("*:Get*"))],
        PaginationConfig={"PageSize": 2},
    )
    results = [one for page in pages for one in page["EvaluationResults"]]
    assert [one["EvalDecision"] for one in results] == ["allowed", "implicitDeny", "implicitDeny"]
    assert results[2]["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}


def test_the_aws_cli_understands_simulations_and_refusals(strict: Sandbox, user: User) -> None:
    command = [sys.executable, "-m", "awscli"]

    def aws(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(strict.data), **strict.environment, **environment}
        return subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, check=False)

    policy = document(allow("s3:Get*"))
    shown = aws("iam", "simulate-custom-policy", "--policy-input-list", policy, "--action-names", "s3:GetObject")
    assert json.loads(shown.stdout)["EvaluationResults"][0]["EvalDecision"] == "allowed"
    keys = {name.upper(): value for name, value in user.keys.items()}
    refusal = aws("sagemaker", "list-training-jobs", **keys)
    assert "not authorized to perform: sagemaker:ListTrainingJobs" in refusal.stderr


# -- over a restart


def test_sessions_and_the_mode_survive_a_restart(strict: Sandbox, user: User) -> None:
    role = make_role(strict, f"{user.name}-kept", allow("s3:ListAllMyBuckets"), trusted=trust(AWS=user.arn))
    given = user.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    strict.kill()
    strict.restart()
    assert strict.status()["iam"] == "enforce"
    strict.client("s3", **keys).list_buckets()
    assert "assumed-role" in refused(strict.client("sagemaker", **keys).list_training_jobs)[1]

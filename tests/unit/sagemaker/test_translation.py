"""Refusals and failures of AWS as Clary's errors: the code, the words, what to do, whether again can help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore import exceptions as botocore

from clary.errors import (
    AwsError,
    ClaryError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    Retry,
    ThrottledError,
    ValidationError,
)
from clary.sagemaker.translation import aws_errors, is_loopback, role_refused, translate
from scripted_aws import ScriptedAws, refusal

if TYPE_CHECKING:
    from clary.sagemaker.session import Aws

JOB = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/digits"
ME = "arn:aws:sts::123456789012:assumed-role/dev/me"


def refused(code: str, message: str = "", status: int = 400, **kwargs: Any) -> ClaryError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"},
    }
    error = translate(botocore.ClientError(response, "CreateTrainingJob"), action="CreateTrainingJob", **kwargs)
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("code", "message", "status", "kind", "told", "retry"),
    [
        ("AccessDeniedException", "", 400, PermissionDeniedError, "aws.access_denied", Retry.NO),
        ("Weird", "", 403, PermissionDeniedError, "aws.access_denied", Retry.NO),
        ("ExpiredTokenException", "", 400, PermissionDeniedError, "aws.expired_credentials", Retry.NO),
        ("UnrecognizedClientException", "", 400, PermissionDeniedError, "aws.invalid_credentials", Retry.NO),
        ("SignatureDoesNotMatch", "", 403, PermissionDeniedError, "aws.invalid_credentials", Retry.NO),
        ("RequestTimeTooSkewed", "", 403, PermissionDeniedError, "aws.clock_skew", Retry.NO),
        ("ThrottlingException", "Rate exceeded", 400, ThrottledError, "aws.throttled", Retry.LATER),
        ("ResourceInUse", "", 400, ConflictError, "aws.conflict", Retry.NO),
        ("ResourceNotFound", "", 400, NotFoundError, "aws.not_found", Retry.NO),
        ("ValidationException", "Requested resource not found.", 400, NotFoundError, "aws.not_found", Retry.NO),
        ("NoSuchBucket", "", 404, NotFoundError, "aws.bucket_not_found", Retry.NO),
        ("PermanentRedirect", "", 301, ClaryError, "aws.other_region", Retry.NO),
        ("ValidationException", "1 validation error detected", 400, ValidationError, "aws.invalid_request", Retry.NO),
        ("InternalFailure", "", 500, AwsError, "aws.service_error", Retry.LATER),
        ("Weird", "", 503, AwsError, "aws.service_error", Retry.LATER),
        ("Weird", "", 400, AwsError, "aws.refused", Retry.NO),
        ("ResourceLimitExceeded", "no numbers", 400, QuotaError, "aws.quota_exceeded", Retry.LATER),
    ],
)
def test_each_sort_of_refusal(
    code: str, message: str, status: int, kind: type[ClaryError], told: str, retry: Retry
) -> None:
    error = refused(code, message, status)
    assert isinstance(error, kind)
    assert (error.code, error.retry) == (told, retry)
    assert error.next_step
    assert error.details["service_code"] == code
    assert error.details["request_id"] == "r-1"


def test_an_action_is_written_as_iam_writes_it() -> None:
    error = refused("ValidationException", "1 validation error detected")
    assert error.summary == "sagemaker:CreateTrainingJob was refused: 1 validation error detected"
    assert refused("ResourceNotFound", "gone", resource="the job a").summary.startswith("The job a was not found")


def test_a_missing_right_names_action_resource_and_the_grant() -> None:
    error = refused(
        "AccessDeniedException",
        f"User: {ME} is not authorized to perform: sagemaker:CreateTrainingJob on resource: {JOB} because no "
        "identity-based policy allows the sagemaker:CreateTrainingJob action",
    )
    assert error.summary == f"{ME} is not allowed sagemaker:CreateTrainingJob on {JOB}."
    assert f'"Action": "sagemaker:CreateTrainingJob", "Resource": "{JOB}"' in error.next_step
    assert error.details["statement"] == {"Effect": "Allow", "Action": "sagemaker:CreateTrainingJob", "Resource": JOB}


def test_a_missing_right_to_pass_the_role_is_the_one_to_grant() -> None:
    role = "arn:aws:iam::123456789012:role/Runner"
    error = refused(
        "AccessDeniedException", f"User: {ME} is not authorized to perform: iam:PassRole on resource: {role}"
    )
    assert error.details["statement"]["Action"] == "iam:PassRole"


def test_an_explicit_denial_is_no_missing_grant() -> None:
    error = refused(
        "AccessDeniedException",
        f"User: {ME} is not authorized to perform: sagemaker:CreateTrainingJob on resource: {JOB} "
        "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/p",
    )
    assert error.next_step.startswith("A service control policy denies sagemaker:CreateTrainingJob explicitly")


def test_a_denial_without_words_uses_what_was_done() -> None:
    error = translate(
        botocore.ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket"),
        action="s3:ListBucket",
        resource="arn:aws:s3:::bucket",
    )
    assert error is not None
    assert error.details["statement"] == {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::bucket",
    }
    assert "aws sts get-caller-identity" in error.next_step


@pytest.mark.parametrize(
    "message",
    [
        "Could not assume role arn:aws:iam::1:role/R. Please ensure that the role exists and allows the principal.",
        "The role arn:aws:iam::1:role/R cannot be assumed by principal sagemaker.amazonaws.com.",
    ],
)
def test_a_role_that_cannot_be_assumed(message: str) -> None:
    error = refused("ValidationException", message)
    assert error.code == "aws.role_not_assumable"
    assert "trust policy" in error.next_step


def test_the_numbers_of_a_quota_are_read() -> None:
    error = refused(
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.p3.2xlarge for training job usage' is 4 Instances, with current "
        "utilization of 3 Instances and a request delta of 2 Instances. Please use AWS Service Quotas to request an "
        "increase for this quota.",
    )
    assert error.summary == "The quota 'ml.p3.2xlarge for training job usage' is 4: 3 in use, 2 more wanted."
    assert {key: error.details[key] for key in ("quota", "limit", "used", "wanted")} == {
        "quota": "ml.p3.2xlarge for training job usage",
        "limit": 4.0,
        "used": 3.0,
        "wanted": 2.0,
    }


@pytest.mark.parametrize(
    ("raised", "code", "retry"),
    [
        (botocore.NoCredentialsError(), "aws.no_credentials", Retry.NO),
        (botocore.PartialCredentialsError(provider="env", cred_var="x"), "aws.incomplete_credentials", Retry.NO),
        (botocore.ProfileNotFound(profile="p"), "aws.profile_not_found", Retry.NO),
        (botocore.UnauthorizedSSOTokenError(), "aws.sign_in_expired", Retry.NO),
        (botocore.TokenRetrievalError(provider="sso", error_msg="x"), "aws.sign_in_expired", Retry.NO),
        (botocore.LoginRefreshRequired(), "aws.sign_in_expired", Retry.NO),
        (botocore.InvalidConfigError(error_msg="x"), "aws.bad_profile", Retry.NO),
        (botocore.CredentialRetrievalError(provider="p", error_msg="x"), "aws.credentials_failed", Retry.LATER),
        (botocore.NoRegionError(), "aws.no_region", Retry.NO),
        (botocore.InvalidRegionError(region_name="x y"), "aws.unknown_region", Retry.NO),
        (botocore.ParamValidationError(report="x"), "aws.invalid_request", Retry.NO),
        (botocore.SSLError(endpoint_url="https://x", error="bad"), "aws.tls_failed", Retry.NO),
        (botocore.EndpointConnectionError(endpoint_url="https://x"), "aws.unreachable", Retry.LATER),
        (botocore.ConnectTimeoutError(endpoint_url="https://x"), "aws.unreachable", Retry.LATER),
        (botocore.ProxyConnectionError(proxy_url="http://p"), "aws.unreachable", Retry.LATER),
        (botocore.ReadTimeoutError(endpoint_url="https://x"), "aws.no_reply", Retry.LATER),
        (botocore.ConnectionClosedError(endpoint_url="https://x"), "aws.no_reply", Retry.LATER),
        (botocore.HTTPClientError(error="x"), "aws.no_reply", Retry.LATER),
        (botocore.DataNotFoundError(data_path="x"), "aws.client_failed", Retry.NO),
    ],
)
def test_each_failure_without_an_answer(raised: Exception, code: str, retry: Retry) -> None:
    error = translate(raised, action="CreateTrainingJob")
    assert error is not None
    assert (error.code, error.retry) == (code, retry)
    assert error.summary
    assert error.next_step


@pytest.mark.parametrize(
    ("raised", "command"),
    [
        (botocore.UnauthorizedSSOTokenError(), "aws sso login"),
        (botocore.SSOTokenLoadError(error_msg="x"), "aws sso login"),
        (botocore.LoginRefreshRequired(), "aws login"),
    ],
)
def test_a_sign_in_is_told_with_its_profile(raised: Exception, command: str) -> None:
    for profile, shown in (("team", f"`{command} --profile team`"), (None, f"`{command}`")):
        error = translate(raised, action="CreateTrainingJob", profile=profile)
        assert error is not None
        assert shown in error.next_step


def test_a_head_that_is_refused_without_a_reason() -> None:
    answer: Any = {"Error": {"Code": "400", "Message": "Bad Request"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error = translate(botocore.ClientError(answer, "HeadBucket"), action="s3:HeadBucket")
    assert error is not None
    assert (error.code, error.details["service_code"]) == ("aws.expired_credentials", "400")


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        (ME, "arn:aws:iam::123456789012:role/dev"),
        ("arn:aws-cn:iam::123456789012:user/me", "arn:aws-cn:iam::123456789012:user/me"),
        (None, "ARN of the caller"),
    ],
)
def test_a_trust_policy_has_to_name_the_role_behind_a_session(caller: str | None, principal: str) -> None:
    answer: Any = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    error = role_refused(botocore.ClientError(answer, "AssumeRole"), "arn:aws:iam::1:role/R", caller=caller)
    assert error.code == "aws.assume_role_denied"
    assert error.details["trust_statement"]["Principal"] == {"AWS": principal}
    assert "Condition" not in error.details["trust_statement"]


def test_what_is_called_on_the_way_is_told_as_what_it_is() -> None:
    answer: Any = {"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}
    error = translate(botocore.ClientError(answer, "AssumeRole"), action="CreateTrainingJob", resource="the job a")
    assert error is not None
    assert error.summary == "AWS takes no more sts:AssumeRole for the moment: Rate exceeded"


def test_only_what_is_far_away_is_looked_for_in_the_network() -> None:
    near = translate(botocore.EndpointConnectionError(endpoint_url="http://127.0.0.1:4599/"), action="x")
    far = translate(botocore.EndpointConnectionError(endpoint_url="https://api.example/"), action="x")
    assert near is not None
    assert far is not None
    assert "Start what should listen at http://127.0.0.1:4599" in near.next_step
    assert "network" in far.next_step


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://localhost:1", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:80/", True),
        ("https://127.example.com", False),
        ("https://10.0.0.1", False),
    ],
)
def test_loopback(url: str, near: bool) -> None:
    assert is_loopback(url) is near


def test_other_exceptions_pass() -> None:
    assert translate(KeyError("x"), action="x") is None
    with pytest.raises(KeyError), aws_errors("x"):
        raise KeyError
    ours = ConflictError("a.b", "c", next_step="d")
    with pytest.raises(ConflictError) as caught, aws_errors("x"):
        raise ours
    assert caught.value is ours


def test_the_original_is_kept_as_the_cause() -> None:
    with pytest.raises(ClaryError) as caught, aws_errors("x"):
        raise botocore.NoCredentialsError
    assert isinstance(caught.value.__cause__, botocore.NoCredentialsError)


def test_over_the_wire(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("DescribeTrainingJob", refusal("ThrottlingException", "Rate exceeded"), None)
    with pytest.raises(ThrottledError), aws.call("DescribeTrainingJob") as client:
        client.describe_training_job(TrainingJobName="a")
    with pytest.raises(AwsError) as caught, aws.call("DescribeTrainingJob") as client:
        client.describe_training_job(TrainingJobName="a")
    assert caught.value.code == "aws.no_reply"
    assert caught.value.details["endpoint"] == scripted.url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:9/a-bucket", "http://127.0.0.1:9"),
        ("http://me:secret@proxy:3128/", "http://proxy:3128"),
        ("proxy:3128", "proxy:3128"),
    ],
)
def test_an_endpoint_is_told_without_bucket_and_password(url: str, shown: str) -> None:
    error = translate(botocore.EndpointConnectionError(endpoint_url=url, error="x"), action="s3:HeadBucket")
    assert error is not None
    assert error.details["endpoint"] == shown
    assert f"Nothing answers at {shown} (s3:HeadBucket)." in error.summary


def test_a_file_of_settings_that_cannot_be_read_is_named() -> None:
    error = translate(botocore.ConfigParseError(path="/home/me/.aws/credentials", error="x"), action="sts:*")
    assert error is not None
    assert (error.code, error.summary) == (
        "aws.bad_file",
        "A file of AWS settings cannot be read: /home/me/.aws/credentials.",
    )

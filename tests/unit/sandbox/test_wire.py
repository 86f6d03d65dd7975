from __future__ import annotations

import json
from typing import Any

import pytest

from clary.sandbox.records import make_environ
from clary.sandbox.server import foreign
from clary.sandbox.wire import ApiError, error_response, parse

_SIGNED = "AWS4-HMAC-SHA256 Credential=AKID/20200101/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def environ(method: str = "GET", uri: str = "/", service: str = "s3", body: bytes = b"", **headers: Any) -> Any:
    return make_environ(method, uri, {"HTTP_AUTHORIZATION": _SIGNED.format(service), **headers}, body)


@pytest.mark.parametrize(
    ("method", "uri", "operation", "key"),
    [
        ("GET", "/", "ListBuckets", ""),
        ("PUT", "/b", "CreateBucket", ""),
        ("GET", "/b?list-type=2&prefix=x", "ListObjectsV2", ""),
        ("PUT", "/b/a%20b/c%2Bd", "PutObject", "a b/c+d"),
        ("HEAD", "/b/k", "HeadObject", "k"),
        ("DELETE", "/b/k?versionId=1", "DeleteObject", "k"),
        ("POST", "/b?delete", "DeleteObjects", ""),
        ("POST", "/b/k?uploads", "CreateMultipartUpload", "k"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart", "k"),
        ("POST", "/b/k?uploadId=u", "CompleteMultipartUpload", "k"),
        ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload", "k"),
        ("GET", "/b?versions", "GET versions", ""),
    ],
)
def test_s3_operations_are_known_by_method_and_path(method: str, uri: str, operation: str, key: str) -> None:
    request = parse(environ(method, uri))
    assert (request.operation, request.key) == (operation, key)
    assert (request.access_key, request.region) == ("AKID", "eu-west-1")


def test_targets_and_actions_name_the_operation() -> None:
    assert parse(environ("POST", service="sagemaker", HTTP_X_AMZ_TARGET="SageMaker.ListTags")).operation == "ListTags"
    form = environ(
        "POST", service="iam", body=b"Action=GetRole&RoleName=x", CONTENT_TYPE="application/x-www-form-urlencoded"
    )
    request = parse(form)
    assert (request.service, request.operation) == ("iam", "GetRole")
    assert form["wsgi.input"].read() == b"Action=GetRole&RoleName=x"


def test_presigned_and_old_signatures_name_the_key() -> None:
    presigned = "/b/k?X-Amz-Credential=AK/20200101/us-west-2/s3/aws4_request&X-Amz-Signature=1"
    assert parse(make_environ("GET", presigned, {}, b"")).access_key == "AK"
    assert parse(make_environ("GET", "/b/k?AWSAccessKeyId=OLD&Signature=x", {}, b"")).access_key == "OLD"
    assert parse(make_environ("GET", "/b/k", {"HTTP_AUTHORIZATION": "AWS OLD:sig"}, b"")).access_key == "OLD"
    assert parse(make_environ("GET", "/b/k", {}, b"")).access_key is None


def test_refusals_speak_the_protocol_of_the_request() -> None:
    error = ApiError("Nope", "a < b")
    told = error_response(parse(environ("POST", service="sqs", HTTP_X_AMZ_TARGET="AmazonSQS.X")), error)
    assert (told.header("content-type"), json.loads(b"".join(told.body))["__type"]) == (
        "application/x-amz-json-1.0",
        "Nope",
    )
    told = error_response(parse(environ("GET", "/b/k")), ApiError("SlowDown", "a < b", status=503))
    assert (told.status, b"<Message>a &lt; b</Message>" in b"".join(told.body)) == (503, True)
    assert b"".join(error_response(parse(environ("HEAD", "/b/k")), error).body) == b""
    told = error_response(parse(environ("GET", "/?Action=ListRoles", service="iam")), error)
    assert b"<ErrorResponse>" in b"".join(told.body)
    told = error_response(parse(environ("GET", "/schedules", service="scheduler")), error)
    assert told.header("x-amzn-ErrorType") == "Nope"


@pytest.mark.parametrize("host", ["127.0.0.1:4599", "localhost", "bucket.localhost:1", "[::1]:80", "127.9.9.9"])
def test_loopback_names_are_served(host: str) -> None:
    assert foreign({"HTTP_HOST": host}) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0"]
)
def test_other_names_are_refused(host: str) -> None:
    assert foreign({"HTTP_HOST": host}) is not None
    assert foreign({"HTTP_HOST": "localhost", "HTTP_ORIGIN": f"http://{host}"}) is not None

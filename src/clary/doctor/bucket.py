"""The artifact store: there, in the region, writable with conditions, and with keys that can be used."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from clary.doctor.findings import Check, Finding, failed, from_error, ok, unchecked
from clary.errors import ClaryError, PermissionDeniedError
from clary.ids import new_id
from clary.sagemaker import permissions
from clary.sagemaker.statements import WRITE_TESTS
from clary.stacks.forms import bucket_of
from clary.stacks.verify import Unseen, look_at_bucket

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

_BODY = b"Written by `clary doctor`, which takes it away again. It may be deleted.\n"
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


def _there(subject: Subject) -> Finding:
    seen = look_at_bucket(subject.aws, subject.stack)
    bucket = bucket_of(subject.stack.artifact_store)
    if isinstance(seen, Unseen):
        return unchecked(seen.reason, seen.permission)
    return ok(f"{bucket}, in {seen}" if seen else f"{bucket}; the store does not tell its region")


def _writable(subject: Subject) -> Finding:
    """Write as the log of a run is written: only where nothing is yet. Not being allowed to write is a failure here."""
    bucket = bucket_of(subject.stack.artifact_store)
    prefix = subject.stack.artifact_store.removeprefix(f"s3://{bucket}").strip("/")
    where = {"Bucket": bucket, "Key": "/".join(part for part in (prefix, WRITE_TESTS, new_id().lower()) if part)}
    url = f"s3://{bucket}/{where['Key']}"
    try:
        with subject.aws.call("s3:PutObject", resource=url) as s3:
            s3.put_object(**where, Body=_BODY, IfNoneMatch="*")
    except PermissionDeniedError as error:
        return _not_granted(subject, error)
    try:
        finding = _conditions(subject, where, url)
    except PermissionDeniedError as error:
        finding = _not_granted(subject, error)
    finally:
        left = _removed(subject, where)
    return finding or ok(f"s3://{bucket}/{prefix} can be written with conditions, read and listed{left}")


def _conditions(subject: Subject, where: dict[str, str], url: str) -> Finding | None:
    """Write a second time, which must be refused; then read and list. None when all is well."""
    from botocore.exceptions import ClientError

    with subject.aws.call("s3:PutObject", resource=url) as s3:
        try:
            s3.put_object(**where, Body=_BODY, IfNoneMatch="*")
        except ClientError as error:
            if str(error.response["Error"]["Code"]) not in _TAKEN:
                raise
        else:
            return failed(
                f"The store at {s3.meta.endpoint_url} ignores If-None-Match: it wrote over {url}.",
                "Use Amazon S3, or a store with conditional writes: without them two attempts of a run could both win.",
            )
    with subject.aws.call("s3:GetObject", resource=url) as s3:
        s3.get_object(**where)["Body"].read()
    with subject.aws.call("s3:ListBucket", resource=where["Bucket"]) as s3:
        s3.list_objects_v2(Bucket=where["Bucket"], Prefix=where["Key"], MaxKeys=1)
    return None


def _removed(subject: Subject, where: dict[str, str]) -> str:
    """Take the object of the test away; return what to say where that is not allowed, which is no fault."""
    with contextlib.suppress(ClaryError), subject.aws.call("s3:DeleteObject") as s3:
        s3.delete_object(**where)
        return ""
    return f"; s3:DeleteObject is missing, so {where['Key']} stays"


def _not_granted(subject: Subject, error: PermissionDeniedError) -> Finding:
    """What is denied here, every submit needs: a failure, with the statement of the least policy."""
    if error.code != "aws.access_denied":
        return from_error(error)
    refused = error.details["statement"]
    statement = permissions.granting("submitter", subject.scope(), refused["Action"]) or refused
    return failed(error.summary, "Add to a policy of these credentials:", [statement])


def _encryption(subject: Subject) -> Finding | None:
    """The keys that the settings name, and the bucket's own: each there and switched on.

    Source: without a key, S3 encrypts every object with keys of its own (SSE-S3, since January 2023).
    """
    settings = subject.settings()
    named = {key: "the settings" for key in (settings.volume_kms_key, settings.output_kms_key) if key}
    bucket = bucket_of(subject.stack.artifact_store)
    own = _bucket_encryption(subject, bucket)
    if own.get("KMSMasterKeyID"):
        named.setdefault(own["KMSMasterKeyID"], f"the bucket {bucket}")
    for key, whose in named.items():
        with subject.aws.call("kms:DescribeKey", resource=key) as kms:
            found = kms.describe_key(KeyId=key)["KeyMetadata"]
        if found["KeyState"] != "Enabled":
            mend = "cancel-key-deletion" if found["KeyState"] == "PendingDeletion" else "enable-key"
            return failed(
                f"The KMS key {key} of {whose} is in the state {found['KeyState']}.",
                f"aws kms {mend} --key-id {found['KeyId']} --region {subject.aws.region}",
            )
    if named:
        return ok(f"KMS: {', '.join(named)}")
    return ok(f"by Amazon S3 itself ({own.get('SSEAlgorithm', 'AES256')})")


def _bucket_encryption(subject: Subject, bucket: str) -> dict[str, Any]:
    """Return the default encryption of the bucket; empty where it has none."""
    from botocore.exceptions import ClientError

    with subject.aws.call("s3:GetEncryptionConfiguration", resource=bucket) as s3:
        try:
            answer = s3.get_bucket_encryption(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ServerSideEncryptionConfigurationNotFoundError":
                raise
            return {}
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
    return dict(rules[0].get("ApplyServerSideEncryptionByDefault", {})) if rules else {}


CHECKS = (
    Check("bucket", "Bucket", _there, ("s3:ListBucket",)),
    Check(
        "bucket-write",
        "Conditional writes",
        _writable,
        ("s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject"),
    ),
    Check("encryption", "Encryption", _encryption, ("s3:GetEncryptionConfiguration", "kms:DescribeKey")),
)

"""S3: which operation a request is, and what it needs.

Source besides the Service Authorization Reference: S3 User Guide, "Required permissions for Amazon S3 API operations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from clary.sandbox.iam.call import Call, Facts, read_headers
from clary.sandbox.iam.table.common import KEY
from clary.sandbox.iam.table.spec import Key, Need, Read, ResourceType, Rows, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.sandbox.wire import Request

BUCKET = ResourceType("s3", "bucket", "arn:${Partition}:s3:::${BucketName}")
OBJECT = ResourceType("s3", "object", "arn:${Partition}:s3:::${BucketName}/${ObjectName}")


def _header(name: str) -> Read:
    return lambda call: [call.headers[name]] if name in call.headers else []


def _bucket(call: Call) -> list[str]:
    return [BUCKET.arn(call, call.text("Bucket"))]


def _object(call: Call) -> list[str]:
    return [OBJECT.arn(call, call.text("Bucket"), call.text("Key"))]


def _source(call: Call) -> list[str]:
    bucket, key, _ = _copy_source(call)
    return [OBJECT.arn(call, bucket, key)]


def _copy_source(call: Call) -> tuple[str, str, str]:
    """Return bucket, key and version of the object that is copied from; the version is empty when none is named."""
    path, _, version = unquote(call.headers.get("x-amz-copy-source", "")).lstrip("/").partition("?versionId=")
    bucket, _, key = path.partition("/")
    return bucket, key, version


_COMMON = (
    Key("s3:authType", lambda call: ["REST-QUERY-STRING" if call.get("X-Amz-Signature") else "REST-HEADER"]),
    Key("s3:signatureversion", lambda _: ["AWS4-HMAC-SHA256"]),
    # The loopback interface stands for an encrypted connection.
    Key("s3:TlsVersion", lambda _: ["1.3"]),
    Key("s3:x-amz-content-sha256", _header("x-amz-content-sha256")),
)
_LISTING = (
    *_COMMON,
    Key("s3:prefix", lambda call: [call.text("prefix")]),
    Key("s3:delimiter", text("delimiter")),
    Key("s3:max-keys", text("max-keys", "max-uploads")),
)
_ENCRYPTION = "x-amz-server-side-encryption"
_KMS_KEY = f"{_ENCRYPTION}-aws-kms-key-id"
_CANNED = Key("s3:x-amz-acl", _header("x-amz-acl"))
_TAG_KEYS = Key(
    "s3:RequestObjectTagKeys",
    lambda call: [name for name, _ in parse_qsl(call.headers.get("x-amz-tagging", ""))],
)
_WRITING = (
    *_COMMON,
    _CANNED,
    *(
        Key(f"s3:{name}", _header(name))
        for name in (
            "x-amz-copy-source",
            "x-amz-metadata-directive",
            _ENCRYPTION,
            _KMS_KEY,
            "x-amz-storage-class",
            "x-amz-website-redirect-location",
        )
    ),
    Key("s3:if-none-match", _header("if-none-match")),
    Key("s3:if-match", _header("if-match")),
    _TAG_KEYS,
)
_VERSION = (*_COMMON, Key("s3:versionid", text("versionId")))


def _versioned(call: Call) -> bool:
    return bool(call.get("versionId"))


def _plain(call: Call) -> bool:
    return not _versioned(call)


def _on_object(name: str, version: str) -> list[Need]:
    """Return the needs of an operation that has another action when a version is named."""
    return [
        Need(f"s3:{name}", OBJECT, _object, _COMMON, when=_plain),
        Need(f"s3:{version}", OBJECT, _object, _VERSION, when=_versioned),
    ]


def _on_bucket(**actions: str) -> dict[str, list[Need]]:
    return {operation: [Need(f"s3:{action}", BUCKET, _bucket, _COMMON)] for operation, action in actions.items()}


def _kms(action: str) -> Need:
    """Return the need to use the key that a write names for encryption, on the caller's behalf by S3."""
    return Need(
        action,
        KEY,
        lambda call: [KEY.arn(call, call.facts.key_id(call.headers[_KMS_KEY], call.account, call.region))],
        keys=(
            Key("kms:ViaService", lambda call: [f"s3.{call.region}.amazonaws.com"]),
            Key("kms:CallerAccount", lambda call: [call.account]),
        ),
        when=lambda call: _KMS_KEY in call.headers,
    )


_PUT = Need("s3:PutObject", OBJECT, _object, _WRITING)
_TAG = Need(
    "s3:PutObjectTagging", OBJECT, _object, (*_COMMON, _TAG_KEYS), when=lambda call: "x-amz-tagging" in call.headers
)
_ACL = Need("s3:PutObjectAcl", OBJECT, _object, (*_COMMON, _CANNED), when=lambda call: "x-amz-acl" in call.headers)
# A write under If-Match compares with what is there.
_COMPARE = Need("s3:GetObject", OBJECT, _object, _COMMON, when=lambda call: "if-match" in call.headers)
_DATA_KEY = _kms("kms:GenerateDataKey")
_COPY = [
    Need("s3:GetObject", OBJECT, _source, _COMMON, when=lambda call: not _copy_source(call)[2]),
    Need("s3:GetObjectVersion", OBJECT, _source, _COMMON, when=lambda call: bool(_copy_source(call)[2])),
]

ROWS: Rows = {
    "ListBuckets": [Need("s3:ListAllMyBuckets", None, lambda call: [BUCKET.arn(call, "*")], _COMMON)],
    "CreateBucket": [
        Need("s3:CreateBucket", BUCKET, _bucket, (*_COMMON, _CANNED)),
        Need("s3:PutBucketAcl", BUCKET, _bucket, _COMMON, when=lambda call: "x-amz-acl" in call.headers),
    ],
    "HeadBucket": [Need("s3:ListBucket", BUCKET, _bucket, _COMMON)],
    "ListObjects": [Need("s3:ListBucket", BUCKET, _bucket, _LISTING)],
    "ListObjectsV2": [Need("s3:ListBucket", BUCKET, _bucket, _LISTING)],
    "ListObjectVersions": [Need("s3:ListBucketVersions", BUCKET, _bucket, _LISTING)],
    "ListMultipartUploads": [Need("s3:ListBucketMultipartUploads", BUCKET, _bucket, _COMMON)],
    **_on_bucket(
        DeleteBucket="DeleteBucket",
        GetBucketLocation="GetBucketLocation",
        GetBucketVersioning="GetBucketVersioning",
        PutBucketVersioning="PutBucketVersioning",
        GetBucketPolicy="GetBucketPolicy",
        PutBucketPolicy="PutBucketPolicy",
        DeleteBucketPolicy="DeleteBucketPolicy",
        GetBucketPolicyStatus="GetBucketPolicyStatus",
        GetBucketEncryption="GetEncryptionConfiguration",
        PutBucketEncryption="PutEncryptionConfiguration",
        DeleteBucketEncryption="PutEncryptionConfiguration",
        GetBucketLifecycleConfiguration="GetLifecycleConfiguration",
        PutBucketLifecycleConfiguration="PutLifecycleConfiguration",
        DeleteBucketLifecycle="PutLifecycleConfiguration",
        GetBucketTagging="GetBucketTagging",
        PutBucketTagging="PutBucketTagging",
        DeleteBucketTagging="PutBucketTagging",
        GetPublicAccessBlock="GetBucketPublicAccessBlock",
        PutPublicAccessBlock="PutBucketPublicAccessBlock",
        DeletePublicAccessBlock="PutBucketPublicAccessBlock",
        GetBucketOwnershipControls="GetBucketOwnershipControls",
        PutBucketOwnershipControls="PutBucketOwnershipControls",
        DeleteBucketOwnershipControls="PutBucketOwnershipControls",
        GetBucketAcl="GetBucketAcl",
        PutBucketAcl="PutBucketAcl",
        GetBucketCors="GetBucketCORS",
        PutBucketCors="PutBucketCORS",
        DeleteBucketCors="PutBucketCORS",
        GetBucketLogging="GetBucketLogging",
        PutBucketLogging="PutBucketLogging",
        GetBucketNotificationConfiguration="GetBucketNotification",
        PutBucketNotificationConfiguration="PutBucketNotification",
    ),
    "GetObjectLockConfiguration": [Need("s3:GetBucketObjectLockConfiguration", BUCKET, _bucket, _COMMON[:-1])],
    "PutObjectLockConfiguration": [Need("s3:PutBucketObjectLockConfiguration", BUCKET, _bucket, _COMMON[:-1])],
    "GetObject": _on_object("GetObject", "GetObjectVersion"),
    "HeadObject": _on_object("GetObject", "GetObjectVersion"),
    "GetObjectAttributes": [
        *_on_object("GetObject", "GetObjectVersion"),
        *_on_object("GetObjectAttributes", "GetObjectVersionAttributes"),
    ],
    "DeleteObject": _on_object("DeleteObject", "DeleteObjectVersion"),
    "GetObjectTagging": _on_object("GetObjectTagging", "GetObjectVersionTagging"),
    "PutObjectTagging": _on_object("PutObjectTagging", "PutObjectVersionTagging"),
    "DeleteObjectTagging": _on_object("DeleteObjectTagging", "DeleteObjectVersionTagging"),
    "GetObjectAcl": _on_object("GetObjectAcl", "GetObjectVersionAcl"),
    "PutObjectAcl": _on_object("PutObjectAcl", "PutObjectVersionAcl"),
    "PutObject": [_PUT, _TAG, _ACL, _COMPARE, _DATA_KEY],
    "CopyObject": [*_COPY, _PUT, _TAG, _ACL, _DATA_KEY],
    "CreateMultipartUpload": [_PUT, _TAG, _ACL, _DATA_KEY],
    "UploadPart": [_PUT],
    "UploadPartCopy": [*_COPY, _PUT],
    "CompleteMultipartUpload": [_PUT, _COMPARE],
    "AbortMultipartUpload": [Need("s3:AbortMultipartUpload", OBJECT, _object, _COMMON)],
    "ListParts": [Need("s3:ListMultipartUploadParts", OBJECT, _object, _COMMON)],
}
"""DeleteObjects is not here: it is DeleteObject once for each object it names, each allowed or refused by itself."""

_SUBRESOURCES = {
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "versioning": "BucketVersioning",
    "encryption": "BucketEncryption",
    "lifecycle": "BucketLifecycleConfiguration",
    "publicAccessBlock": "PublicAccessBlock",
    "ownershipControls": "BucketOwnershipControls",
    "cors": "BucketCors",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotificationConfiguration",
    "object-lock": "ObjectLockConfiguration",
}
_OF_BOTH = {"tagging": "Tagging", "acl": "Acl"}
_OTHER = (
    "replication", "website", "requestPayment", "accelerate", "analytics", "inventory", "metrics", "retention",
    "legal-hold", "restore", "select", "torrent", "intelligent-tiering", "metadataTable", "metadataConfiguration",
    "abac", "session", "renameObject",
)  # fmt: skip
_VERBS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}
_PLAIN_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_PLAIN_BUCKET = {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
_UPLOADS = {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload", "GET": "ListParts"}


def read_s3(request: Request, account: str, facts: Facts) -> Call:
    """Return an S3 request as a Call; its body is not read."""
    params = {name: values[0] for name, values in request.query.items()}
    params |= {"Bucket": request.bucket, "Key": request.key}
    return Call(
        "s3",
        operation_of(request),
        account=account,
        region=request.region,
        facts=facts,
        params=params,
        headers=read_headers(request),
        access_key=request.access_key or "",
    )


def operation_of(request: Request) -> str:
    """Return the name of the operation in S3's API; for what the table does not know, method and subresource."""
    method, query = request.method, request.query
    other = next((name for name in _OTHER if name in query), None)
    if other:
        return f"{method} {other}"
    if not request.bucket:
        return "ListBuckets" if method == "GET" else method
    return _object_operation(request) if request.key else _bucket_operation(method, query)


def _object_operation(request: Request) -> str:
    method, query = request.method, request.query
    copies = "HTTP_X_AMZ_COPY_SOURCE" in request.environ
    if "uploadId" in query:
        return _UPLOADS.get(method, "UploadPartCopy" if copies else "UploadPart")
    if "uploads" in query:
        return "CreateMultipartUpload"
    if "attributes" in query:
        return "GetObjectAttributes"
    for name, title in _OF_BOTH.items():
        if name in query:
            return f"{_VERBS.get(method, method)}Object{title}"
    return "CopyObject" if copies and method == "PUT" else _PLAIN_OBJECT.get(method, method)


def _bucket_operation(method: str, names: Mapping[str, Sequence[str]]) -> str:
    if "delete" in names:
        return "DeleteObjects"
    if "versions" in names:
        return "ListObjectVersions"
    if "uploads" in names:
        return "ListMultipartUploads"
    if "list-type" in names:
        return "ListObjectsV2"
    for name, title in {**_SUBRESOURCES, **{key: f"Bucket{value}" for key, value in _OF_BOTH.items()}}.items():
        if name in names:
            found = f"{_VERBS.get(method, method)}{title}"
            return "DeleteBucketLifecycle" if found == "DeleteBucketLifecycleConfiguration" else found
    return _PLAIN_BUCKET.get(method, method)

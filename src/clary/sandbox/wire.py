"""What a request to AWS says about itself, and how AWS words a refusal: what the protocols have in common."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Environ = dict[str, Any]
_SCOPE = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-zA-Z0-9.-]+)/aws4_request")
_SCHEDULE = {"POST": "CreateSchedule", "PUT": "UpdateSchedule", "GET": "GetSchedule", "DELETE": "DeleteSchedule"}
_JSON_VERSIONS = {"AmazonSQS": "1.0", "AmazonSSM": "1.1"}


@dataclass
class Response:
    """An HTTP answer; ``body`` may be streamed."""

    status: int
    headers: list[tuple[str, str]]
    body: Iterable[bytes]

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True)
class Request:
    """A parsed request: who asks (``access_key``, ``region``), which service and operation, about which S3 object."""

    environ: Environ
    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    access_key: str | None
    region: str
    service: str
    target: str | None
    action: str | None = None
    bucket: str = ""
    key: str = ""

    @property
    def operation(self) -> str:
        """The API operation's name; for S3 and other REST services the best that method and path tell."""
        if self.target:
            return self.target.split(".", 1)[1]
        if self.action:
            return self.action
        if self.service == "scheduler" and self.path.startswith("/schedules/") and self.method in _SCHEDULE:
            return _SCHEDULE[self.method]
        return s3_operation(self) if self.service == "s3" else f"{self.method} {self.path}"

    @property
    def mutating(self) -> bool:
        """Whether the method may change something (REST services)."""
        return self.method not in ("GET", "HEAD", "OPTIONS")


class ApiError(Exception):
    """A refusal in the service's own words, answered in the protocol of the request."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status


def parse(environ: Environ) -> Request:
    """Read from a WSGI environment who asks for what. The body is read only for small form posts (query protocol)."""
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    access_key, region, service = _scope(environ, query)
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target and "." not in target:
        target = None
    path = str(environ.get("REQUEST_URI") or environ["PATH_INFO"]).split("?", 1)[0]
    action = None
    if environ["REQUEST_METHOD"] == "POST" and not target and _is_form(environ):
        action = next(iter(parse_qs(read_body(environ).decode("utf-8", "replace")).get("Action", [])), None)
    service = service or ("s3" if not target and not action else "")
    bucket, key = ("", "")
    if service == "s3":
        bucket, _, key = unquote(path).lstrip("/").partition("/")
    return Request(
        environ=environ,
        method=environ["REQUEST_METHOD"],
        path=path,
        query=query,
        access_key=access_key,
        region=region or "us-east-1",
        service=service,
        target=target,
        action=action or next(iter(query.get("Action", [])), None),
        bucket=bucket,
        key=key,
    )


def _scope(environ: Environ, query: Mapping[str, Sequence[str]]) -> tuple[str | None, str, str]:
    """Return access key, region and service of the signature (header or presigned), as far as there is one."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    match = _SCOPE.search(authorization) or _SCOPE.search("Credential=" + query.get("X-Amz-Credential", [""])[0])
    if match:
        return match[1], match[3], match[4].lower()
    old_style = re.match(r"AWS ([^:\s]+):", authorization)
    if old_style:
        return old_style[1], "", "s3"
    return query.get("AWSAccessKeyId", [None])[0], "", ""


def _is_form(environ: Environ) -> bool:
    return str(environ.get("CONTENT_TYPE", "")).startswith("application/x-www-form-urlencoded")


def read_body(environ: Environ) -> bytes:
    """Read the whole body and put it back, so that the next reader finds it again."""
    import io

    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def read_plain_body(environ: Environ) -> bytes:
    """Read a small body without the chunk framing that SDKs may have put around it; the next reader finds it whole."""
    body = read_body(environ)
    if "aws-chunked" not in environ.get("HTTP_CONTENT_ENCODING", ""):
        return body
    plain = bytearray()
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if size == 0:
            break
        plain += body[:size]
        body = body[size + 2 :]
    return bytes(plain)


_S3_OBJECT = {
    "PUT": "PutObject",
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "DELETE": "DeleteObject",
    "POST": "PostObject",
}
_S3_BUCKET = {
    "PUT": "CreateBucket",
    "GET": "ListObjects",
    "HEAD": "HeadBucket",
    "DELETE": "DeleteBucket",
    "POST": "PostObject",
}
_S3_SUBRESOURCES = (
    "tagging",
    "acl",
    "versioning",
    "policy",
    "encryption",
    "lifecycle",
    "cors",
    "versions",
    "uploads",
    "location",
)


def s3_operation(request: Request) -> str:
    """Return the name of the S3 operation that a method, a path and a query amount to."""
    method, query = request.method, request.query
    if not request.bucket:
        return "ListBuckets"
    if "delete" in query:
        return "DeleteObjects"
    if "uploadId" in query:
        copy = "HTTP_X_AMZ_COPY_SOURCE" in request.environ
        names = {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload", "GET": "ListParts"}
        return names.get(method, "UploadPartCopy" if copy else "UploadPart")
    if "uploads" in query and request.key:
        return "CreateMultipartUpload"
    if "list-type" in query:
        return "ListObjectsV2"
    for name in _S3_SUBRESOURCES:
        if name in query:
            return f"{method} {name}"
    if request.key and method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in request.environ:
        return "CopyObject"
    return (_S3_OBJECT if request.key else _S3_BUCKET).get(method, method)


def json_response(document: Any, *, status: int = 200, content_type: str = "application/x-amz-json-1.1") -> Response:
    """Return a JSON answer with a request id, as the JSON protocols do."""
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = [
        ("Content-Type", content_type),
        ("x-amzn-RequestId", str(uuid.uuid4())),
        ("Content-Length", str(len(body))),
    ]
    return Response(status, headers, [body])


def error_response(request: Request, error: ApiError) -> Response:
    """Word a refusal in the protocol that the request speaks: JSON, S3's XML, or the query protocol's XML."""
    if request.target:
        version = _JSON_VERSIONS.get(request.target.split(".", 1)[0], "1.1")
        content_type = f"application/x-amz-json-{version}"
        document = {"__type": error.code, "message": error.message}
        return json_response(document, status=error.status, content_type=content_type)
    if request.service == "s3":
        return _xml(
            error.status,
            f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"<Resource>{escape(request.path)}</Resource><RequestId>{uuid.uuid4().hex[:16].upper()}</RequestId></Error>",
            empty=request.method == "HEAD",
        )
    if request.service == "ec2":
        return _xml(
            error.status,
            f"<Response><Errors><Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"</Error></Errors><RequestID>{uuid.uuid4()}</RequestID></Response>",
        )
    if request.action:
        return _xml(
            error.status,
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>",
        )
    response = json_response({"message": error.message}, status=error.status, content_type="application/json")
    response.headers.append(("x-amzn-ErrorType", error.code))
    return response


def _xml(status: int, document: str, *, empty: bool = False) -> Response:
    body = b"" if empty else b'<?xml version="1.0" encoding="UTF-8"?>\n' + document.encode()
    request_id = uuid.uuid4().hex[:16].upper()
    headers = [
        ("Content-Type", "application/xml"),
        ("x-amz-request-id", request_id),
        ("Content-Length", str(len(body))),
    ]
    return Response(status, headers, [body])

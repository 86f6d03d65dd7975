"""The other AWS services: moto in this process, made durable.

Four things keep moto's state over a kill (``objects``, ``queues``, ``records`` and ``joblogs``); this module runs a
request through moto, and has the right one of them write before the reply is sent.
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from clary.sandbox import joblogs, objects, queues, records
from clary.sandbox.database import Database
from clary.sandbox.iam.sessions import Sessions
from clary.sandbox.moto_app import Moto
from clary.sandbox.wire import ApiError, Environ, Request, Response, parse, read_body, read_plain_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

STREAMED_FROM = 1 << 20
"""Objects of at least this many bytes are sent from their file, not through moto's memory."""

_SCHEMA = objects.SCHEMA + queues.SCHEMA + records.SCHEMA + joblogs.SCHEMA


class Gateway:
    """moto behind one door. ``account`` is the account of access keys that nobody made."""

    def __init__(self, data: Path, account: str) -> None:
        self._moto = Moto()
        from moto.iam.models import iam_backends
        from moto.s3.models import FakeBucket, s3_backends
        from moto.sqs.models import sqs_backends

        # moto weighs bucket policies without their conditions; the sandbox does it itself (``iam``), or not at all.
        FakeBucket.get_permission = _no_opinion  # type: ignore[assignment,method-assign]
        self.account = account
        self._iam = iam_backends
        self._database = Database(data / "aws.db", _SCHEMA, version=1, durable=False)
        self._records = records.Records(self._database)
        self.objects = objects.Objects(data / "objects", self._database, s3_backends)
        self.queues = queues.Queues(self._database, sqs_backends)
        self.logs = joblogs.JobLogs(self._database, self._make_log_group)
        self._accounts: dict[str, str] = {}
        self._accounts_lock = threading.Lock()
        self.sessions = Sessions(self._database)

    def restore(self) -> list[str]:
        """Bring moto to where it was; returns a line for each recorded request that failed this time."""
        failed = self._records.replay(self._replay)
        self.objects.restore()
        self.queues.restore()
        self.logs.restore()
        return failed

    def _replay(self, environ: Environ, account: str, service: str) -> int:
        return self._moto.run(environ, account, service).status

    # -- who asks

    def account_of(self, access_key: str | None) -> str:
        """Return the account that an access key belongs to."""
        if access_key is None:
            return self.account
        known = self._accounts.get(access_key)
        if known is None:
            known = self._find_account(access_key)
            if known is not None:
                with self._accounts_lock:
                    self._accounts[access_key] = known
        return known or self.account

    def _find_account(self, access_key: str) -> str | None:
        session = self.sessions.find(access_key)
        if session is not None:
            return session.account
        for account, partitions in list(self._iam.items()):
            if any(access_key in backend.access_keys for backend in list(partitions.values())):
                return str(account)
        return None

    def has_expired(self, access_key: str) -> bool:
        """Return whether these are temporary credentials that have expired (real time)."""
        if not access_key.startswith("ASIA"):
            return False
        session = self.sessions.find(access_key)
        return session is not None and time.time() >= session.expires

    # -- requests

    def handle(self, request: Request) -> Response:
        """Answer a request; what it changed is durable when this returns."""
        account = self.account_of(request.access_key)
        if request.service == "s3" and request.bucket and (request.key or "delete" in request.query):
            return self._object_request(request, account)
        if request.service == "s3" and request.method == "POST":
            raise ApiError("NotImplemented", "The sandbox does not take uploads of web forms.", status=501)
        if not self._records.wants(request):
            return self._unrecorded(request, account)
        body = read_body(request.environ)
        self._records.prepare(request.service)
        with self._records.one_at_a_time() as seed:
            response = self._moto.run(request.environ, account, request.service)
            if response.status < 400:
                self._records.add(request, account, body, seed)
                if request.service == "logs":
                    self.logs.forget(request.operation, json.loads(body or b"{}"), account, request.region)
        self.queues.capture()
        return response

    def _unrecorded(self, request: Request, account: str) -> Response:
        """Answer a request that leaves nothing to write down, or what others write down."""
        assumes = request.service == "sts" and (request.action or "").startswith("AssumeRole")
        body = read_body(request.environ) if assumes else b""
        response = self._moto.run(request.environ, account, request.service)
        if assumes and response.status < 400:
            self.sessions.follow(request, body, response)
        if request.service == "sts" and request.action == "GetCallerIdentity":
            response = _as_administrator(response)
        if request.service in ("sqs", "events"):
            self.queues.capture()
        return response

    def _object_request(self, request: Request, account: str) -> Response:
        keys = self._keys(request)
        places = [*keys, *self._copy_source(request)]
        with self.objects.locked(request.bucket, places):
            if request.method == "GET" and request.operation == "GetObject":
                streamed = self._stream(request, account)
                if streamed is not None:
                    return streamed
            response = self._moto.run(request.environ, account, request.service)
            if request.method == "HEAD":
                response = _mended(response, self.objects.current(request.bucket, request.key, _version(request)))
            stored = request.mutating and response.status < 400 and request.operation not in _NOT_STORING
            if stored:
                self.objects.capture(request.bucket, keys)
        if stored:
            self.queues.capture()
        return response

    @staticmethod
    def _keys(request: Request) -> list[str]:
        """Return the object keys that a request names."""
        if request.key:
            return [request.key]
        import xmltodict  # type: ignore[import-untyped]

        named = xmltodict.parse(read_plain_body(request.environ)).get("Delete", {}).get("Object", [])
        return [item["Key"] for item in (named if isinstance(named, list) else [named])]

    @staticmethod
    def _copy_source(request: Request) -> Iterable[str]:
        source = unquote(request.environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).lstrip("/")
        bucket, _, key = source.partition("/")
        return [key.partition("?versionId=")[0]] if bucket == request.bucket and key else []

    def _stream(self, request: Request, account: str) -> Response | None:
        """Answer a GET of a big object: moto words the headers (as for HEAD), the bytes come from the file."""
        current = self.objects.current(request.bucket, request.key, _version(request))
        if current is None or current.size < STREAMED_FROM or "partNumber" in request.query:
            return None
        buffer = current._value_buffer
        if not isinstance(buffer, objects.StoredBytes):
            return None
        response = _mended(self._moto.run({**request.environ, "REQUEST_METHOD": "HEAD"}, account, "s3"), current)
        if response.status not in (200, 206):
            return None
        start, size = 0, current.size
        span = re.match(r"bytes (\d+)-(\d+)/", response.header("content-range") or "")
        if span:
            start, size = int(span[1]), int(span[2]) - int(span[1]) + 1
        headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        overrides = {name: request.query[name][0] for name in request.query if name.startswith("response-")}
        replaced = {name.removeprefix("response-") for name in overrides}
        headers = [(name, value) for name, value in headers if name.lower() not in replaced]
        headers += [(name.removeprefix("response-"), value) for name, value in overrides.items()]
        headers.append(("Content-Length", str(size)))
        return Response(response.status, headers, objects.stream(buffer, start, size))

    # -- requests of the sandbox itself

    def call(
        self, service: str, region: str, account: str, form: Mapping[str, str] | None = None, **target: Any
    ) -> Response:
        """Send a request of the sandbox's own, recorded like any other.

        ``form`` is a query protocol request (IAM); ``target`` is ``target=`` and ``document=`` of a JSON one, or
        ``method=`` and ``uri=`` of a REST one.
        """
        headers = {"HTTP_AUTHORIZATION": _scope(account, region, service)}
        body = b""
        if form is not None:
            headers["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        elif "target" in target:
            headers |= {"CONTENT_TYPE": "application/x-amz-json-1.1", "HTTP_X_AMZ_TARGET": target["target"]}
            body = json.dumps(target["document"]).encode()
        environ = records.make_environ(target.get("method", "POST"), target.get("uri", "/"), headers, body)
        self._accounts.setdefault(_own_key(account), account)
        return self.handle(parse(environ))

    def _make_log_group(self, account: str, region: str, group: str) -> None:
        self.call("logs", region, account, target="Logs_20140328.CreateLogGroup", document={"logGroupName": group})

    def close(self) -> None:
        """Close the files."""
        self._database.close()


_NOBODY = re.compile(rb"<UserId>[^<]*</UserId>(.*)<Arn>arn:([a-z-]+):sts::(\d{12}):user/moto</Arn>", re.DOTALL)


def _as_administrator(response: Response) -> Response:
    """Call whoever has an access key that nobody made the account's own user, as the policies treat them.

    moto calls them a user that IAM does not know, so what they may do could not be simulated.
    """
    body = b"".join(response.body)
    named = _NOBODY.sub(rb"<UserId>\3</UserId>\1<Arn>arn:\2:iam::\3:root</Arn>", body)
    headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
    return Response(response.status, [*headers, ("Content-Length", str(len(named)))], [named])


def _no_opinion(*_: Any) -> Any:
    from moto.iam.access_control import PermissionResult

    return PermissionResult.NEUTRAL


_NOT_STORING = frozenset({"UploadPart", "UploadPartCopy", "CreateMultipartUpload", "AbortMultipartUpload"})


def _version(request: Request) -> str | None:
    return next(iter(request.query.get("versionId", [])), None)


def _mended(response: Response, current: Any) -> Response:
    """Add the number of parts to the checksum of an upload in parts: moto's HEAD leaves it out, so SDKs verify it."""
    if getattr(current, "checksum_type", None) != "COMPOSITE":
        return response
    name = f"x-amz-checksum-{str(current.checksum_algorithm).lower()}"
    suffixed = f"{current.checksum_value}-{current.checksum_parts}"
    headers = [(key, suffixed if key.lower() == name else value) for key, value in response.headers]
    return Response(response.status, headers, response.body)


def _own_key(account: str) -> str:
    return f"SANDBOX{account}"


def _scope(account: str, region: str, service: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={_own_key(account)}/20200101/{region}/{service}/aws4_request,"
        " SignedHeaders=host, Signature=0"
    )

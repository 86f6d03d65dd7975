"""DeleteObjects: every object is allowed or refused by itself, and the answer tells of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from clary.sandbox.wire import Response, read_plain_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sandbox.iam.call import Call
    from clary.sandbox.iam.guard import Guard
    from clary.sandbox.iam.principals import Principal
    from clary.sandbox.wire import Request

_OF_THE_OLD_BODY = (
    "HTTP_CONTENT_MD5",
    "HTTP_CONTENT_ENCODING",
    "HTTP_X_AMZ_TRAILER",
    "HTTP_X_AMZ_DECODED_CONTENT_LENGTH",
)
_EMPTY = b'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult></DeleteResult>'


class Deletions:
    """Takes what is refused out of the request, and puts it into the answer."""

    def __init__(self, guard: Guard, principal: Principal, call: Call) -> None:
        self._guard = guard
        self._principal = principal
        self._call = call

    def serve(self, request: Request, produce: Callable[[], Response]) -> Response:
        """Let the request delete what may be deleted, and answer with what was and what was refused."""
        import io

        import xmltodict  # type: ignore[import-untyped]

        document = xmltodict.parse(read_plain_body(request.environ))
        wanted = document.get("Delete", {}).get("Object", [])
        wanted = wanted if isinstance(wanted, list) else [wanted]
        verdicts = [(one, self._refusal(one)) for one in wanted]
        refused = [(one, message) for one, message in verdicts if message is not None]
        if not refused:
            return produce()
        left = [one for one, message in verdicts if message is None]
        if not left:
            return _with_errors(Response(200, [("Content-Type", "application/xml")], [_EMPTY]), refused)
        document["Delete"]["Object"] = left
        body = xmltodict.unparse(document).encode()
        environ = request.environ
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        for name in [name for name in environ if name in _OF_THE_OLD_BODY or name.startswith("HTTP_X_AMZ_CHECKSUM")]:
            del environ[name]
        return _with_errors(produce(), refused)

    def _refusal(self, wanted: dict[str, Any]) -> str | None:
        params = {**self._call.params, "Key": wanted.get("Key", ""), "versionId": wanted.get("VersionId")}
        return self._guard.first_refusal(self._principal, replace(self._call, operation="DeleteObject", params=params))


def _with_errors(response: Response, refused: list[tuple[dict[str, Any], str]]) -> Response:
    errors = "".join(
        f"<Error><Key>{escape(one.get('Key', ''))}</Key>"
        + (f"<VersionId>{escape(one['VersionId'])}</VersionId>" if one.get("VersionId") else "")
        + f"<Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
        for one, message in refused
    )
    body = b"".join(response.body).replace(b"</DeleteResult>", errors.encode() + b"</DeleteResult>")
    headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
    return Response(response.status, [*headers, ("Content-Length", str(len(body)))], [body])

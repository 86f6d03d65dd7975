"""How the registry words what it answers. Sources: the OCI distribution specification; ECR's own texts as people
report them, named where they are used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clary.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.sandbox.registry.names import Place

Headers = list[tuple[str, str]]
_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")


class Refusal(Exception):  # noqa: N818 - an answer of the protocol, not a mistake of the program
    """A refusal: status, code of the protocol, text."""

    def __init__(self, status: int, code: str, message: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = list(headers)

    def response(self, *, empty: bool) -> Response:
        """Return the answer; ``empty`` for HEAD."""
        body = json.dumps({"errors": [{"code": self.code, "message": self.message}]}).encode()
        headers = [("Content-Type", "application/json; charset=utf-8"), *self.headers]
        return answer(self.status, headers, body, empty=empty)


def answer(status: int, headers: Headers | None = None, body: bytes = b"", *, empty: bool = False) -> Response:
    """Return an answer of the protocol; ``empty``: only the headers that the body would have."""
    length = [("Content-Length", str(len(body)))] if status != 204 else []
    return Response(status, [_VERSION, *(headers or []), *length], [b"" if empty else body])


def unknown_repository(place: Place) -> Refusal:
    """Return the refusal of a repository that nobody has created (ECR's words, as in aws/containers-roadmap#853)."""
    return Refusal(404, "NAME_UNKNOWN", no_repository(place))


def no_repository(place: Place) -> str:
    """Return what ECR says of a repository that does not exist."""
    return f"The repository with name '{place.repository}' does not exist in the registry with id '{place.account}'"


def unknown_upload(identity: str) -> Refusal:
    """Return the refusal of an upload that is over, or never was."""
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", f"There is no upload {identity!r} in this repository.")

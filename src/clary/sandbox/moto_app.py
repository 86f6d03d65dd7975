"""moto's WSGI applications, called in this process."""

from __future__ import annotations

import os
import threading
from typing import Any

from clary.sandbox.wire import Environ, Response

_OWN_NAME = frozenset(
    {
        "cloudformation", "ec2", "ecr", "events", "iam", "kms", "logs", "s3", "scheduler", "secretsmanager", "sqs",
        "ssm", "sts",
    }
)  # fmt: skip
"""Services whose signing name is the name of moto's module; for others moto's own, slower look-up decides."""


class Moto:
    """One application a service, made at the first use. Safe from any thread."""

    def __init__(self) -> None:
        os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
        for name in ("MOTO_ACCOUNT_ID", "MOTO_S3_CUSTOM_ENDPOINTS"):
            os.environ.pop(name, None)
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._create: Any = create_backend_app
        self._any: Any = DomainDispatcherApplication(create_backend_app)
        self._applications: dict[str, Any] = {}
        self._lock = threading.Lock()

    def _application(self, environ: Environ, service: str) -> Any:
        if service not in _OWN_NAME or environ["PATH_INFO"].startswith("/v20180820/"):  # the latter is S3 Control
            return self._any
        application = self._applications.get(service)
        if application is None:
            with self._lock:
                application = self._applications.get(service) or self._create(service)
                self._applications[service] = application
        return application

    def run(self, environ: Environ, account: str, service: str) -> Response:
        """Send a request through moto, on behalf of that account."""
        environ = {
            **environ,
            "RAW_URI": environ.get("REQUEST_URI") or environ["PATH_INFO"],
            "HTTP_X_MOTO_ACCOUNT_ID": account,
        }
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
            answer[:] = [int(status.split(" ", 1)[0]), headers]

        parts = self._application(environ, service)(environ, start_response)
        try:
            body = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        return Response(answer[0], list(answer[1]), [body])

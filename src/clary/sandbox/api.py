"""Starting, stopping and steering a sandbox: what ``clary sandbox …`` and ``clary.testing`` call."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary import config, errors
from clary.errors import ClaryError, SandboxError
from clary.sandbox.contact import LOCK, LOG, PREFIX, STATE, TOKEN, TOKEN_HEADER
from clary.sandbox.identity import lives
from clary.sandbox.trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_SECONDS = 60.0
"""How long a start may take; with requirements, which are fetched and installed, ten times as long."""
STOP_SECONDS = 20.0
_PROGRAM = "clary.sandbox.process"
_NEEDED = {"moto": "moto", "flask": "moto[server]", "waitress": "waitress"}


def default_data() -> Path:
    """Return the data folder that is used when none is named: ``$CLARY_HOME/sandbox``."""
    return config.home() / "sandbox"


def start(
    *,
    port: int = 0,
    data: Path | None = None,
    requirements: Sequence[str] = (),
    clock_speed: float = 1.0,
    iam: str | None = None,
) -> dict[str, Any]:
    """Start a sandbox in the background and return its state once it answers requests (see ``status``).

    ``port`` 0 is the last one of this folder, else 4599, else any free one. ``requirements`` (PEP 508) are installed
    into the sandbox's own image. ``clock_speed`` is sandbox seconds per real one. ``iam`` is ``enforce`` (IAM policies
    decide over every request) or ``off``; None is as the last time with this folder, at first ``off``. What it has to
    say goes to ``sandbox.log`` in the data folder. Raises SandboxError (``sandbox.extra_missing``,
    ``sandbox.already_running``, ``sandbox.port_taken``, ``sandbox.start_failed``).
    """
    check_extra()
    folder = _folder(data)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if running(folder) is not None:
        raise _already_running(folder)
    return _start(folder, port, requirements, clock_speed, iam)


def serve(
    ready: Callable[[dict[str, Any]], None],
    *,
    port: int = 0,
    data: Path | None = None,
    requirements: Sequence[str] = (),
    clock_speed: float = 1.0,
    iam: str | None = None,
) -> Path:
    """Be the sandbox, in this process, until a signal ends it; returns its folder.

    ``ready`` is called with its state once it answers requests. All else is as for ``start``.
    """
    check_extra()
    from clary.sandbox import process

    folder = _folder(data)
    process.serve(process.Settings(folder, port, clock_speed, requirements, iam), lambda state: ready(shown(state)))
    return folder


def _start(folder: Path, port: int, requirements: Sequence[str], clock_speed: float, iam: str | None) -> dict[str, Any]:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", _PROGRAM, "--data", str(folder), "--port", str(port)]
    command += ["--clock-speed", str(clock_speed), "--requirements", json.dumps(list(requirements))]
    command += ["--iam", iam] if iam is not None else []
    command += ["--ready-fd", str(writer)]
    log = folder / LOG
    try:
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writer],
                start_new_session=True,
                cwd=folder,
                env=_child_environment(),
            )
    finally:
        os.close(writer)
    answer = _first_line(reader, START_SECONDS * (10 if requirements else 1))
    if answer is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        child.wait()
        raise SandboxError(
            "sandbox.start_failed",
            "The sandbox ended, or said nothing, before it was ready."
            + "".join(f"\n  {line}" for line in _last_lines(log)),
            next_step=f"Read {log}; `clary sandbox reset` begins anew when its data are damaged.",
        )
    if "error" in answer:
        child.wait()
        raise _rebuilt(answer["error"])
    _children[child.pid] = child
    return shown(answer["state"])


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Sandboxes that this process has started; they are collected when they are stopped."""


def _child_environment() -> dict[str, str]:
    """Return the environment without what would steer the SDK or moto inside the sandbox."""
    dropped = ("AWS_", "MOTO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _first_line(reader: int, seconds: float) -> dict[str, Any] | None:
    text = b""
    deadline = time.monotonic() + seconds
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while not text.endswith(b"\n"):
            if not select.select([pipe], [], [], max(deadline - time.monotonic(), 0))[0]:
                return None
            part = pipe.read(65536)
            if not part:
                return None
            text += part
    answer: dict[str, Any] = json.loads(text)
    return answer


def _last_lines(log: Path, count: int = 5) -> list[str]:
    with contextlib.suppress(OSError):
        return log.read_text(errors="replace").splitlines()[-count:]
    return []


def _rebuilt(shown_error: Mapping[str, Any]) -> ClaryError:
    kind = getattr(errors, str(shown_error["type"]), SandboxError)
    error: ClaryError = kind(shown_error["code"], shown_error["message"], next_step=shown_error["next_step"])
    return error


def check_extra() -> None:
    """Raise ``sandbox.extra_missing`` unless everything that the sandbox needs is installed."""
    needed = dict(_NEEDED)
    if sys.platform == "linux":
        needed["pyroute2"] = "pyroute2"
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SandboxError(
            "sandbox.extra_missing",
            f"The sandbox needs packages that are not installed: {', '.join(missing)}.",
            next_step="Install them with `uv pip install 'clary[sandbox]'` (or `pip install 'clary[sandbox]'`).",
        )


# -- a running sandbox


def running(data: Path) -> dict[str, Any] | None:
    """Return the state of the sandbox that uses this folder, or None; a leftover of a killed one does not count."""
    try:
        state: dict[str, Any] = json.loads((data / STATE).read_text())
        pid, mark = state["pid"], state["start_mark"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    if lives(pid, mark):
        return state
    _collect(pid)
    return None


def status(data: Path | None = None) -> dict[str, Any]:
    """Return pid, endpoint, executor, what it cannot honour, running jobs, uptime and the environment of a sandbox.

    Raises SandboxError ``sandbox.not_running``.
    """
    return shown(call("GET", "status", data=data))


def shown(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with the environment that points an SDK at the sandbox, without what is of no use to a person."""
    state = {name: value for name, value in state.items() if name != "start_mark"}
    return {**state, "environment": environment(state["endpoint"], state["region"])}


def environment(endpoint: str, region: str) -> dict[str, str]:
    """Return the environment variables that point boto3, the AWS CLI and other SDKs at a sandbox.

    The keys are no secret: the sandbox does not verify signatures.
    """
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",  # pragma: allowlist secret
    }


def stop(data: Path | None = None) -> dict[str, Any]:
    """Stop the sandbox of this folder and return the state it had; raises ``sandbox.not_running``.

    It is asked with SIGTERM and killed after 20 s; a process that merely has its old pid is never touched.
    """
    folder = _folder(data)
    state = _running_or_refuse(folder)
    pid, mark = state["pid"], state["start_mark"]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while lives(pid, mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    if lives(pid, mark):
        os.kill(pid, signal.SIGKILL)
    _collect(pid)
    return state


def _collect(pid: int) -> None:
    """Let the kernel forget an ended sandbox that this process had started."""
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()


def reset(data: Path | None = None) -> Path:
    """Remove everything the sandbox of this folder keeps; a running one is stopped first. Returns the folder."""
    folder = _folder(data)
    if folder.exists() and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise SandboxError(
            "sandbox.not_a_sandbox",
            f"{folder} does not hold a sandbox, so nothing in it is removed.",
            next_step="Name the folder of a sandbox with --data.",
        )
    if running(folder) is not None:
        stop(folder)
    if folder.exists():
        remove_tree(folder)
    if folder.exists():
        shutil.rmtree(folder)  # says what stands in the way
    return folder


def call(method: str, route: str, body: Mapping[str, Any] | None = None, *, data: Path | None = None) -> dict[str, Any]:
    """Send one request to the administrative API of a running sandbox.

    Raises SandboxError ``sandbox.not_running`` or ``sandbox.refused``.
    """
    folder = _folder(data)
    state = _running_or_refuse(folder)
    host, _, port = state["endpoint"].removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        token = (folder / TOKEN).read_text()
        payload = json.dumps(body).encode() if body is not None else None
        connection.request(method, f"{PREFIX}{route}", body=payload, headers={TOKEN_HEADER: token})
        response = connection.getresponse()
        document: dict[str, Any] = json.loads(response.read())
    except OSError as error:
        raise _not_running(folder) from error
    finally:
        connection.close()
    if response.status >= 400:
        raise SandboxError(
            "sandbox.refused",
            str(document.get("error", "The sandbox refused the request.")),
            next_step="Correct the value; `clary sandbox faults --help` shows what can be asked for.",
        )
    return document


# -- faults and what else can be steered


def add_fault(kind: str, *, data: Path | None = None, **options: Any) -> dict[str, Any]:
    """Plan a fault, see ``faults.KINDS``; options are ``operation``, ``match``, ``times`` and the kind's own."""
    return call("POST", "faults", {"kind": kind, **options}, data=data)


def list_faults(data: Path | None = None) -> list[dict[str, Any]]:
    """Return every fault, also the used-up ones."""
    faults: list[dict[str, Any]] = call("GET", "faults", data=data)["faults"]
    return faults


def clear_faults(data: Path | None = None) -> None:
    """Forget every fault."""
    call("DELETE", "faults", data=data)


def set_clock_speed(speed: float, *, data: Path | None = None) -> dict[str, Any]:
    """Let the sandbox's time pass that many times as fast."""
    return call("POST", "clock", {"speed": speed}, data=data)


def advance_clock(seconds: float, *, data: Path | None = None) -> dict[str, Any]:
    """Let that many seconds of the sandbox's time pass at once."""
    return call("POST", "clock", {"advance": seconds}, data=data)


def set_quota(name: str, value: float, *, data: Path | None = None) -> dict[str, Any]:
    """Give a quota another value, such as ``ml.g5.xlarge for training job usage``."""
    return call("POST", "quotas", {"name": name, "value": value}, data=data)


def set_rate(operation: str, per_second: float, burst: int, *, data: Path | None = None) -> dict[str, Any]:
    """Give an API operation another rate."""
    return call("POST", "rates", {"operation": operation, "per_second": per_second, "burst": burst}, data=data)


def enforce_rates(*, enforced: bool, data: Path | None = None) -> dict[str, Any]:
    """Switch the API rates on or off."""
    return call("POST", "rates", {"enforced": enforced}, data=data)


def interrupt(job: str, *, data: Path | None = None) -> dict[str, Any]:
    """Take the machine of a running spot job away now."""
    return call("POST", "interrupt", {"job": job}, data=data)


def _folder(data: Path | None) -> Path:
    return (data or default_data()).expanduser().resolve()


def _running_or_refuse(folder: Path) -> dict[str, Any]:
    state = running(folder)
    if state is None:
        raise _not_running(folder)
    return state


def _not_running(folder: Path) -> SandboxError:
    return SandboxError(
        "sandbox.not_running",
        f"No sandbox is running with the folder {folder}.",
        next_step="Start one with `clary sandbox start --detach`.",
    )


def _already_running(folder: Path) -> SandboxError:
    return SandboxError(
        "sandbox.already_running",
        f"A sandbox is running with the folder {folder} already.",
        next_step="`clary sandbox status` shows it, `clary sandbox stop` ends it; --data names another folder.",
    )

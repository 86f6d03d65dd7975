"""Starts one container and stays beside it: the launcher, a process of its own, forked by the ``starter``.

It makes the namespaces, becomes the parent of the container's first process, forwards its network, and writes how it
ended. It is not inside the container, so the container's PID 1 is the command itself. It outlives the sandbox, which
finds it again by the files in the scratch folder:

- ``state.json``: process numbers and start times, written before the command starts;
- ``output``: everything written to standard output and error;
- ``exit.json``: exit code and whether memory ran out; written last.

Standard library only: the starter's interpreter sees no installed packages.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from clary.files import write_whole
from clary.sandbox.containers import network, root, syscalls
from clary.sandbox.containers.plan import EXIT, OUTPUT, STATE, Plan, UserNamespace
from clary.sandbox.containers.users import new_user_namespace
from clary.sandbox.identity import start_mark

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for that an image says nothing of; Docker's own."""
_LOOK_AROUND = 2.0
"""Seconds between looks at whether the scratch folder is still there; a container without one is ended."""
# Docker's default capabilities without MKNOD, NET_RAW and AUDIT_WRITE (capability numbers of linux/capability.h).
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31})


def main(plan_path: str, status: int) -> NoReturn:
    """Run the plan; what goes wrong before the command starts is written to the descriptor ``status`` as JSON."""
    os.set_inheritable(status, False)  # noqa: FBT003 - the function's own signature
    _report(status, launcher=os.getpid())
    plan = Plan.read(Path(plan_path))
    try:
        _enter_namespaces(plan)
        listeners = network.prepare(plan)
        syscalls.unshare(syscalls.CLONE_NEWPID)
        ready, go = os.pipe()
        pid = os.fork()
    except OSError as error:
        _report(status, failed=str(error))
        sys.exit(1)
    if pid == 0:
        os.close(go)
        _be_the_container(plan, status, ready, listeners)
    os.close(ready)
    try:
        _hold_memory(plan, pid)
        _write_state(plan, pid)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        _report(status, failed=str(error))
        sys.exit(1)
    _report(status, pid=pid)
    os.close(status)
    os.write(go, b"1")
    os.close(go)
    _stay_beside(plan, pid, listeners)
    sys.exit(0)


def _report(status: int, **message: Any) -> None:
    os.write(status, json.dumps(message).encode() + b"\n")


def _enter_namespaces(plan: Plan) -> None:
    if not plan.join:
        new_user_namespace(plan.user_namespace)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        return
    kinds = [("net", syscalls.CLONE_NEWNET)]
    if plan.user_namespace is not UserNamespace.NONE:
        kinds.insert(0, ("user", syscalls.CLONE_NEWUSER))
    opened = [(os.open(f"/proc/{plan.join}/ns/{name}", os.O_RDONLY), kind) for name, kind in kinds]
    for descriptor, kind in opened:
        syscalls.setns(descriptor, kind)
        os.close(descriptor)


def _hold_memory(plan: Plan, pid: int) -> None:
    for group in plan.memory_groups:
        Path(group, "cgroup.procs").write_text(str(pid))


def _write_state(plan: Plan, pid: int) -> None:
    me = os.getpid()
    state = {"pid": pid, "started": start_mark(pid), "launcher": me, "launcher_started": start_mark(me)}
    write_whole(Path(plan.scratch) / STATE, json.dumps(state))


def _be_the_container(plan: Plan, status: int, ready: int, listeners: list[tuple[socket.socket, str]]) -> NoReturn:
    code = 1
    try:
        syscalls.end_with_parent(signal.SIGKILL)
        if os.read(ready, 1) != b"1":
            os._exit(1)
        for listener, _ in listeners:
            listener.close()
        output = os.open(Path(plan.scratch) / OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)
        socket.sethostname(plan.host)
        root.build(plan)
        Path(plan.workdir).mkdir(parents=True, exist_ok=True)
        os.chdir(plan.workdir)
        nothing = os.open("/dev/null", os.O_RDONLY)
        for descriptor, source in ((0, nothing), (1, output), (2, output)):
            os.dup2(source, descriptor)
        os.closerange(3, status)
        os.closerange(status + 1, 1024)
        home = _become(plan)
        code = _execute(plan, status, home)
    except LookupError as error:
        _report(status, error=error.args[0], exit_code=126)
    except OSError as error:
        _report(status, failed=str(error))
    finally:
        os._exit(code)


def _become(plan: Plan) -> str:
    """Become the image's user; returns the home folder."""
    syscalls.keep_only_capabilities(_KEPT_CAPABILITIES)
    user, _, group = plan.user.partition(":")
    known = _entry("passwd", user or "0")
    home = known[5] if known is not None and known[5] else "/root" if not user else "/"
    if user and plan.user_namespace is not UserNamespace.SINGLE:  # there nobody else exists
        uid, gid = _ids(user, group, known)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    syscalls.forbid_new_privileges()
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # A change of user clears it, and it must hold whatever happens to the launcher.
    syscalls.end_with_parent(signal.SIGKILL)
    return home


def _ids(user: str, group: str, known: Sequence[str] | None) -> tuple[int, int]:
    """Return the numbers of a user and a group, each given by name or number, as ``docker run --user`` reads them."""
    if known is None and not user.isdigit():
        raise LookupError(f"unable to find user {user}: no matching entries in passwd file")
    uid, gid = (int(known[2]), int(known[3])) if known is not None else (int(user), 0)
    if not group:
        return uid, gid
    named = _entry("group", group)
    if named is None and not group.isdigit():
        raise LookupError(f"unable to find group {group}: no matching entries in group file")
    return uid, int(named[2]) if named is not None else int(group)


def _entry(file: str, name: str) -> Sequence[str] | None:
    """Return the fields of a name or number in the image's ``/etc/passwd`` or ``/etc/group``; None for none."""
    try:
        lines = Path("/etc", file).read_text(errors="replace").splitlines()
    except OSError:
        return None
    least = 6 if file == "passwd" else 3
    entries = [fields for line in lines if len(fields := line.split(":")) >= least and fields[2].isdigit()]
    column = 2 if name.isdigit() else 0
    return next((fields for fields in entries if fields[column] == name), None)


def _execute(plan: Plan, status: int, home: str) -> int:
    """Replace this process by the command; on failure says why and returns the exit code a shell would give."""
    program, environment = plan.arguments[0], {"HOME": home, "PATH": _PATH, **plan.environment}
    folders = [""] if "/" in program else environment["PATH"].split(":")
    last: OSError = FileNotFoundError()
    for folder in folders:
        try:
            path = f"{folder}/{program}" if folder else program
            os.execve(path, list(plan.arguments), environment)  # noqa: S606 - without a shell on purpose
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            last = error
    code, reason = (
        (127, "not found") if isinstance(last, FileNotFoundError) else (126, last.strerror or "not executable")
    )
    _report(status, error=f'the command "{program}" cannot be started: {reason}', exit_code=code)
    return code


def _stay_beside(plan: Plan, pid: int, listeners: list[tuple[socket.socket, str]]) -> None:
    forwarder = network.Forwarder(plan, listeners)
    ended = os.pidfd_open(pid)
    scratch = Path(plan.scratch)
    # Held open, so that no later folder at the same place can get its number.
    held = os.open(scratch, os.O_PATH | os.O_DIRECTORY)
    while not forwarder.run_until(ended, _LOOK_AROUND):
        if not _is_at(held, scratch):
            os.kill(pid, signal.SIGKILL)
    _, result = os.waitpid(pid, 0)
    out_of_memory = any(_killed_for_memory(Path(group)) for group in plan.memory_groups)
    for group in plan.memory_groups:
        try:
            Path(group).rmdir()
        except OSError:
            continue
    code = os.waitstatus_to_exitcode(result)
    if _is_at(held, scratch):
        exit_code = code if code >= 0 else 128 - code
        write_whole(scratch / EXIT, json.dumps({"exit_code": exit_code, "out_of_memory": out_of_memory}))


def _is_at(held: int, folder: Path) -> bool:
    """Tell whether the open folder is still the one at that place."""
    try:
        return os.path.samestat(os.fstat(held), folder.stat())
    except OSError:
        return False


def _killed_for_memory(group: Path) -> bool:
    for name in ("memory.events", "memory.oom_control"):
        path = group / name
        if path.exists():
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts.get("oom_kill", 0)) > 0
    return False

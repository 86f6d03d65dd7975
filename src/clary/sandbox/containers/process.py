"""Plain processes: the last resort, for places that allow neither namespaces nor Docker.

A process shares the machine's file system, so it cannot have an ``/opt/ml`` of its own: two jobs may run at once, and
a link there would show one job's data to the other. A command that names ``/opt/ml`` is therefore refused in clear
words instead of failing in a puzzling way; everything else runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from clary.files import write_whole
from clary.sandbox.containers.command import FIXED_CREDENTIALS, command_line, fixed_credentials
from clary.sandbox.containers.image import Image, base_executable, image_reference
from clary.sandbox.containers.plan import STATE
from clary.sandbox.identity import lives, start_mark
from clary.sandbox.model import ContainerSpec, EntrypointError, ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSED = (
    "this machine allows neither Linux namespaces nor Docker, so a job cannot have an /opt/ml of its own, "
    "and its command needs it ({word}); run the sandbox on a Linux machine that allows one of them"
)


class ProcessExecutor:
    """Starts commands as ordinary processes of this machine."""

    name = "process"
    not_honoured = (
        "/opt/ml: commands that name it are refused, so neither channels, models nor failure files can be used.",
        "Isolation of files: a job sees this machine's files, whatever is installed and the caller's own included.",
        "Isolation of the network: a job reaches what this machine reaches, with EnableNetworkIsolation too.",
        "Several hosts: names such as algo-2 do not resolve.",
        "Memory limits: a job may use all memory there is.",
        "A restart of the sandbox: running jobs are ended then.",
        FIXED_CREDENTIALS,
    )

    def __init__(self, account: str, region: str) -> None:
        self._account, self._region = account, region

    def fetch(self, image: str) -> None:
        """Refuse every image but the sandbox's own: a process sees this machine's files, not an image's."""
        own = image_reference(self._account, self._region)
        if image != own:
            raise ImageNotFound(f"Without containers the sandbox runs no images but its own, {own}.")

    def start(self, spec: ContainerSpec, output: Callable[[bytes], None]) -> ProcessContainer:
        """Start a process; see ``clary.sandbox.model.Executor``."""
        self.fetch(spec.image)
        words = command_line(Image(spec.image, Path("/"), command=("python3",)), spec)
        for word in words:
            if "/opt/ml" in word:
                raise EntrypointError(_REFUSED.format(word=word), 126)
        home = spec.scratch / "home"
        home.mkdir(parents=True, exist_ok=True)
        programs = f"{base_executable().parent}:/usr/local/bin:/usr/bin:/bin"
        environment = {"PATH": programs, "HOME": str(home), **spec.environment, **fixed_credentials(spec)}
        try:
            process = subprocess.Popen(
                words, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            raise EntrypointError(f'the command "{words[0]}" cannot be started: {error.strerror}', code) from error
        write_whole(spec.scratch / STATE, json.dumps({"pid": process.pid, "started": start_mark(process.pid)}))
        return ProcessContainer(process, output)

    def adopt(self, spec: ContainerSpec, pid: int, output: Callable[[bytes], None]) -> None:  # noqa: ARG002 - it is lost with its pipe
        """End what an earlier process of the sandbox left: its output cannot be taken up again."""
        try:
            mark = json.loads((spec.scratch / STATE).read_text())["started"]
        except (OSError, ValueError):
            return
        if lives(pid, mark):
            os.killpg(pid, signal.SIGKILL)

    def close(self) -> None:
        """Do nothing: processes end with their jobs."""


class ProcessContainer:
    """A process and its descendants in one session."""

    out_of_memory = False

    def __init__(self, process: subprocess.Popen[bytes], output: Callable[[bytes], None]) -> None:
        self._process = process
        self._output = output
        self.pid = process.pid
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name=f"process-{self.pid}", daemon=True).start()

    def signal(self, number: int) -> None:
        """Send a signal to the first process."""
        self._process.send_signal(number)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or None after ``timeout`` seconds."""
        if not self._ended.wait(timeout):
            return None
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """End the process and its descendants, as far as they stayed in its session."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _watch(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        reader = threading.Thread(target=self._read, name=f"output-{self.pid}", daemon=True)
        reader.start()
        self._process.wait()
        # PID 1 of a container takes its children with it; do the same, which also closes the pipe they may hold.
        self.kill()
        reader.join()
        pipe.close()
        self._output(b"")
        self._ended.set()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            self._output(data)

"""The Docker engine of this machine: whether there is one, and how it builds."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from clary.errors import ConfigError

_PATIENCE = 20
"""Seconds that an engine has to say its version."""
_ALONE = 23
"""The first version of Docker's program that has BuildKit only through buildx. Source: Docker's release notes, 23.0."""


@dataclass(frozen=True)
class Engine:
    """A program that talks to an engine."""

    program: str
    buildx: bool
    """Whether builds go through buildx; else the program has BuildKit itself."""


def find_engine(program: str, environment: Mapping[str, str]) -> Engine:
    """Return the engine that ``program``, a name or a path, talks to in this environment.

    Raises ConfigError ``image.no_docker``, ``image.docker_unreachable``, ``image.no_buildkit``.
    """
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        raise _no_engine("image.no_docker", f"There is no program {program!r} on this machine.")
    done = _asked(environment, found, "version", "--format", "{{.Client.Version}}")
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise _no_engine("image.docker_unreachable", f"The Docker engine does not answer: {reason[0]}")
    if _asked(environment, found, "buildx", "version").returncode == 0:
        return Engine(found, buildx=True)
    version = re.match(r"\d+", done.stdout.strip())
    if version is not None and int(version[0]) < _ALONE:
        return Engine(found, buildx=False)
    raise ConfigError(
        "image.no_buildkit",
        f"Docker {done.stdout.strip()} is here without buildx, and builds with BuildKit only through it.",
        next_step="Install the package docker-buildx-plugin (docker-buildx), or use the builder layers.",
        field="image.builder",
    )


def _asked(environment: Mapping[str, str], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program, *arguments]
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _no_engine(code: str, summary: str) -> ConfigError:
    return ConfigError(
        code,
        summary,
        next_step="Start or install Docker, with rights to use it, or use the builder layers, which needs no engine: "
        "builder=layers in the image, or --builder layers.",
        field="image.builder",
    )

"""Where a setting comes from, and which source wins. Standard library only; nothing heavy is imported here.

The order for the stack, high to low: named for this run > the flow's decorator > ``configure()`` > ``CLARY_STACK`` >
``[tool.clary]`` of the nearest ``pyproject.toml`` > the saved current stack > ``local``. Every answer says its origin,
so that ``clary stack current`` can tell a person why this stack and not another.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.errors import ConfigError, nearest

DEFAULT_STACK = "local"

ENVIRONMENT = {
    "CLARY_HOME": "Folder of the local store and of local runs. Default: `~/.clary`.",
    "CLARY_STACK": "The stack to run on, unless the run, the flow or `configure()` names one.",
    "CLARY_IMAGE": "The image of jobs, likewise: a reference, or the fields of `Image` as JSON.",
    "CLARY_CACHE": "`true` lets checkpoints that say nothing of it take results of other runs, likewise.",
    "CLARY_RETRIES": "How often a flow's body that raises runs again: a number, or the fields of `Retries` as JSON.",
    "CLARY_ON_CHANGE": "What a resume does about a recorded call whose code changed: `error`, `rerun` or `accept`.",
    "CLARY_SETTINGS": 'Job settings as a JSON object: `{"instance_type": "ml.g5.xlarge", "tags": {"team": "ml"}}`.',
    "CLARY_SECRETS_KEY": "The key of the local secrets store, in place of the keyring's or the key file's.",
    "CLARY_SECRETS_PASSPHRASE": "The passphrase of `clary secrets backup` and `restore`, which ask for it otherwise.",
    "CLARY_DEBUG": "`1` shows the traceback of an error, as `--debug` does.",
}
"""Every environment variable that a person may set, with its meaning: the source of ``docs/reference/settings.md``."""

JOB_ENVIRONMENT = {
    "CLARY_RUN": "Where the record of this job's run lies.",
    "CLARY_ATTEMPT": "The number of this attempt, from 1.",
    "CLARY_WOKEN_AT": "The time for which a schedule made this job (epoch seconds); absent from other jobs.",
    "CLARY_CALL": "In the job of an isolated call: which call it is.",
    "CLARY_HOSTS": "In the job of an isolated call: the names of its hosts, with commas between.",
    "CLARY_HOST_RANK": "In the job of an isolated call: the number of this host, from 0.",
    "CLARY_OPT_ML": "In a process that torchrun or mpirun has started: the job's `/opt/ml`.",
    "CLARY_CODE": "In such a process: the project's folder.",
    "CLARY_OUTCOMES": "In such a process: where it leaves how it ended.",
    "CLARY_DEPENDENCIES": "In a process that runs in packages which came with the job: which they are.",
}
"""What a job's container is told by its request (``clary.runtime.pointer``), and processes by the runtime."""

PROJECT_SETTINGS = {
    "stack": "The stack of this project's runs.",
    "image": "The image of their jobs: a reference, or a table of [what it is made of](image.md).",
    "cache": "`true` lets checkpoints that say nothing of it take results of other runs.",
    "retries": "How often a flow's body that raises runs again: a number, or the fields of `Retries` as a table.",
    "on_change": "What a resume does about a recorded call whose code changed: `error`, `rerun` or `accept`.",
    "settings": "A table of [job settings](job-settings.md), such as `instance_type`.",
}
"""Every key of ``[tool.clary]`` in ``pyproject.toml``, with its meaning."""


@dataclass(frozen=True)
class Choice:
    """A chosen value and the source that decided."""

    value: str
    origin: str
    """``run``, ``flow``, ``configure``, ``environment``, ``project``, ``saved`` or ``default``."""
    source: str
    """The origin in words a person can act on, such as ``[tool.clary].stack in /a/pyproject.toml``."""


@dataclass(frozen=True)
class ProjectFile:
    """The ``[tool.clary]`` table of the nearest ``pyproject.toml``."""

    path: Path
    table: dict[str, Any]
    others: frozenset[str] = frozenset()
    """Names of the other tools' tables beside it."""


_configured: dict[str, Any] = {}


def configure(**values: Any) -> None:
    """Set defaults for this process (``stack``, ``image``…); None takes one back, no value at all takes back all.

    Values are checked by whoever offers this to people: ``clary.settings.layers.configure``.
    """
    if not values:
        _configured.clear()
    for name, value in values.items():
        if value is None:
            _configured.pop(name, None)
        else:
            _configured[name] = value


def configured() -> dict[str, Any]:
    """Return what ``configure()`` has set in this process."""
    return dict(_configured)


def home() -> Path:
    """Return Clary's own folder (``CLARY_HOME``, else ``~/.clary``), made with mode 0700 where it is missing.

    Raises ConfigError ``config.home_unusable`` if it cannot be made or is no folder.
    """
    folder = Path(os.environ.get("CLARY_HOME") or Path.home() / ".clary").expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "config.home_unusable",
            f"The folder {folder} cannot be used: {error.strerror or error}.",
            next_step="Set CLARY_HOME to a folder that you may write.",
            field="CLARY_HOME",
        ) from error
    return folder


def debug() -> bool:
    """Tell whether tracebacks are wanted (``CLARY_DEBUG``)."""
    return os.environ.get("CLARY_DEBUG", "") not in {"", "0"}


def project_file(start: Path | None = None) -> ProjectFile | None:
    """Return the nearest ``pyproject.toml`` at or above ``start`` (default: the current folder), or None.

    Raises ConfigError ``config.project_file_unreadable`` for a file that is not TOML, ``config.unknown_key`` for a key
    of ``[tool.clary]`` that nothing reads.
    """
    folder = (start or Path.cwd()).absolute()
    for parent in (folder, *folder.parents):
        path = parent / "pyproject.toml"
        if path.is_file():
            return _read(path)
    return None


def choose_stack(
    explicit: str | None = None,
    flow: str | None = None,
    *,
    saved: Callable[[], str | None],
    start: Path | None = None,
) -> Choice:
    """Return the name of the stack to use, and what decided.

    ``explicit`` is what the run names (``--stack``, ``run(stack=)``), ``flow`` what the decorator names; ``saved`` is
    asked for the saved current stack only when nothing above it decides, so that its store is not opened in vain.
    """
    if explicit:
        return Choice(explicit, "run", "named for this run")
    if flow:
        return Choice(flow, "flow", "named by the flow's decorator")
    if "stack" in _configured:
        return Choice(_configured["stack"], "configure", "set by configure() in this process")
    if from_environment := os.environ.get("CLARY_STACK"):
        return Choice(from_environment, "environment", "the environment variable CLARY_STACK")
    project = project_file(start)
    if project is not None and "stack" in project.table:
        return Choice(_text(project, "stack"), "project", f"[tool.clary].stack in {project.path}")
    if name := saved():
        return Choice(name, "saved", "saved by `clary stack use`")
    return Choice(DEFAULT_STACK, "default", "nothing names another")


def _read(path: Path) -> ProjectFile:
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "config.project_file_unreadable",
            f"{path} cannot be read: {error}.",
            next_step="Mend the file; `[tool.clary]` in it is where the project's settings are looked for.",
        ) from error
    tools = document.get("tool")
    tool = tools if isinstance(tools, dict) else {}
    table = tool.get("clary", {})
    if not isinstance(table, dict):
        raise ConfigError(
            "config.wrong_type",
            f"tool.clary in {path} is not a table.",
            next_step='Write it as a table: [tool.clary], then for example stack = "local".',
            field="tool.clary",
        )
    _refuse_unknown(path, table)
    return ProjectFile(path, table, frozenset(tool))


def _refuse_unknown(path: Path, table: dict[str, Any]) -> None:
    unknown = [key for key in table if key not in PROJECT_SETTINGS]
    if not unknown:
        return
    meant = nearest(unknown[0], PROJECT_SETTINGS)
    known = ", ".join(PROJECT_SETTINGS)
    raise ConfigError(
        "config.unknown_key",
        f"[tool.clary] in {path} has the key {unknown[0]!r}, which nothing reads.",
        next_step=f"Did you mean {meant!r}?" if meant else f"Take it out; the keys are: {known}.",
        field=f"tool.clary.{unknown[0]}",
    )


def _text(project: ProjectFile, key: str) -> str:
    value = project.table[key]
    if isinstance(value, str) and value:
        return value
    raise ConfigError(
        "config.wrong_type",
        f"tool.clary.{key} in {project.path} must be text, not {value!r}.",
        next_step=f'Write {key} = "…".',
        field=f"tool.clary.{key}",
    )

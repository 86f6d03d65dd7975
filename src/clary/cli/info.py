"""``clary info`` and ``clary status``: what is installed and set here, and what a run would use now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from clary import config
from clary._version import __version__
from clary.cli import output
from clary.cli.commands import Command
from clary.cli.output import say
from clary.errors import ClaryError, ConfigError, SandboxError

PACKAGES = ("boto3", "botocore", "click", "obstore", "pydantic", "uv", "moto")
_TELLING = ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "HTTPS_PROXY")
"""Variables of others that decide where Clary goes; their values are shown without what looks like a password."""
_PRESENT_ONLY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "CLARY_SECRETS_PASSPHRASE")


@click.command("info", cls=Command)
@click.option("--file", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, as JSON.")
@click.option("--all-packages", "-a", is_flag=True, help="List every installed package.")
def info(file: Path | None, all_packages: bool) -> None:
    """Show versions, paths, the stack and the environment, for a report of a fault. No secret is shown."""
    found = collect(all_packages=all_packages)
    if file is not None:
        _write(file, found)
    output.item(found, lambda: say(f"Wrote {file}.") if file is not None else _page(found))


@click.command("status", cls=Command)
def status() -> None:
    """Show the stack that a run would use now, who said so, and whether the sandbox runs."""
    found = {"version": __version__, "stack": _stack(), "sandbox": _sandbox(), "home": str(config.home())}
    output.item(found, lambda: _status_page(found))


def collect(*, all_packages: bool = False) -> dict[str, Any]:
    """Return what ``clary info`` shows, as plain data without secrets."""
    import platform
    import sys

    return {
        "version": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable, "prefix": sys.prefix},
        "platform": {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count()},
        "paths": {
            "home": str(config.home()),
            "package": str(Path(__file__).resolve().parents[1]),
            "project": _project(),
            "folder": str(Path.cwd()),
        },
        "stack": _stack(),
        "sandbox": _sandbox(),
        "packages": _packages(all_packages),
        "environment": _environment(),
    }


def _stack() -> dict[str, Any]:
    """Return the current stack without its options, or why there is none: this command is for when things are amiss."""
    from clary.stacks import service

    try:
        entry, choice = service.current()
    except ClaryError as error:
        return {"error": error.to_dict()}
    stack = entry.stack
    return {
        "name": stack.name,
        "type": stack.type,
        "artifact_store": stack.artifact_store,
        "region": stack.region,
        "decided_by": choice.source,
    }


def _sandbox() -> dict[str, Any]:
    from clary.sandbox import api

    try:
        found = api.status()
    except SandboxError:
        return {"running": False}
    return {"running": True, "endpoint": found["endpoint"], "executor": found["executor"]}


def _project() -> str | None:
    try:
        found = config.project_file()
    except ConfigError:
        return None
    return None if found is None else str(found.path)


def _packages(every: bool) -> dict[str, str]:
    import importlib.metadata

    if every:
        named = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
        return dict(sorted(named.items(), key=lambda item: item[0].lower()))
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _environment() -> dict[str, str]:
    shown = {name: without_password(os.environ[name]) for name in _TELLING if name in os.environ}
    ours = {name: os.environ[name] for name in config.ENVIRONMENT if name in os.environ and name not in _PRESENT_ONLY}
    shown |= {name: without_password(value) for name, value in ours.items()}
    return dict(sorted({**shown, **{name: "(set)" for name in _PRESENT_ONLY if name in os.environ}}.items()))


def without_password(text: str) -> str:
    """Return a text with the user part of its URLs, and whatever is named like a secret, masked."""
    import re

    text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
    return re.sub(r"(?i)((?:password|secret|token|key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}&]+", r"\1***", text)


def _write(file: Path, found: dict[str, Any]) -> None:
    import json

    try:
        file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "cli.file_not_written",
            f"{file} cannot be written: {error.strerror}.",
            next_step="Name a file in a folder that is there and yours.",
            field="file",
        ) from error


def _page(found: dict[str, Any]) -> None:
    output.rows([("Clary", found["version"]), ("Python", found["python"]["version"])])
    for title in ("platform", "paths", "stack", "sandbox", "packages", "environment"):
        if found[title]:
            say()
            say(output.style(title.capitalize(), bold=True))
            output.rows(_told(found[title]).items(), indent="  ")


def _status_page(found: dict[str, Any]) -> None:
    output.rows([("Clary", found["version"]), ("Home", found["home"])])
    for title in ("stack", "sandbox"):
        say()
        say(output.style(title.capitalize(), bold=True))
        output.rows(_told(found[title]).items(), indent="  ")


def _told(section: dict[str, Any]) -> dict[str, Any]:
    if "error" in section:
        return {"error": section["error"]["message"], "next step": section["error"]["next_step"]}
    return {name: "yes" if value is True else "no" if value is False else value for name, value in section.items()}

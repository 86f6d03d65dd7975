"""``clary sandbox``: start, stop, look at and disturb the local SageMaker. Only here is it started."""

from __future__ import annotations

import configparser
import io
from pathlib import Path
from typing import Any

import click

from clary import config
from clary.cli import format as human
from clary.cli import output, state
from clary.cli.commands import Group
from clary.cli.output import say
from clary.errors import SandboxError, UsageError, nearest
from clary.files import write_whole
from clary.sandbox import api
from clary.stacks import parts, rules, service
from clary.stacks.draft import Draft
from clary.stacks.model import SANDBOX

_data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The sandbox's folder. Default: $CLARY_HOME/sandbox.",
)


@click.group("sandbox", cls=Group)
def sandbox() -> None:
    """Start and stop the local SageMaker.

    A loopback server that speaks the AWS API and really runs the containers. Everything it keeps lies in one folder and
    survives a restart.
    """


@sandbox.command("start")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Default: the last one, else 4599, else any free one."
)
@_data
@click.option("--detach", "-d", is_flag=True, help="Run in the background and return when it answers.")
@click.option(
    "--requirement",
    "-r",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Install the packages that FILE lists into the sandbox's own image. May be repeated.",
)
@click.option(
    "--with", "packages", multiple=True, metavar="PACKAGE", help="Install a package likewise. May be repeated."
)
@click.option(
    "--clock-speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Sandbox seconds a second."
)
@click.option(
    "--iam",
    type=click.Choice(["enforce", "off"]),
    help="Whether IAM policies decide over every request. Default: as the last time, at first off.",
)
def start(
    port: int,
    data: Path | None,
    detach: bool,
    files: tuple[Path, ...],
    packages: tuple[str, ...],
    clock_speed: float,
    iam: str | None,
) -> None:
    """Start the sandbox and make (or bring up to date) the stack 'sandbox'.

    Without --detach it runs here until Ctrl-C. The lines it prints point the AWS CLI, boto3 and other SDKs at it.
    """
    service.listing()  # a store that cannot be read is refused before anything is started
    wanted = [*(line for file in files for line in requirements_of(file)), *packages]
    if detach:
        started = api.start(port=port, data=data, requirements=wanted, clock_speed=clock_speed, iam=iam)
        _announce(started, detached=True)
        return
    _serve_here(port, data, wanted, clock_speed, iam)


@sandbox.command("stop")
@_data
def stop(data: Path | None) -> None:
    """Stop the sandbox. What it keeps stays; containers that run are ended."""
    ended = [job["name"] for job in _jobs_running(data)]
    stopped = api.stop(data)
    shown = {"endpoint": stopped["endpoint"], "pid": stopped["pid"], "stopped": True, "jobs_ended": ended}

    def text() -> None:
        say(f"Stopped the sandbox at {stopped['endpoint']}.")
        if ended:
            say(f"Jobs that were running have ended without a result: {', '.join(ended)}.")
            say("Their runs go on with `clary runs resume RUN` when the sandbox is started again.")

    output.item(shown, text)


@sandbox.command("status")
@_data
def status(data: Path | None) -> None:
    """Show the running sandbox: where it is, how it runs containers, and what it cannot honour here."""
    found = api.status(data)
    output.item(found, lambda: _print_status(found))


@sandbox.command("reset")
@_data
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def reset(data: Path | None, yes: bool) -> None:
    """Remove everything the sandbox keeps: jobs, objects, logs, images. A running one is stopped first."""
    folder = data or api.default_data()
    if not yes:
        if state.current().json or not state.interactive():
            raise UsageError(
                "sandbox.reset_unconfirmed",
                f"Everything under {folder} would be removed, and nobody can be asked.",
                next_step="Give --yes if that is meant.",
                field="yes",
            )
        click.confirm(f"Remove everything under {folder}?", abort=True, err=True)
    removed = api.reset(data)
    output.item({"data": str(removed), "removed": True}, lambda: say(f"Removed {removed}."))


@sandbox.command("faults")
@click.argument("kind", required=False)
@_data
@click.option("--operation", metavar="PATTERN", help="Only requests of these operations, such as CreateTrainingJob.")
@click.option("--match", metavar="PATTERN", help="Only these object keys, job names or repositories, such as 'runs/*'.")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="How often.")
@click.option("--seconds", type=click.FloatRange(min=0), help="The kind's delay.")
@click.option("--status", "http_status", type=int, help="The HTTP status, for kinds that have one.")
@click.option("--bytes", type=click.IntRange(min=0), help="broken_upload, broken_download: after how many bytes.")
@click.option("--instance-type", metavar="PATTERN", help="capacity: only these types, such as 'ml.g5.*'.")
@click.option("--clear", is_flag=True, help="Forget every planned fault.")
def faults(kind: str | None, data: Path | None, clear: bool, **options: Any) -> None:
    """Let the sandbox do something wrong: plan a fault of KIND, or list the planned ones and the kinds there are."""
    if clear:
        api.clear_faults(data)
        output.item({"cleared": True}, lambda: say("Forgot every planned fault."))
        return
    if kind is None:
        planned = api.list_faults(data)
        output.items(planned, lambda: _print_faults(planned))
        return
    _check_kind(kind)
    options["status"] = options.pop("http_status")
    added = api.add_fault(kind, data=data, **{name: value for name, value in options.items() if value is not None})
    output.item(added, lambda: _print_faults([added]))


def _jobs_running(data: Path | None) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = api.status(data)["jobs_running"]
    except SandboxError:
        return []  # it does not answer any more; it can be stopped all the same
    return found


def running_place() -> rules.Place:
    """Return what the running sandbox offers a stack, starting it in the background if it does not run."""
    try:
        found = api.status()
    except SandboxError as error:
        if error.code != "sandbox.not_running":
            raise
        if not state.current().json:
            click.echo("Starting the sandbox…", err=True)
        found = api.start()
    return _place(found)


def refresh_stacks(place: rules.Place) -> None:
    """Point every stack made with ``--type sandbox`` at the running sandbox, and make the stack ``sandbox`` if need be.

    A sandbox may come back on another port; its stacks are known by the credentials file that only they name.
    """
    for part in parts.listing("orchestrator"):
        options = part.component.options
        ours = options.get("credentials") == place.credentials
        if ours and options.get("endpoint_url") != place.endpoint_url:
            parts.update("orchestrator", part.component.name, {"endpoint_url": place.endpoint_url})
    if service.listing().sandbox_missing:
        service.create(Draft(SANDBOX, SANDBOX), activate=False, place=place)


def requirements_of(file: Path) -> list[str]:
    """Return the requirements (PEP 508) that a file lists, one a line, comments and blank lines left out.

    Raises UsageError ``sandbox.bad_requirement`` for pip's own options, which a list of packages has no place for.
    """
    found = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        line = text.split(" #", 1)[0].strip()
        if line.startswith("-"):
            raise UsageError(
                "sandbox.bad_requirement",
                f"{file}, line {number}: {line!r} is an option of pip, not a package.",
                next_step="Leave only packages in the file, such as numpy==2.1.0.",
                field="requirement",
            )
        if line and not line.startswith("#"):
            found.append(line)
    return found


def _serve_here(port: int, data: Path | None, wanted: list[str], clock_speed: float, iam: str | None) -> None:
    folder = api.serve(
        lambda found: _announce(found, detached=False),
        port=port,
        data=data,
        requirements=wanted,
        clock_speed=clock_speed,
        iam=iam,
    )
    if not state.current().json:
        click.echo(f"The sandbox has stopped; what it keeps is in {folder}.", err=True)


def _announce(found: dict[str, Any], *, detached: bool) -> None:
    """Bring the sandbox's stacks up to date, then print where the sandbox is and how to use it."""
    refresh_stacks(_place(found))
    output.item(found, lambda: _print_started(found, detached=detached))


def _place(found: dict[str, Any]) -> rules.Place:
    from clary.sagemaker.credentials import Kind
    from clary.sandbox.containers.image import image_reference

    return rules.Place(
        endpoint_url=found["endpoint"],
        bucket=found["bucket"],
        execution_role=found["role"],
        scheduler_role=found["scheduler_role"],
        account=found["account"],
        region=found["region"],
        credentials=f"{Kind.FILE}:{_write_credentials(found['environment'])}",
        image=image_reference(found["account"], found["region"]),
    )


def _write_credentials(environment: dict[str, str]) -> Path:
    """Write the keys that the sandbox takes into a file of ours, and return it.

    They are no secret, and they keep a person's real AWS credentials from being sent to the sandbox at all.
    """
    path = config.home() / "sandbox-credentials"
    content = configparser.ConfigParser()
    content["default"] = {name.lower(): environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    text = io.StringIO()
    content.write(text)
    write_whole(path, text.getvalue())  # at once: another command may be reading it
    return path


def _check_kind(kind: str) -> None:
    from clary.sandbox.faults import KINDS

    if kind in KINDS:
        return
    meant = nearest(kind, KINDS)
    raise UsageError(
        "sandbox.unknown_fault",
        f"There is no kind of fault {kind!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else "`clary sandbox faults` lists the kinds.",
        field="kind",
    )


def _print_started(found: dict[str, Any], *, detached: bool) -> None:
    say(f"The sandbox answers at {found['endpoint']} (executor: {found['executor']}).")
    _print_not_honoured(found)
    _print_environment(found)
    say("To run a flow on it: clary run FILE.py:FLOW --stack sandbox")
    say("To stop it: " + ("clary sandbox stop" if detached else "Ctrl-C"))


def _print_status(found: dict[str, Any]) -> None:
    jobs = ", ".join(f"{job['name']} ({job['status']})" for job in found["jobs_running"])
    output.rows(
        [
            ("Endpoint", found["endpoint"]),
            ("Process", found["pid"]),
            ("Up for", human.duration(found["uptime_seconds"])),
            ("Executor", found["executor"]),
            ("Region", found["region"]),
            ("Account", found["account"]),
            ("Bucket", found["bucket"]),
            ("Role", found["role"]),
            ("IAM policies", "enforced" if found["iam"] == "enforce" else "not enforced"),
            ("Clock", f"{found['clock']['speed']:g} times as fast" if found["clock"]["speed"] != 1 else None),
            ("Jobs", jobs or "none running"),
        ]
    )
    _print_not_honoured(found)
    _print_environment(found)


def _print_environment(found: dict[str, Any]) -> None:
    say("To point the AWS CLI and boto3 at it:")
    for name, value in found["environment"].items():
        say(f"  export {name}={value}")


def _print_not_honoured(found: dict[str, Any]) -> None:
    for line in found["not_honoured"]:
        say(f"Not honoured here: {line}")


def _print_faults(planned: list[dict[str, Any]]) -> None:
    from clary.sandbox.faults import KINDS

    if planned:
        rows = [[str(f["id"]), f["kind"], f["operation"], f["match"], str(f["left"]), str(f["taken"])] for f in planned]
        output.table(["ID", "KIND", "OPERATION", "MATCH", "LEFT", "TAKEN"], rows)
        return
    say("No fault is planned. The kinds:")
    width = max(map(len, KINDS))
    for kind, meaning in KINDS.items():
        say(f"  {kind:<{width}}  {meaning}")

"""Every command in README.md and docs/ runs here, page by page, in an empty home."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "internals" not in path.parts),
]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Return the commands of a page: the lines behind ``$`` in its console blocks."""
    found = []
    for kind, _, body in BLOCK.findall(page.read_text()):
        if kind == "console":
            found += [line[2:] for line in body.splitlines() if line.startswith("$ ")]
    return found


def files(page: Path) -> dict[str, str]:
    """Return the files that a page has its reader write."""
    return {name: body for _, name, body in BLOCK.findall(page.read_text()) if name}


WITH_COMMANDS = [page for page in PAGES if commands(page)]


def test_pages_with_commands_are_found() -> None:
    assert {page.name for page in WITH_COMMANDS} >= {
        "README.md",
        "first-flow.md",
        "stack-on-aws.md",
        "use-the-sandbox.md",
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    for name, body in files(page).items():
        (place / name).write_text(body)
    shutil.copytree(ROOT / "examples", place / "examples")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLARY_", "PYTEST_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "CLARY_HOME": str(home / ".clary"),
        "LANG": "C.UTF-8",
    }
    if page.name in ("stack-on-aws.md", "permissions.md"):
        environment |= _an_account(environment)
    try:
        for command in commands(page):
            where = ROOT if command.startswith("scripts/") else place
            done = _shell(command, where, environment)
            assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr
    finally:
        subprocess.run(["clary", "sandbox", "stop"], env=environment, capture_output=True, timeout=60, check=False)


def _an_account(environment: dict[str, str]) -> dict[str, str]:
    """Start a sandbox that holds what the page says its reader has; return the variables that point at it."""
    started = subprocess.run(
        ["clary", "sandbox", "start", "--detach", "--port", "0", "-o", "json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    import boto3

    variables: dict[str, str] = json.loads(started.stdout)["item"]["environment"]
    keys = {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox", "region_name": "us-east-1"}
    endpoint = variables["AWS_ENDPOINT_URL"]
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="team-artifacts")
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam = boto3.client("iam", endpoint_url=endpoint, **keys)
    iam.create_role(RoleName="team-execution", AssumeRolePolicyDocument=trust)
    return variables


def _shell(command: str, where: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    shell = ["bash", "-c", command]
    return subprocess.run(
        shell,
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )

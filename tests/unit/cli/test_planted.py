"""Keys that somebody writes out are in no output and in no file but the encrypted one, whichever command meets them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary import config
from planted import forms, traces

if TYPE_CHECKING:
    from command_line import CommandLine

SECRET = "canaryInKeys0123456789abcdefghijklmnopq"
KEYS = f"aws-access-keys:AKIACANARY:{SECRET}"
ROLE = "arn:aws:iam::123456789012:role/team"
NOWHERE = "http://127.0.0.1:9"
"""Nothing answers there (the port of the discard service)."""
STACK_FILE = f"""\
type: sagemaker
artifact_store: s3://team-bucket
container_registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/team
region: us-east-1
execution_role: {ROLE}
endpoint_url: {NOWHERE}
credentials: {KEYS}
verify: false
"""
COMMANDS = [
    "stack create filed -f stack.yaml",
    "stack create again -f stack.yaml --dry-run",
    "stack create looked -f stack.yaml --verify",
    f"stack create wrong -f stack.yaml --extra orchestrator.credentials={KEYS}:more:parts",
    f"stack create twice -f stack.yaml --credentials {KEYS} --extra orchestrator.credentials={KEYS}x",
    f"stack create typo -f stack.yaml --credentials aws-acess-keys:AKIACANARY:{SECRET}",
    f"orchestrator register run --flavor=sagemaker --region=us-east-1 --execution-role={ROLE} --credentials={KEYS}",
    f"orchestrator register bad --flavor=sagemaker --region=us-east-1 --execution-role={ROLE} --credentials={SECRET}",
    f"artifact-store register keep --flavor=s3 --path=s3://team-bucket --credentials={KEYS}",
    f"stack update filed --credentials={KEYS} --no-verify",
    "stack list",
    "stack show filed",
    "stack export filed",
    "stack export filed exported.yaml",
    "stack copy filed twin",
    "stack diff filed twin",
    "orchestrator show run",
    "orchestrator list",
    "artifact-store show keep",
    "doctor --stack filed",
    "iam policy execution --stack filed",
    f"bootstrap --region us-east-1 --endpoint-url {NOWHERE} --credentials {KEYS}",
    f"bootstrap --region us-east-1 --endpoint-url {NOWHERE} --credentials {KEYS} --apply",
    "secrets list --backend local",
    "stack delete filed --force --recursive",
]


@pytest.mark.parametrize("more", [[], ["--output", "json"]], ids=["text", "json"])
def test_keys_are_in_no_output_and_no_file(clary: CommandLine, more: list[str]) -> None:
    given = Path("stack.yaml")
    given.write_text(STACK_FILE)
    for command in COMMANDS:
        answer = clary(*command.split(), *more)
        said = (answer.out + answer.err).encode()
        assert not any(form in said for form in forms(SECRET)), command
        assert b"internal.unexpected" not in said, command
        assert Path.cwd().joinpath("exported.yaml").exists() or "exported" not in command
    given.unlink()
    assert traces(config.home(), SECRET) == []
    assert traces(Path.cwd(), SECRET) == []

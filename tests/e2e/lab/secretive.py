"""Flows that use a secret, well and badly."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

from clary import checkpoint, flow, log

AT_IMPORT = os.environ.get("LAB_CANARY", "")


def _told() -> str:
    return hashlib.sha256(os.environ["LAB_CANARY"].encode()).hexdigest()


@checkpoint
def use(secret_length: int) -> str:
    assert len(os.environ["LAB_CANARY"]) == secret_length
    return _told()


@flow(environment={"URL": "https://user:{{ secrets.canary.token }}@host/", "PLAIN": "as it is"})
def careful(length: int) -> list[str]:
    """The hash of the secret, as a checkpoint, a child process and the module itself see it, and of a text with it."""
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            "import hashlib, os; print(hashlib.sha256(os.environ['LAB_CANARY'].encode()).hexdigest())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    at_import, url = (hashlib.sha256(text.encode()).hexdigest() for text in (AT_IMPORT, os.environ["URL"]))
    return [use(length), child.stdout.strip(), at_import, url]


@flow
def careless() -> None:
    """Print the secret in one piece and in two, log it, and fail with it."""
    secret = os.environ["LAB_CANARY"]
    print("it is", secret)
    print(secret[:9], end="", flush=True)
    print(secret[9:])
    print(repr(secret), {"token": secret}, file=sys.stderr)
    log(token=secret, nested={"deep": [secret]})
    raise ValueError("it did not work with", secret)

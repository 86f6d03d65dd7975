"""Every command of the command line once: as it works, in an order in which it does, and as it is refused."""

from __future__ import annotations

from collections.abc import Iterator

from clary.cli.component import SUMMARIES
from clary.stacks.flavors import KINDS

Step = tuple[tuple[str, ...], list[str]]
"""The words of a command, and its arguments."""

_ROLE = "arn:aws:iam::123456789012:role/newcomer"
_HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
_MADE: dict[str, tuple[list[str], str]] = {
    "orchestrator": (
        ["--flavor=sagemaker", "--region=us-east-1", f"--execution-role={_ROLE}"],
        "--volume-size-in-gb=50",
    ),
    "artifact_store": (["--flavor=s3", "--path=s3://newcomer"], "--credentials=aws-profile:newcomer"),
    "container_registry": (["--flavor=aws", f"--uri={_HOST}"], "--default-repository=newcomer"),
    "image_builder": (["--flavor=kaniko"], "--kubernetes-namespace=newcomer"),
    "secrets_manager": (["--flavor=ssm"], "--prefix=newcomer/"),
}
"""By kind: what registers a component, and an option that is set and taken out again."""
_PARTS = [f"--{KINDS[kind].command}=two" for kind in SUMMARIES]


def _components() -> Iterator[Step]:
    for kind, (options, more) in _MADE.items():
        command = KINDS[kind].command
        yield (command, "register"), ["one", *options]
        yield (command, "list"), []
        yield (command, "show"), ["one"]
        yield (command, "update"), ["one", more]
        yield (command, "remove-attribute"), ["one", more.partition("=")[0]]
        yield (command, "rename"), ["one", "two"]
        yield (command, "copy"), ["two", "three"]
        yield (command, "delete"), ["three"]
        yield (command, "explain"), []
        yield (command, "flavor", "list"), []
        yield (command, "flavor", "describe"), [options[0].partition("=")[2]]
    yield ("stack", "register"), ["team", *_PARTS, "--set", "--no-verify"]
    for kind in _MADE:
        yield (KINDS[kind].command, "get"), []


STEPS: list[Step] = [
    (("stack", "list"), []),
    (("stack", "create"), ["extra", "--type", "local"]),
    (("stack", "show"), ["extra"]),
    (("stack", "use"), ["lab"]),
    (("stack", "current"), []),
    (("stack", "delete"), ["extra"]),
    (("run",), ["fine.py:steps"]),
    (("run",), ["fine.py:steps", "--stack", "local"]),
    (("runs", "list"), []),
    (("runs", "show"), ["latest"]),
    (("runs", "logs"), ["latest"]),
    (("runs", "wait"), ["latest"]),
    (("runs", "stop"), ["latest"]),
    (("run",), ["fine.py:steps", "--input", "pause=60", "--detach"]),
    (("runs", "stop"), ["latest"]),
    (("runs", "wait"), ["latest"]),
    (("runs", "resume"), ["latest", "--detach"]),
    (("runs", "stop"), ["latest"]),
    (("run",), ["fine.py:asks", "--stack", "local", "-i", "marker=DATA-marker"]),
    (("runs", "retry"), ["latest", "--stack", "local"]),
    (("runs", "waits"), ["latest", "--stack", "local"]),
    (("runs", "answer"), ["latest", "go", "true", "--stack", "local"]),
    (("runs", "replay"), ["latest", "--at", "breaks_once", "--stack", "local"]),
    (("artifacts", "list"), ["latest", "--stack", "local"]),
    (("artifacts", "show"), ["latest", "note", "--stack", "local"]),
    (("artifacts", "get"), ["latest", "note", "--stack", "local", "-f", "note.json"]),
    (("cache", "list"), ["--stack", "local"]),
    (("cache", "why"), ["latest", "--stack", "local"]),
    (("cache", "clear"), ["--stack", "local", "--yes"]),
    (("config", "set"), ["retries", "1"]),
    (("config", "list"), []),
    (("config", "show"), ["--flow", "fine.py:steps"]),
    (("config", "unset"), ["retries"]),
    (("info",), []),
    (("status",), []),
    *_components(),
    (("stack", "update"), ["team", "--extra", "orchestrator.volume_size_in_gb=60", "--no-verify"]),
    (("stack", "remove-component"), ["team", "-x"]),
    (("stack", "rename"), ["team", "crew"]),
    (("stack", "copy"), ["crew", "twin"]),
    (("stack", "diff"), ["crew", "twin"]),
    (("stack", "export"), ["crew", "crew.yaml"]),
    (("stack", "import"), ["third", "-f", "crew.yaml", "--no-verify"]),
    (("stack", "export-requirements"), ["crew"]),
    (("stack", "delete"), ["third"]),
    (("stack", "delete"), ["twin"]),
    (("stack", "use"), ["lab"]),
    (("stack", "delete"), ["crew", "--recursive"]),
    (("secrets-manager", "delete"), ["two"]),
    (("doctor",), ["--stack", "lab"]),
    (("iam", "policy"), ["execution", "--stack", "lab"]),
    (("image", "plan"), ["--workdir", "/srv"]),
    (("image", "build"), ["--workdir", "/srv", "--tag", "newcomer"]),
    (("image", "show"), ["IMAGE"]),
    (("image", "copy"), ["IMAGE", "--repository", "newcomer"]),
    (("image", "diff"), ["IMAGE", "IMAGE"]),
    (("image", "verify"), ["IMAGE"]),
    (("image", "cache", "info"), []),
    (("image", "cache", "prune"), []),
    (("bootstrap",), ["--region", "us-east-1"]),
    (("secrets", "set"), ["first", "--KEY=value"]),
    (("secrets", "create"), ["second", "--values", "KEY: value"]),
    (("secrets", "update"), ["second", "--OTHER=value", "-r", "KEY"]),
    (("secrets", "rename"), ["second", "third"]),
    (("secrets", "list"), []),
    (("secrets", "show"), ["third"]),
    (("secrets", "export"), ["third"]),
    (("secrets", "backup"), ["secrets.backup", "--stack", "local"]),
    (("secrets", "restore"), ["secrets.backup", "--stack", "local"]),
    (("secrets", "delete"), ["first", "--force"]),
    (("sandbox", "start"), ["--detach", "--port", "0", "--data", "DATA"]),
    (("sandbox", "status"), ["--data", "DATA"]),
    (("sandbox", "faults"), ["throttle", "--operation", "CreateTrainingJob", "--data", "DATA"]),
    (("sandbox", "faults"), ["--data", "DATA"]),
    (("sandbox", "faults"), ["--clear", "--data", "DATA"]),
    (("sandbox", "stop"), ["--data", "DATA"]),
    (("sandbox", "reset"), ["--yes", "--data", "DATA"]),
]
"""What works, in an order in which it does. DATA is a folder for a sandbox of its own, IMAGE the stack's image."""
REFUSALS: dict[tuple[str, ...], list[str]] = {
    ("run",): ["nowhere.py:f"],
    ("runs", "list"): ["--stack", "nowhere"],
    ("runs", "show"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "logs"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "wait"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "stop"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "resume"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "retry"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "waits"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("runs", "answer"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "go", "true", "--stack", "local"],
    ("runs", "replay"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--at", "step", "--stack", "local"],
    ("artifacts", "list"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("artifacts", "show"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "note", "--stack", "local"],
    ("artifacts", "get"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "note", "--stack", "local"],
    ("cache", "list"): ["--stack", "nowhere"],
    ("cache", "why"): ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "--stack", "local"],
    ("cache", "clear"): ["--stack", "nowhere", "--yes"],
    ("config", "set"): ["nothing", "1"],
    ("config", "list"): ["unasked"],
    ("config", "show"): ["--stack", "nowhere"],
    ("config", "unset"): ["nothing"],
    ("info",): ["unasked"],
    ("status",): ["unasked"],
    ("stack", "create"): ["local"],
    ("stack", "list"): ["unasked"],
    ("stack", "show"): ["nowhere"],
    ("stack", "use"): ["nowhere"],
    ("stack", "current"): ["unasked"],
    ("stack", "delete"): ["nowhere"],
    ("stack", "register"): ["team"],
    ("stack", "update"): ["nowhere", "--region", "us-east-1"],
    ("stack", "remove-component"): ["nowhere", "-i"],
    ("stack", "rename"): ["nowhere", "elsewhere"],
    ("stack", "copy"): ["nowhere", "elsewhere"],
    ("stack", "diff"): ["nowhere", "local"],
    ("stack", "export"): ["nowhere"],
    ("stack", "import"): ["nowhere"],
    ("stack", "export-requirements"): ["nowhere"],
    ("doctor",): ["--stack", "nowhere"],
    ("iam", "policy"): ["nobody"],
    ("image", "plan"): ["--builder", "nobody"],
    ("image", "build"): ["--stack", "nowhere"],
    ("image", "show"): ["no image"],
    ("image", "copy"): ["no image"],
    ("image", "diff"): ["no image", "IMAGE"],
    ("image", "verify"): ["no image"],
    ("image", "cache", "info"): ["unasked"],
    ("image", "cache", "prune"): ["--max-size", "large"],
    ("bootstrap",): ["--region", "us-east-1", "--apply", "--destroy"],
    ("secrets", "set"): ["name", "--KEY"],
    ("secrets", "create"): ["no.name", "--KEY=value"],
    ("secrets", "update"): ["nowhere", "--KEY=value"],
    ("secrets", "rename"): ["nowhere"],
    ("secrets", "list"): ["--stack", "nowhere"],
    ("secrets", "show"): ["nowhere"],
    ("secrets", "export"): ["nowhere"],
    ("secrets", "backup"): ["--stack", "nowhere"],
    ("secrets", "restore"): ["nowhere"],
    ("secrets", "delete"): ["nowhere"],
    ("sandbox", "start"): ["--data", "FILE"],
    ("sandbox", "status"): ["--data", "DATA"],
    ("sandbox", "stop"): ["--data", "DATA"],
    ("sandbox", "reset"): ["--data", "DATA"],
    ("sandbox", "faults"): ["--data", "DATA"],
}
"""What is refused, beside an option that there is not. DATA is no folder yet, FILE a file."""

_REFUSED = {
    ("register",): ["one"],
    ("list",): ["unasked"],
    ("show",): ["nowhere"],
    ("get",): ["unasked"],
    ("update",): ["nowhere", "--region=us-east-1"],
    ("remove-attribute",): ["nowhere", "region"],
    ("rename",): ["nowhere", "elsewhere"],
    ("copy",): ["nowhere", "elsewhere"],
    ("delete",): ["nowhere"],
    ("explain",): ["unasked"],
    ("flavor", "list"): ["unasked"],
    ("flavor", "describe"): ["nowhere"],
}
REFUSALS |= {(KINDS[kind].command, *words): given for kind in SUMMARIES for words, given in _REFUSED.items()}

"""The reference page of the job settings, made from the model and its texts."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from clary.sagemaker import aliases, settings_model
from clary.sagemaker.settings_requests import MEMBERS

INTRODUCTION = """\
Settings of the job that runs a flow. They can stand in several places; a later one wins, and **only what was set
overrides**: a flow that sets `volume_size_in_gb` keeps the stack's `instance_type`.

1. the stack: `--extra orchestrator.NAME=VALUE`, or `settings` in its file
2. the flow: `@flow(NAME=VALUE)`

Objects (`tags`, `environment`, `input_data` …) are merged key by key, lists are replaced, and null (`None`) means the
default. Hyphens may stand for underscores. What does not fit is refused before anything is uploaded, all of it at once,
each with its path (`settings.tags.team`, `settings.subnets[1]`) and the nearest right name. Limits are those of the
installed botocore, and those that AWS documents beyond it."""
TOGETHER = """\
- `use_spot` excludes `keep_alive_period_in_seconds`, `training_plan` and a list of instance types. A plain container on
  spot machines needs `checkpoint_s3_uri`.
- `max_wait_in_seconds` needs `use_spot`, and is at least `max_runtime_in_seconds`.
- `subnets` and `security_group_ids` go together; `registry_access: Vpc` needs both.
- `volume_kms_key` excludes types with NVMe disks of their own (`ml.g5`, `ml.p4d`, `ml.r5d` …).
- `enable_network_isolation` is not for flows, which keep their record in S3.
- `training_plan` is for one instance type.
- Variables that begin with `CLARY_`, and the channels `runtime`, `code` and `dependencies`, are Clary's own.

Where no layer sets `max_runtime_in_seconds`, the limit is said when a run is submitted."""
FALLBACKS = """\
```python
@flow(instance_type=["ml.g6.2xlarge", "ml.g5.2xlarge", "ml.g4dn.2xlarge"])
def train(): ...
```

SageMaker takes the first type that has capacity, and `clary runs show` says which. A botocore that does not know such
lists yet is told so by an error; nothing is quietly left out."""
OTHERS = """\
`estimator_args` and `processor_args` are taken apart: what has a meaning here becomes the setting in the table, with
`network_config` among it; anything else is refused with what to write instead, and never swallowed. The same setting
twice under two names is an error. `input_data_s3_uri` with one address is the channel `training`."""

TOLD = """\
`use_training_step` and `output_data_s3_mode` are taken where they say what is done anyway (`true`, `EndOfJob`), and
refused otherwise."""


def page(made: str) -> str:
    """Return the page; ``made`` says where it comes from."""
    other = {**{name: ours for name, ours in aliases.SDK_ALIASES.items() if name != ours}, **aliases.ALIASES}
    refused = {**aliases.SDK_REFUSED, **aliases.REFUSED}
    parts = [
        "# Job settings",
        made,
        INTRODUCTION,
        "## Settings",
        table(("setting", "default", "meaning", "in CreateTrainingJob"), _settings()),
        "## A channel of `input_data`",
        table(("member", "default", "meaning"), _channel()),
        "## What goes together",
        TOGETHER,
        "## Fallback instance types",
        FALLBACKS,
        "## Names from other tools",
        OTHERS,
        table(("name", "setting here"), [(f"`{name}`", f"`{other[name]}`") for name in sorted(other)]),
        table(("refused", "instead"), [(f"`{name}`", refused[name]) for name in sorted(refused)]),
        TOLD,
    ]
    return "\n\n".join(parts) + "\n"


def _settings() -> Iterator[tuple[str, ...]]:
    members: dict[str, str] = {}
    for member, name in MEMBERS.items():
        known = members.get(name)
        members[name] = member if known is None or member.startswith(known) else f"{known}`, `{member}"
    for name, text in texts(settings_model.JobSettings).items():
        member = members.get(name, "")
        yield f"`{name}`", _default(settings_model.DEFAULTS[name]), text, f"`{member}`" if member else ""


def _channel() -> Iterator[tuple[str, ...]]:
    usual = settings_model.Channel(uri="")
    for name, text in texts(settings_model.Channel).items():
        yield f"`{name}`", _default(getattr(usual, name)), text


def _default(value: object) -> str:
    if value is None or value in ((), [], {}, ""):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def texts(model: type) -> dict[str, str]:
    """Return each field of a dataclass with the text below it in the source."""
    [tree] = ast.parse(inspect.getsource(model)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            assert isinstance(below.value, ast.Constant)
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found


def table(headers: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [headers, ("---",) * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)

"""Commands and options of Kitaru's and ZenML's command lines that have another name here, or no place: tables.

It loads nothing, for the root of the command line reads it.
"""

from __future__ import annotations

_NO_SERVER = "Clary has no server yet: a stack's bucket is enough, and whoever may read it sees its runs."
_CHOOSE_STACK = "Choose a stack: clary stack use NAME, or make one: clary stack create NAME …."
_NO_DEPLOYMENTS = "A deployment is started by a server, and Clary has none yet."
_NO_SCHEDULES = (
    "Schedules are still to come.",
    "Start the flow by your own scheduler: clary run FILE:FLOW --input NAME=VALUE.",
)
_NO_COMPARISON = "Runs are not compared."
_BOTH = "Look at both: clary runs show RUN; clary artifacts show RUN NAME shows a value."

OTHER_COMMANDS: dict[str, tuple[str, str]] = {
    "analytics": ("Clary sends nothing about its use to anybody.", "There is nothing to switch off."),
    "artifact": (
        "Artifacts have no versions: each belongs to the run that has kept it.",
        "List them with `clary artifacts list RUN`, read one with `clary artifacts get RUN NAME`.",
    ),
    "auth": (_NO_SERVER, "Access is that to the stack's bucket and roles: clary iam prints the least of it."),
    "build": (
        "An image is made when a run needs it, and a project's code is sent with each run.",
        "Start it: clary run FILE:FLOW; `clary image build FILE:FLOW` makes the image beforehand.",
    ),
    "clean": (
        "Nothing is cleaned by the dozen: runs, stacks and secrets are kept until you delete them.",
        "Forget a stack with `clary stack delete NAME`, cached results with `clary cache clear`.",
    ),
    "code-repository": (
        "Code is sent with each run; no repository has to be known.",
        "Go on with `clary run FILE:FLOW`.",
    ),
    "connect": (_NO_SERVER, _CHOOSE_STACK),
    "deploy": (_NO_DEPLOYMENTS, "Start the flow when it is needed: clary run FILE:FLOW --input NAME=VALUE."),
    "deployment": (_NO_DEPLOYMENTS, "Start the flow when it is needed: clary run FILE:FLOW --input NAME=VALUE."),
    "disconnect": (_NO_SERVER, _CHOOSE_STACK),
    "flow": ("Flows are not registered: each is found in its file.", "Its runs are listed by `clary runs list`."),
    "init": (
        "A project needs no marker: its root is the folder with pyproject.toml or .git, else the flow's own.",
        "Go on with `clary run FILE:FLOW`; options of a project stand in pyproject.toml under [tool.clary].",
    ),
    "invoke": (_NO_DEPLOYMENTS, "Start the flow: clary run FILE:FLOW --input NAME=VALUE."),
    "login": (_NO_SERVER, _CHOOSE_STACK),
    "logs": (_NO_SERVER, "The output of a run: clary runs logs RUN -f."),
    "logout": (_NO_SERVER, "Credentials are AWS's: aws sso logout ends a sign-in."),
    "model": (
        "Clary calls no models, and has no registry of them.",
        "Call your provider's client, or the registry's, in a checkpoint; its key is a secret.",
    ),
    "pipeline": (
        "Pipelines are not registered: each is found in its file.",
        "Start one with `clary run FILE:PIPELINE`; `clary runs list` lists the runs.",
    ),
    "project": ("Clary has no projects.", "Keep apart by stacks: each has its own artifact store and runs."),
    "schedule": _NO_SCHEDULES,
    "server": (_NO_SERVER, _CHOOSE_STACK),
    "service-account": (
        _NO_SERVER,
        "Access is that to the stack's bucket and roles: clary iam prints the least of it.",
    ),
    "show": ("There is no dashboard.", "Look at a run with `clary runs show RUN`, at the stack with `clary status`."),
    "step": ("Steps are not registered.", "The calls of a run, with their names: clary runs show RUN."),
    "tag": (
        "Runs have no tags; their jobs have.",
        "Set those of the jobs: --extra orchestrator.tags.NAME=VALUE; note a fact in the flow: log(NAME=VALUE).",
    ),
    "trigger": _NO_SCHEDULES,
    "user": (_NO_SERVER, "Access is that to the stack's bucket and roles: clary iam prints the least of it."),
    "version": ("It is an option.", "Run `clary --version`; `clary info` shows more."),
}
"""Of the root, by name: why it is not here, and what to do."""

OTHER_RUN_COMMANDS: dict[str, tuple[str, str]] = {
    "cohort": ("There are no cohorts.", "Select with `clary runs list --status STATUS`, replay each one."),
    "diff": (_NO_COMPARISON, _BOTH),
    "diff-matrix": (_NO_COMPARISON, _BOTH),
    "events": ("No server streams events.", "Follow the output: clary runs logs RUN -f."),
    "statistics": (
        "The command line counts nothing.",
        "In Python: KitaruClient().executions.statistics(group_by=['status']) of clary.kitaru.",
    ),
}
"""Of ``clary runs`` (and ``clary executions``), likewise."""

OTHER_OPTIONS: dict[str, dict[str, str]] = {
    "runs list": {
        "--flow": "Pick them out of `clary runs list -o json`: each has its flow.",
        "--page": "Give --limit; the newest come first.",
        "--size": "Give --limit; the newest come first.",
    },
    "runs logs": {
        "--checkpoint": "The checkpoints of a run print into one log; let yours print its name.",
        "--source": "There is one log, that of the run's jobs.",
        "--limit": "Cut it: clary runs logs RUN | tail -n 100.",
        "--interval": "Lines come as soon as they are there; leave it out.",
        "--grouped": "Leave it out.",
        "--verbose": "Leave it out; -o json has each line's host and time.",
        "-v": "Leave it out; -o json has each line's host and time.",
        "-vv": "Leave it out; -o json has each line's host and time.",
    },
    "runs replay": {
        "--wait": "--follow waits for the end; --detach does not.",
    },
    "secrets set": {"--private": "Write -p or --private before the name."},
    "run": {
        "--tag": "Log a fact in the flow: log(tag=…).",
        "--exclusive": "There are no deployments.",
    },
}
"""Options that a command of ours does not have, and what to do, by the command's name."""

"""Names of Kitaru 0.21 that have no place in Clary: why, and what to do instead."""

from __future__ import annotations

_NO_PROJECTS = ("Clary has no projects.", "Keep apart by stacks: each has its own artifact store and runs.")
_NO_COMPARISON = (
    "executions are not compared.",
    "Look at both: clary runs show RUN; clary artifacts show RUN NAME shows a value.",
)
_NO_PAGE = ("Clary has no page to link to yet.", "Look at both: clary runs show RUN.")
_NO_DEPLOYMENTS = (
    "a deployment is started by a server, and Clary has none yet.",
    "Start the flow with .run() or `clary run`.",
)
_NO_AUTH = ("there is no server to sign in to.", "Access is that to the stack's bucket and roles: see clary iam.")
_IN_A_CHECKPOINT = "Call the agent in checkpoints of your own: one for each model call and each tool call."

REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("create_project", "current_project", "delete_project", "get_project", "list_projects", "use_project"),
        _NO_PROJECTS,
    ),
    **dict.fromkeys(("ProjectCreateResult", "ProjectDeleteResult", "ProjectInfo"), _NO_PROJECTS),
    **dict.fromkeys(("diff", "diff_cohort", "diff_matrix", "ExecutionDiff", "CohortDiff"), _NO_COMPARISON),
    **dict.fromkeys(
        (
            "build_compare_url",
            "build_compare_urls",
            "build_compare_url_for_executions",
            "compare_url_for_executions",
        ),
        _NO_PAGE,
    ),
    **dict.fromkeys(
        ("cohort", "CohortQuery", "CohortResult"),
        (
            "there are no cohorts.",
            "Select with KitaruClient().executions.list(flow=…, status=…), and replay the list with FLOW.replay([…]).",
        ),
    ),
    "Deployment": _NO_DEPLOYMENTS,
    **dict.fromkeys(("AuthAPIKey", "AuthAPIKeyWithValue", "AuthServiceAccount"), _NO_AUTH),
    "ExecutionEvent": ("no server streams events.", "Follow the output: clary runs logs RUN -f."),
    **dict.fromkeys(
        ("run_sandbox_command", "SandboxCommandResult"),
        (
            "a stack has no sandbox for an agent's shell commands (clary sandbox is a local SageMaker).",
            "Run the command in a checkpoint with runtime='isolated', which is a job of its own.",
        ),
    ),
    "adapters": ("there are no adapters.", _IN_A_CHECKPOINT),
    "mcp": ("there is no MCP server.", "The command line answers in JSON with -o json."),
}
"""Why the name is not here, and what to do."""

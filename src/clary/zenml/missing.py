"""Names of ZenML that have no place in Clary: why, and what to do instead."""

from __future__ import annotations

_OWN_CODE = "Use it from the step's own code; what it needs goes into the image, its keys into `clary secrets`."
_ALIKE = "Log facts with log_metadata(); a run's page shows them: clary runs show RUN."
_BY_TYPE = "how a value is kept follows from its type."

REASONS: dict[str, tuple[str, str]] = {
    "Client": ("it asks a server.", "Ask the stack: clary runs list, or KitaruClient() of clary.kitaru."),
    "ExternalArtifact": ("a step takes plain values.", "Pass the value itself."),
    "Model": ("there is no registry of models.", _OWN_CODE),
    "Schedule": ("schedules are still to come.", "Start the pipeline by your own scheduler: clary run FILE:PIPELINE."),
    "add_tags": ("runs have no tags.", _ALIKE),
    "remove_tags": ("runs have no tags.", _ALIKE),
    "ArtifactConfig": ("an output is found by its call.", "Keep a value by name with save_artifact(value, name)."),
    "get_pipeline_context": ("there is one context.", "Call get_step_context() in a step."),
    "register_artifact": ("an artifact is a value that was kept.", "Keep it with save_artifact(value, name)."),
    "log_artifact_metadata": ("facts belong to the run.", "Call log_metadata({…})."),
    "log_step_metadata": ("facts belong to the run.", "Call log_metadata({…})."),
    "log_model_metadata": ("facts belong to the run.", "Call log_metadata({…})."),
    "bulk_log_metadata": ("facts belong to the run.", "Call log_metadata({…})."),
    "ArtifactType": ("a value is kept by its own type.", "Leave it out: save_artifact(value, name)."),
    "BaseMaterializer": (_BY_TYPE, "Return a type of docs/reference/values.md; any other that pickles is kept too."),
    "CachePolicy": ("a cache key covers code, inputs and versions.", "Use clary.checkpoint(cache=FUNCTION)."),
    "CommandStep": ("a step is a function.", "Run the command in a step: subprocess.run([…], check=True)."),
    "SagemakerStepOperatorSettings": (
        "a step with a job of its own needs no component.",
        'Write @step(runtime="isolated", settings={"orchestrator": SagemakerOrchestratorSettings(…)}).',
    ),
    "Tag": ("runs have no tags.", _ALIKE),
    "link_artifact_to_model": ("there is no registry of models.", _OWN_CODE),
    "run_hook": ("hooks would run beside the record.", "Call the function in the body; a step of its own is recorded."),
    "show": ("there is no dashboard.", "Look at a run: clary runs show RUN."),
}
"""Why the name is not here, and what to do."""

OPTIONS: dict[str, tuple[str, str]] = {
    "build": ("an image is built when it is not there.", "`clary image build` makes it beforehand."),
    "cache_policy": ("a cache key covers code, inputs and versions.", "Use clary.checkpoint(cache=FUNCTION)."),
    "config_path": ("pipelines are not configured by a file yet.", "Write the options in code, or [tool.clary]."),
    "depends_on": ("the order is that of the body.", "Leave it out."),
    "environment": ("variables are a setting of the job.", 'Write settings={"orchestrator": {"environment": {…}}}.'),
    "execution_mode": ("a failure ends the run unless the body catches it.", "Catch it where it may go on."),
    "experiment_tracker": ("a stack has no experiment tracker.", _OWN_CODE),
    "extra": ("a run keeps facts, not options nobody reads.", "Call log_metadata({…}) in a step."),
    "model": ("there is no registry of models.", _OWN_CODE),
    "output_materializers": (_BY_TYPE, "Return a type of docs/reference/values.md."),
    "parameters": ("a step takes its arguments where it is called.", "Pass them in the body."),
    "run_name": ("a run's id is given by Clary.", "Log the name as a fact: log_metadata({…})."),
    "schedule": ("schedules are still to come.", "Start the pipeline by your own scheduler: clary run FILE:PIPELINE."),
    "secrets": ("a variable names its secret and key.", 'Write environment: {"TOKEN": "{{secrets.NAME.TOKEN}}"}.'),
    "step_operator": ("a step with a job of its own needs no component.", 'Write @step(runtime="isolated").'),
    **dict.fromkeys(
        ("steps", "step_configurations"),
        ("a step's options stand at the step.", "Write them in @step(…), or use STEP.with_options(…)."),
    ),
    "substitutions": ("names are not made from templates.", "Write the name."),
    "tags": ("runs have no tags; jobs have.", 'Write settings={"orchestrator": {"tags": {…}}}.'),
    **dict.fromkeys(
        (
            "on_failure",
            "on_success",
            "on_start",
            "on_end",
            "on_init",
            "on_init_kwargs",
            "on_cleanup",
            "on_pause",
            "on_resume",
        ),
        ("hooks would run beside the record.", "Call the function in the body; a step of its own is recorded."),
    ),
}
"""The same for options of ``@step`` and ``@pipeline``."""
PIPELINE_OPTIONS: dict[str, tuple[str, str]] = {
    "retry": ("it is each step's.", "Write it at the steps: @step(retry=StepRetryConfig(…))."),
    "runtime": ("it is each step's.", 'Write it at the steps: @step(runtime="isolated").'),
}
"""The same for options that steps have and pipelines have not."""
PIPELINE_METHODS: dict[str, tuple[str, str]] = {
    "build": ("an image is built when it is not there.", "`clary image build FILE:PIPELINE` makes it beforehand."),
    "register": ("each pipeline is found in its file.", "Leave it out; `clary runs list` lists its runs."),
    "submit": ("one run has one body.", "Begin the steps beside it by STEP.submit(…), or call PIPELINE.embed(…)."),
    **dict.fromkeys(
        ("create_snapshot", "create_run_template", "deploy"),
        (
            "it would be started by a server, and Clary has none.",
            "Start it: clary run FILE:PIPELINE --input NAME=VALUE.",
        ),
    ),
    "write_run_configuration_template": (
        "pipelines are not configured by a file yet.",
        "`clary config show --flow FILE:PIPELINE` shows what holds for a run.",
    ),
    "replay": (
        "a replay is named by its run and by the call at which it parts from that.",
        "Run `clary runs replay RUN --at CALL`; --skip keeps the results of others.",
    ),
}
"""The same for what can be called on a pipeline."""
NO_EFFECT = frozenset(
    {
        "enable_step_logs",
        "enable_artifact_metadata",
        "enable_artifact_visualization",
        "enable_pipeline_logs",
        "enable_heartbeat",
        "heartbeat_healthy_threshold",
        "group",
        "prevent_build_reuse",
        "unlisted",
    }
)
"""Options that are taken and change nothing: output, previews and the heartbeat are there always."""

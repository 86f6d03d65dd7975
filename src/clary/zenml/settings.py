"""``settings=`` of ``@step`` and ``@pipeline``: image and job, by ZenML's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.errors import UsageError, nearest
from clary.flows import outside
from clary.image import Image
from clary.zenml.machines import machine_for
from clary.zenml.options import refuse


class _Settings(dict[str, Any]):
    """Settings whose values are attributes too; what was not set is None."""

    fields: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name in self or name in self.fields:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no setting {name!r}")


def job_settings(given: Mapping[str, Any] | None) -> tuple[str | Image | None, dict[str, Any]]:
    """Return the image and the job's settings that ``settings=`` names.

    Raises UsageError ``zenml.bad_settings``, ``zenml.not_available``.
    """
    image: str | Image | None = None
    found: dict[str, Any] = {}
    machine: str | None = None
    for key, value in plain_settings(given).items():
        if key == "orchestrator":
            _refuse_unknown(value)
            found |= value
        elif key == "docker":
            image, environment = _docker(value)
            found["environment"] = {**found.get("environment", {}), **environment}
        else:
            machine = machine_for(value)
    if machine is not None and not found.get("instance_type"):
        found["instance_type"] = machine
    return image, {name: value for name, value in found.items() if value != {}}


def plain_settings(given: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return settings as plain mappings, under ``orchestrator``, ``docker`` and ``resources``.

    Raises as ``job_settings``.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, value in (given or {}).items():
        name = key.replace(":", ".").partition(".")[0]
        if name in _OTHER_KEYS:
            refuse(f"settings[{name}]", *_OTHER_KEYS[name])
        if name not in _KEYS:
            raise _bad_settings(key)
        found[name] = {**found.get(name, {}), **_plain(value)}
    return found


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain settings laid over others: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for name, value in over.items():
        under = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        merged[name] = laid_over(under, value) if both else value  # type: ignore[arg-type]  # seen above
    return merged


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    """Refuse names that are no settings of a job; where the code runs as a job, that has been done."""
    names = outside.door("clary.sagemaker.aliases")
    if names is None:
        return
    for finding in names.canonical(given, "settings[orchestrator]")[1]:
        raise UsageError("zenml.bad_settings", finding.message, next_step=finding.next_step, field="settings")


def _bad_settings(key: str) -> UsageError:
    meant = nearest(key, _KEYS)
    return UsageError(
        "zenml.bad_settings",
        f"There are no settings {key!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"The keys are: {', '.join(_KEYS)}.",
        field="settings",
    )


def _plain(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    dumped = getattr(given, "model_dump", None)  # a settings object of ZenML itself, where that is still installed
    if dumped is None:
        raise UsageError(
            "zenml.bad_settings",
            f"{given!r} are no settings.",
            next_step='Give a mapping, such as {"instance_type": "ml.m5.large"}.',
            field="settings",
        )
    said: dict[str, Any] = dumped(exclude_unset=True)
    return said


def _docker(given: dict[str, Any]) -> tuple[str | Image | None, dict[str, str]]:
    """Return the image and the job's variables. A parent image alone is used as it is."""
    for name, value in given.items():
        if name in _REFUSED and value:
            refuse(f"settings[docker].{name}", *_REFUSED[name])
        if name not in (*_IMAGE, *_VARIABLES, *_NO_EFFECT, *_REFUSED, "replicate_local_python_environment"):
            known = [*_IMAGE, *_VARIABLES, *_NO_EFFECT]
            meant = nearest(name, known)
            raise UsageError(
                "zenml.bad_settings",
                f"settings[docker] has no key {name!r}.",
                next_step=f"Did you mean {meant!r}?" if meant else f"Its keys are: {', '.join(known)}.",
                field="settings",
            )
    said = {ours: given[theirs] for theirs, ours in _IMAGE.items() if given.get(theirs)}
    if given.get("replicate_local_python_environment"):
        from clary.kitaru.images import installed_here

        said["requirements"] = installed_here()
    variables = {key: value for name in _VARIABLES for key, value in (given.get(name) or {}).items()}
    return (said.get("base") if set(said) <= {"base"} else Image(**said)), variables


_IMAGE = {
    "parent_image": "base",
    "requirements": "requirements",
    "pyproject_path": "requirements",
    "apt_packages": "apt",
    "dockerfile": "dockerfile",
    "build_context_root": "context",
    "target_repository": "repository",
    "image_tag": "tag",
    "user": "user",
}
"""Their keys of what an image is made of, and our fields."""
_VARIABLES = ("environment", "runtime_environment")
_NO_EFFECT = (
    "skip_build",
    "prevent_build_reuse",
    "python_package_installer",
    "python_package_installer_cache_mount",
    "install_stack_requirements",
    "disable_automatic_requirements_detection",
    "allow_including_files_in_images",
    "allow_download_from_code_repository",
    "allow_download_from_artifact_store",
    "source_files",
    "copy_files",
    "copy_global_config",
)
"""What has nothing to decide here: an image is made when it is not there, and the code is sent with each run."""
_REFUSED: Mapping[str, tuple[str, str]] = {
    "required_integrations": ("ZenML's integrations are not needed.", "List the packages in requirements."),
    "required_hub_plugins": ("There is no hub of plugins.", "List the packages in requirements."),
    "python_package_installer_args": ("uv resolves the packages.", "Set it in uv.toml, which is read."),
    "pyproject_export_command": ("uv reads pyproject.toml and uv.lock itself.", "Name the file in pyproject_path."),
    "local_project_install_command": ("the project's code is sent with each run.", "Leave it out."),
    "parent_image_build_config": ("one image is built, on its base.", "Build the parent by `clary image build`."),
    "dockerignore": ("the .dockerignore of the build context is read.", "Give the file that name there."),
    "build_config": ("the builder is an image's.", "Write `image=Image(builder=…)` in Clary's own @flow."),
}
_KEYS = ("orchestrator", "docker", "resources")
_OTHER_KEYS: Mapping[str, tuple[str, str]] = {
    "step_operator": ("a step with a job of its own needs no component.", 'Write them under "orchestrator".'),
    "deployer": ("Clary runs pipelines; it serves none.", "To serve a model, call SageMaker's API from the last step."),
    "deployment": ("Clary runs pipelines; it serves none.", "Leave it out."),
    "image_builder": ("the builder is the stack's.", "Set it there: clary image-builder register NAME."),
    "experiment_tracker": ("a stack has no experiment tracker.", "Configure it in the step's own code."),
    "model_deployer": ("Clary runs pipelines; it serves none.", "Call SageMaker's API from the last step."),
}
"""Settings of components that a stack here does not have, or that are not a pipeline's."""


class DockerSettings(_Settings):
    """Settings of the image, by ZenML's names."""

    fields = (*_IMAGE, *_VARIABLES, *_NO_EFFECT, *_REFUSED, "replicate_local_python_environment")


class SagemakerOrchestratorSettings(_Settings):
    """Settings of the job, by ZenML's names or Clary's (``docs/reference/job-settings.md``)."""

    fields = (
        "synchronous",
        "instance_type",
        "execution_role",
        "volume_size_in_gb",
        "max_runtime_in_seconds",
        "tags",
        "pipeline_tags",
        "keep_alive_period_in_seconds",
        "use_training_step",
        "processor_args",
        "estimator_args",
        "environment",
        "input_data_s3_mode",
        "input_data_s3_uri",
        "output_data_s3_mode",
        "output_data_s3_uri",
    )


class ResourceSettings(_Settings):
    """What a machine needs at least: ``cpu_count``, ``gpu_count``, ``memory`` (``"16GB"``)."""

    fields = ("cpu_count", "gpu_count", "memory")

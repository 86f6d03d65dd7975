"""Options of ``@step`` and ``@pipeline``: what they become here, and what is refused with the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from clary.engine.retry import NONE, Retries, retries_from
from clary.errors import UsageError, nearest
from clary.image import Image


@dataclass(frozen=True)
class StepRetryConfig:
    """How often a step is tried again; each pause is ``backoff`` times the one before."""

    max_retries: int = 1
    delay: float = 0
    """Seconds before the second try."""
    backoff: float = 1


class DockerSettings(dict[str, Any]):
    """Settings of the image, by ZenML's names."""


class SagemakerOrchestratorSettings(dict[str, Any]):
    """Settings of the job, by ZenML's names or Clary's (``docs/reference/job-settings.md``)."""


def retries_of(given: Any) -> Retries:
    """Return the policy for ``retry=``: a ``StepRetryConfig``, a mapping of its fields, or None."""
    if given is None:
        return NONE
    if isinstance(given, Mapping):
        given = StepRetryConfig(**given)
    # ZenML's 0, its default, would take the pause away after the first retry
    return retries_from(Retries(count=given.max_retries, delay=given.delay, backoff=given.backoff or 1))


def job_settings(given: Mapping[str, Any] | None) -> tuple[str | Image | None, dict[str, Any]]:
    """Return the image and the job's settings that ``settings=`` names.

    Raises UsageError ``zenml.bad_settings``, ``zenml.not_available``.
    """
    image: str | Image | None = None
    found: dict[str, Any] = {}
    for key, value in (given or {}).items():
        name = key.replace(":", ".").partition(".")[0]
        if name == "orchestrator":
            found |= _plain(value)
        elif name == "docker":
            image, environment = _docker(_plain(value))
            found.setdefault("environment", {}).update(environment)
        elif name == "resources":
            refuse("settings[resources]", "SageMaker has types of machines.", 'Name one: {"instance_type": "ml.…"}.')
        else:
            raise _bad_settings(key)
    return image, {name: value for name, value in found.items() if value != {}}


def _bad_settings(key: str) -> UsageError:
    meant = nearest(key, ("orchestrator", "docker", "resources"))
    return UsageError(
        "zenml.bad_settings",
        f"There are no settings {key!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else "The keys are “orchestrator” and “docker”.",
        field="settings",
    )


def refuse(what: str, reason: str, next_step: str) -> NoReturn:
    """Refuse what has no place: raises UsageError ``zenml.not_available``."""
    raise UsageError("zenml.not_available", f"{what} is not available here: {reason}", next_step=next_step)


def refuse_options(what: str, given: Mapping[str, Any]) -> None:
    """Refuse options that have no place, and unknown ones: UsageError ``zenml.not_available``, ``zenml.bad_option``."""
    from clary.zenml.missing import NO_EFFECT, OPTIONS

    for name, value in given.items():
        if name in NO_EFFECT or (name in OPTIONS and value in (None, {}, [])):
            continue
        if name in OPTIONS:
            refuse(f"{what}({name}=)", *OPTIONS[name])
        meant = nearest(name, [*OPTIONS, *NO_EFFECT, "name", "enable_cache", "retry", "settings", "runtime", "dynamic"])
        raise UsageError(
            "zenml.bad_option",
            f"{what} has no option {name!r}.",
            next_step=f"Did you mean {meant!r}?" if meant else "docs/how-to/migrate-from-zenml.md lists them.",
            field=name,
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
    "build_config": ("the builder is an image's.", "Write `image=Image(builder=…)` in Clary's own @flow."),
}

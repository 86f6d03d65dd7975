"""Docker's program: what it is told of sign-ins, what it says of failures, and how a builder is opened."""

from __future__ import annotations

import base64
import json
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary.errors import ClaryError
from clary.images.builders import docker, kaniko, running
from clary.images.builders.kaniko.refusals import Refusal
from clary.images.builders.kaniko.settings import EXECUTOR, Settings
from clary.images.builders.sign_in import configured
from clary.images.builders.uv import uv_for
from clary.images.building import Python, Quiet
from clary.images.platforms import Platform
from clary.images.registry.auth import Login
from clary.images.registry.registries import Registries
from clary.images.site import Site
from clary.objects import open_store
from clary.secrets.redaction import hidden


class Told(Quiet):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, text: str) -> None:
        self.lines.append(text)


class TestConfiguration:
    """The configuration of one build."""

    def written(self, tmp_path: Path, own: dict[str, Any] | str, logins: dict[str, Login]) -> dict[str, Any]:
        home, folder = tmp_path / "own", tmp_path / "ours"
        home.mkdir()
        folder.mkdir(mode=0o700)
        before = own if isinstance(own, str) else json.dumps(own)
        (home / "config.json").write_text(before)
        (home / "contexts").mkdir()
        (home / "cli-plugins").mkdir()
        said = configured(folder, logins, {"DOCKER_CONFIG": str(home)})
        assert said == {"DOCKER_CONFIG": str(folder), "BUILDX_CONFIG": str(home / "buildx")}
        assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
        assert (folder / "contexts").resolve() == home / "contexts"
        assert (folder / "cli-plugins").resolve() == home / "cli-plugins"
        assert (home / "config.json").read_text() == before
        found: dict[str, Any] = json.loads((folder / "config.json").read_text())
        return found

    def test_our_sign_in_is_written_and_the_users_is_kept(self, tmp_path: Path) -> None:
        own = {
            "auths": {"theirs.example": {"auth": "eDp5"}, "ours.example": {"auth": "b2xk"}},
            "credHelpers": {"gcr.io": "gcloud", "ours.example": "ecr-login"},
            "currentContext": "desktop",
        }
        found = self.written(tmp_path, own, {"ours.example": Login("AWS", "pass:word")})
        assert found["auths"]["theirs.example"] == {"auth": "eDp5"}
        assert base64.b64decode(found["auths"]["ours.example"]["auth"]) == b"AWS:pass:word"
        assert found["credHelpers"] == {"gcr.io": "gcloud"}
        assert found["currentContext"] == "desktop"

    def test_a_store_of_passwords_is_only_read(self, tmp_path: Path) -> None:
        own = {"credsStore": "osxkeychain", "auths": {"theirs.example": {}, "ours.example": {}}}
        found = self.written(tmp_path, own, {"ours.example": Login("AWS", "x")})
        assert "credsStore" not in found
        assert found["credHelpers"] == {"theirs.example": "osxkeychain"}

    def test_docker_hub_has_its_old_name(self, tmp_path: Path) -> None:
        found = self.written(tmp_path, {}, {"registry-1.docker.io": Login("me", "x")})
        assert list(found["auths"]) == ["https://index.docker.io/v1/"]

    @pytest.mark.parametrize("broken", ["", "[]", "{"])
    def test_a_broken_one_is_passed_over(self, tmp_path: Path, broken: str) -> None:
        assert self.written(tmp_path, broken, {"a.example": Login("me", "x")})["auths"]


class TestRunning:
    """A program that says something, and ends."""

    def test_lines_are_told_as_they_come_and_masked(self) -> None:
        code = "import sys; print('\\x1b[31mred\\x1b[0m\\na s3cretvalue'); sys.exit(3)"
        told = Told()
        with hidden(["s3cretvalue"]):
            ended = running.run([sys.executable, "-c", code], {}, told)
        assert (ended.code, ended.lines, told.lines) == (3, ["red", "a ***"], ["  red", "  a ***"])

    def test_a_program_is_ended_when_whoever_listens_gives_up(self, tmp_path: Path) -> None:
        class GivesUp(Quiet):
            def stage(self, text: str) -> None:
                raise KeyboardInterrupt

        pid = tmp_path / "pid"
        code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); print(1, flush=True); time.sleep(60)"
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            running.run([sys.executable, "-c", code], {}, GivesUp())
        assert time.monotonic() - began < 30
        assert not Path(f"/proc/{pid.read_text()}").exists()

    def test_buildkits_noise_is_left_out_of_errors(self) -> None:
        lines = [
            "#1 [internal] load build definition",
            "#1 DONE 0.0s",
            "#7 [2/2] RUN make",
            "#6 0.100 another step",
            "#7 0.321 make: no such file",
            "#7 ERROR: executor failed",
            "------",
            " > [2/2] RUN make:",
            "------",
            "executor failed running [/bin/sh -c make]: exit code: 1",
        ]
        assert running.useful(lines).splitlines() == ["make: no such file", lines[-1]]

    def test_a_failure_before_any_step_shows_the_programs_words(self) -> None:
        assert running.useful(["#1 DONE 0.0s", "ERROR: not found"]) == "ERROR: not found"
        assert running.useful(["#1 ERROR: x"]) == "#1 ERROR: x"
        assert running.useful([]) == ""
        long = f"ERROR: executor failed running [/bin/sh -c {'x' * 999}]: exit code: 127"
        assert running.useful([long]).startswith("ERROR: executor failed")
        assert running.useful([long]).endswith("exit code: 127")
        assert len(running.useful([long])) < 310
        assert len(running.useful(["#1 0.1 " + "x" * 9999] * 99).splitlines()) < 20


@pytest.mark.parametrize(
    ("said", "pushing", "code"),
    [
        ("denied: requested access to the resource is denied", True, "image.push_denied"),
        ("no basic auth credentials", True, "image.push_denied"),
        ("ERROR: failed to push x: unexpected status: 403 Forbidden", False, "image.push_denied"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", True, "image.push_failed"),
        ("standard_init_linux.go:228: exec user process caused: exec format error", False, "image.foreign_platform"),
        ("E: Unable to locate package nothing", False, "image.build_failed"),
        ("pull access denied for x, repository does not exist", False, "image.build_failed"),
    ],
)
def test_what_the_engine_says_of_a_failure_is_understood(said: str, pushing: bool, code: str) -> None:
    error = docker._failed([said], pushing=pushing)
    assert error.code == code
    assert said in error.summary
    assert error.details["output"] == said


class TestUv:
    """The uv that travels in a context."""

    def test_this_environments_is_taken_where_it_runs(self, tmp_path: Path) -> None:
        found = uv_for(Python("3.12", "/usr/bin/python3"), tmp_path)
        assert found.name == "uv"
        assert not list(tmp_path.iterdir()), "nothing was fetched"

    def test_another_platforms_that_cannot_be_had_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UV_OFFLINE", "1")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        with pytest.raises(ClaryError) as caught:
            uv_for(Python("3.12", "/usr/bin/python3", platform=Platform("arm64")), tmp_path / "uv")
        assert caught.value.code == "image.uv_unavailable"
        assert "aarch64-manylinux_2_28" in caught.value.summary


class TestOpened:
    """Builders with a stack's options."""

    def site(self, tmp_path: Path, **changes: Any) -> Site:
        return replace(Site(Registries(), tmp_path, region="eu-west-1"), **changes)

    def test_docker_takes_its_own_options_alone(self, tmp_path: Path) -> None:
        options = {"flavor": "docker", "network": "host", "buildx_builder": "mine"}
        made = docker.opened(self.site(tmp_path, builder=options, environment={"A": "1"}))
        assert (made.network, made.buildx_builder, made.environment) == ("host", "mine", {"A": "1"})
        assert docker.opened(self.site(tmp_path, builder={"flavor": "kaniko", "network": "x"})).network is None

    def test_kaniko_puts_contexts_beside_the_artifacts(self, tmp_path: Path) -> None:
        store = open_store("s3://bucket/prefix", region="eu-west-1")
        options = {"flavor": "kaniko", "executor_image": "a/b:c"}
        made = kaniko.opened(self.site(tmp_path, builder=options, store=lambda: store))
        assert made.settings == Settings(executor_image="a/b:c")
        assert made.contexts.url(made.folder) == "s3://bucket/prefix/build-context-store"
        assert made.environment == {"AWS_REGION": "eu-west-1"}

    def test_kaniko_puts_contexts_where_it_is_told(self, tmp_path: Path) -> None:
        options = {"flavor": "kaniko", "build_context_store": "s3://other/contexts/"}
        made = kaniko.opened(self.site(tmp_path, builder=options))
        assert (made.contexts.root, made.folder) == ("s3://other/contexts", "")
        assert made.settings.executor_image == EXECUTOR

    def test_a_folder_is_no_place_for_contexts(self, tmp_path: Path) -> None:
        with pytest.raises(ClaryError) as caught:
            kaniko.opened(self.site(tmp_path, store=lambda: open_store(str(tmp_path))))
        assert caught.value.code == "image.no_context_store"


@pytest.mark.parametrize(
    ("body", "headers", "said", "wait"),
    [
        ('{"message": "jobs is forbidden"}', {"Retry-After": "3"}, "jobs is forbidden", 3.0),
        ("<html> a  proxy's page", {"retry-after": "9999"}, "<html> a proxy's page", 30.0),
        ("", {"Retry-After": "soon"}, "status 418", None),
        ("[]", {}, "[]", None),
    ],
)
def test_an_answer_of_the_cluster_is_read(body: str, headers: dict[str, str], said: str, wait: float | None) -> None:
    refusal = Refusal(418, body, headers)
    assert (refusal.said, refusal.wait) == (said, wait)

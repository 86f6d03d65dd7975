"""Builds in a cluster: against an API server on loopback, S3, and a real registry. The executor itself is played."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from clary.errors import ClaryError, Retry
from clary.image import Image
from clary.images import oci
from clary.images.builders.kaniko import access, manifests
from clary.images.builders.kaniko.builder import Kaniko
from clary.images.builders.kaniko.settings import Settings
from clary.images.building import Order, Python
from clary.images.reference import Reference
from clary.images.registry.blobs import Bytes
from clary.images.registry.registries import Registries
from kubernetes_stub import Stub, kubeconfig, kubernetes_on_loopback, waits_for_ever
from patience import until
from registry_server import PROGRAM, docker_registry
from s3_proxy import s3_on_loopback

if TYPE_CHECKING:
    from clary.objects import ObjectStore

BASE = Reference("registry.example", "python", "3.12", "sha256:" + "b" * 64)
LOCK = b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n'
SECRET = "a-most-secret-value"


class Told:
    """Keeps what a build tells; calls ``at`` with each line."""

    def __init__(self, at: Callable[[str], None] = lambda _text: None) -> None:
        self.lines: list[str] = []
        self._at = at

    def stage(self, text: str) -> None:
        self.lines.append(text)
        self._at(text)

    def transfer(self, name: str, done: int, total: int) -> None:
        pass


@dataclass
class Place:
    """Where a test builds."""

    stub: Stub
    store: ObjectStore
    registry: str
    folder: Path
    told: Told = field(default_factory=Told)
    pauses: list[float] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)
    secrets: dict[str, str] = field(default_factory=dict)
    lock: bytes = b""
    """Packages put uv into the context, which takes a second."""

    def order(self) -> Order:
        """Return what is built."""
        target = Reference(self.registry, f"team/{self.folder.name}".lower(), "clary-0123")
        image = Image(secrets=dict.fromkeys(self.secrets, "{{secrets.a.b}}"))
        python = Python("3.12", "/usr/local/bin/python3")
        return Order(image, self.folder, BASE, target, python, lock=self.lock, labels={"a": "b"}, secrets=self.secrets)

    def build(self) -> Any:
        """Build with Kaniko."""
        config = kubeconfig(self.stub, self.folder)
        with Registries() as registries:
            settings = replace(self.settings, kubeconfig=str(config))
            kaniko = Kaniko(settings, self.store, "contexts", registries, self.folder / "images", pause=self._pause)
            return kaniko.build(self.order(), self.told)

    def left(self) -> tuple[list[str], list[str], list[str]]:
        """Return what is left: Jobs, Secrets, contexts."""
        return [*self.stub.objects["jobs"]], [*self.stub.objects["secrets"]], [*self.store.keys("contexts")]

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def stores() -> Iterator[Callable[[], ObjectStore]]:
    with s3_on_loopback() as s3:
        yield s3.store


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    with docker_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server.host


@pytest.fixture
def place(stores: Callable[[], ObjectStore], registry: str, tmp_path: Path) -> Iterator[Place]:
    with kubernetes_on_loopback() as stub:
        stub.play = pushes
        yield Place(stub, stores(), registry, tmp_path)


def arguments(stub: Stub, pod: str, name: str) -> list[str]:
    given = stub.objects["pods"][pod]["spec"]["containers"][0]["args"]
    return [word.partition("=")[2] for word in given if word.startswith(f"--{name}=")]


def push(stub: Stub, pod: str) -> str:
    """Push an empty image to where the executor is told, and return its digest."""
    (destination,) = arguments(stub, pod, "destination")
    target = Reference.parse(destination)
    config = oci.canonical({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    manifest = oci.manifest_of(config, [])
    with Registries() as registries:
        client = registries.open(target)
        client.push_blob(target.repository, Bytes(config))
        return client.put_manifest(target.repository, target.pointer, manifest, oci.DOCKER_MANIFEST)


def pushes(stub: Stub, pod: str) -> None:
    """Do what the executor does."""
    stub.run(pod)
    stub.say(pod, "INFO Retrieving image manifest", f"INFO with {SECRET}", "INFO Pushed")
    stub.end(pod, 0, push(stub, pod))


def pushes_when_followed(stub: Stub, pod: str) -> None:
    """Do what the executor does, once somebody looks."""
    stub.await_request("list", "pods")
    pushes(stub, pod)


def test_an_image_is_built_and_nothing_is_left(place: Place) -> None:
    context: dict[str, bytes] = {}

    def reads_the_context(stub: Stub, pod: str) -> None:
        (url,) = arguments(stub, pod, "context")
        data = place.store.get(url.removeprefix(f"{place.store.root}/"))
        assert data is not None
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            context.update({one.name: tar.extractfile(one).read() for one in tar if one.isreg()})  # type: ignore[union-attr]
        pushes(stub, pod)

    place.stub.play = reads_the_context
    place.stub.rules = manifests.rbac("builds")["rules"]
    place.secrets, place.lock = {"TOKEN": SECRET}, LOCK
    built = place.build()

    assert built.reference.digest == oci.digest_of(_kept(place, built.reference))
    assert built.size > 0
    assert context["packages/pylock.toml"] == LOCK
    assert b"RUN" in context["Dockerfile"]
    assert b"--mount" not in context["Dockerfile"]
    assert [line for line in place.told.lines if "INFO" in line] == [
        "INFO Retrieving image manifest",
        "INFO with ***",
        "INFO Pushed",
    ]
    jobs, secrets, contexts = place.left()
    assert (len(jobs), secrets, contexts) == (1, [], [])
    assert jobs[0].startswith("clary-image-"), "it stays for its ttlSecondsAfterFinished"
    sent = {one["kind"]: one for one in place.stub.made}
    assert sent["Secret"]["stringData"] == {"TOKEN": SECRET}
    assert SECRET not in json.dumps(sent["Job"])


def _kept(place: Place, reference: Reference) -> bytes:
    with Registries() as registries:
        found = registries.open(reference).manifest(reference.repository, reference.pointer)
    assert found is not None
    return found.data


def test_the_role_allows_what_is_asked_and_nothing_else(place: Place) -> None:
    place.stub.rules = manifests.rbac("builds")["rules"]
    place.secrets = {"TOKEN": SECRET}
    place.build()
    asked = set(place.stub.asked)
    place.stub.asked.clear()

    def fails(stub: Stub, pod: str) -> None:
        stub.await_request("watch", "pods")
        stub.run(pod)
        stub.await_request("get", "pods/log")
        stub.end(pod, 1)

    place.stub.play = fails
    with pytest.raises(ClaryError):
        place.build()
    asked |= set(place.stub.asked)
    allowed = {(verb, rule["resources"][0]) for rule in place.stub.rules for verb in rule["verbs"]}
    assert asked == allowed
    assert ("create", "secrets") in asked

    place.stub.asked.clear()
    place.stub.rules = manifests.rbac("builds", secrets=False)["rules"]
    place.secrets = {}
    place.stub.play = pushes
    place.build()
    assert not any(resource == "secrets" for _, resource in place.stub.asked)


def says_and(end: Callable[[Stub, str], None]) -> Callable[[Stub, str], None]:
    def play(stub: Stub, pod: str) -> None:
        stub.run(pod)
        stub.say(pod, "INFO step one", "error: no such package")
        stub.await_request("get", "pods/log")
        end(stub, pod)

    return play


@pytest.mark.parametrize(
    ("play", "code", "shown"),
    [
        (says_and(lambda stub, pod: stub.end(pod, 1)), "image.build_failed", "no such package"),
        (says_and(lambda stub, pod: stub.end(pod, 137, reason="OOMKilled")), "image.build_out_of_memory", "memory"),
        (says_and(lambda stub, pod: stub.end(pod, 1, evicted="low on disk")), "image.build_evicted", "low on disk"),
        (says_and(lambda stub, pod: stub.expire(pod)), "image.build_timed_out", "3600 seconds"),
        (says_and(lambda stub, pod: stub.remove("pods", pod)), "image.build_vanished", "deleted"),
        (
            lambda stub, pod: stub.hold(pod, "ImagePullBackOff", "manifest unknown"),
            "image.executor_unavailable",
            "unknown",
        ),
        (lambda stub, pod: stub.hold(pod, "CreateContainerConfigError", "no key"), "image.build_not_started", "no key"),
    ],
)
def test_a_failure_is_told_and_cleaned_up(
    place: Place, play: Callable[[Stub, str], None], code: str, shown: str
) -> None:
    place.stub.play = play
    if code == "image.build_vanished":  # the Job's controller sees that its pod is gone

        def and_fails(stub: Stub, pod: str) -> None:
            name = stub.objects["pods"][pod]["metadata"]["labels"]["job-name"]
            play(stub, pod)
            stub._end(name, "Failed", "BackoffLimitExceeded")

        place.stub.play = and_fails
    place.secrets = {"TOKEN": SECRET}
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == code
    assert shown in caught.value.summary
    assert caught.value.next_step
    assert place.left() == ([], [], [])


def test_a_build_without_a_node_says_what_it_waits_for(place: Place) -> None:
    def waits(stub: Stub, pod: str) -> None:
        stub.schedule(pod, "Unschedulable", "0/3 nodes are available")
        stub.await_request("watch", "pods")
        stub.expire(pod)

    place.stub.play = waits
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == "image.build_unscheduled"
    assert "0/3 nodes" in caught.value.summary
    assert "waiting: Unschedulable: 0/3 nodes are available" in place.told.lines


@pytest.mark.parametrize(
    ("faults", "pauses"),
    [
        ({("create", "jobs"): [429]}, [1.0]),
        ({("create", "jobs"): [500, 503]}, [0.2, 0.5]),
        ({("create", "jobs"): ["lose"]}, [0.2]),
        ({("create", "secrets"): ["lose"]}, [0.2]),
        ({("get", "jobs"): ["drop"]}, [0.2]),
        ({("list", "pods"): ["drop", 500]}, [0.2, 0.5]),
        ({("watch", "pods"): ["cut", "drop", 410]}, None),
        ({("get", "pods/log"): [500, "drop"]}, None),
        ({("delete", "secrets"): [500, "lose"]}, [0.2, 0.5]),
    ],
    ids=str,
)
def test_passing_faults_do_no_harm(
    place: Place, faults: dict[tuple[str, str], list[int | str]], pauses: list[float] | None
) -> None:
    def fault(verb: str, resource: str, number: int) -> int | str | None:
        listed = faults.get((verb, resource), [])
        return listed[number] if number < len(listed) else None

    place.stub.fault = fault
    place.secrets = {"TOKEN": SECRET}
    built = place.build()
    assert built.reference.digest
    assert [one["kind"] for one in place.stub.made] == ["Job", "Secret"]
    assert place.left()[1:] == ([], [])
    if pauses is not None:
        assert place.pauses == pauses


def test_a_log_that_breaks_off_is_told_once(place: Place) -> None:
    place.stub.fault = lambda verb, resource, number: (
        "cut" if (verb, resource) == ("get", "pods/log") and number < 3 else None
    )

    def talks(stub: Stub, pod: str) -> None:
        stub.run(pod)
        for number in range(6):
            stub.say(pod, f"INFO {number}")
            if number < 3:
                while stub.asked.count(("get", "pods/log")) <= number:
                    stub.run(pod)  # a change, which makes the follower look again
                    time.sleep(0.01)
        stub.end(pod, 0, push(stub, pod))

    place.stub.play = talks
    place.build()
    assert [line for line in place.told.lines if line.startswith("INFO")] == [f"INFO {number}" for number in range(6)]
    assert place.stub.asked.count(("get", "pods/log")) >= 4


def test_a_cluster_that_stays_ill_is_given_up(place: Place) -> None:
    place.stub.fault = lambda verb, resource, number: 503 if (verb, resource) == ("list", "pods") else None
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert (caught.value.code, caught.value.retry) == ("image.cluster_unavailable", Retry.LATER)
    assert place.left() == ([], [], [])


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "image.cluster_unauthorized"),
        (403, "image.cluster_denied"),
        (404, "image.no_namespace"),
        (422, "image.cluster_refused"),
    ],
)
def test_a_refusal_is_told(place: Place, status: int, code: str) -> None:
    place.stub.fault = lambda verb, resource, number: status if (verb, resource) == ("create", "jobs") else None
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == code
    assert "builds" in caught.value.summary or status == 401
    assert place.left() == ([], [], [])


def test_no_rights_for_the_log_are_told(place: Place) -> None:
    rules = manifests.rbac("builds")["rules"]
    place.stub.rules = [rule for rule in rules if rule["resources"] != ["pods/log"]]
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == "image.cluster_denied"
    assert "pods/log" in caught.value.summary
    assert place.left() == ([], [], [])


def test_ctrl_c_takes_the_job_away(place: Place) -> None:
    def interrupts(text: str) -> None:
        if text == "INFO working":
            raise KeyboardInterrupt

    def works(stub: Stub, pod: str) -> None:
        stub.run(pod)
        stub.say(pod, "INFO working")

    place.told = Told(interrupts)
    place.stub.play = works
    place.secrets = {"TOKEN": SECRET}
    with pytest.raises(KeyboardInterrupt):
        place.build()
    assert place.left() == ([], [], [])
    assert not place.stub.objects["pods"]


def test_a_clean_up_that_fails_hides_nothing(place: Place) -> None:
    place.stub.play = lambda stub, pod: stub.end(pod, 1)
    place.stub.fault = lambda verb, resource, number: 403 if verb == "delete" else None
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == "image.build_failed"
    assert any(line.startswith("could not delete the Job") for line in place.told.lines)


def test_an_image_that_was_not_pushed_is_not_believed(place: Place) -> None:
    place.stub.play = lambda stub, pod: stub.end(pod, 0, "sha256:" + "9" * 64)
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == "image.not_pushed"


def job_of(place: Place, **status: Any) -> dict[str, Any]:
    """Return the Job that somebody else has made for the same image."""
    task = manifests.Task(
        target=str(place.order().target),
        context="s3://bucket/x",
        dockerfile="Dockerfile",
        platform="linux/amd64",
        labels={},
        arguments={},
        environment={},
    )
    return {**manifests.job(place.settings, "builds", task), **status}


def test_a_build_that_is_under_way_is_joined(place: Place) -> None:
    place.stub.play = pushes_when_followed
    place.stub.create("jobs", "builds", job_of(place))
    built = place.build()
    assert built.reference.digest
    assert len(place.stub.made) == 1, "no second Job"
    assert any("builds this image already" in line for line in place.told.lines)
    assert "INFO Pushed" in place.told.lines


def test_leaving_somebody_elses_build_leaves_it_running(place: Place) -> None:
    def interrupts(text: str) -> None:
        raise KeyboardInterrupt

    place.stub.play = waits_for_ever
    place.stub.create("jobs", "builds", job_of(place))
    place.told = Told(interrupts)
    with pytest.raises(KeyboardInterrupt):
        place.build()
    assert len(place.stub.objects["jobs"]) == 1


def test_two_at_once_make_one_job(place: Place) -> None:
    place.stub.play = pushes_when_followed
    made: list[Any] = []

    def fault(verb: str, resource: str, number: int) -> None:
        if (verb, resource) == ("create", "jobs") and not made:  # just then, somebody else is quicker
            made.append(place.stub.create("jobs", "builds", job_of(place)))

    place.stub.fault = fault
    assert place.build().reference.digest
    assert len(place.stub.made) == 1
    assert place.left()[2] == [], "the context of the Job that was not made"


def test_a_job_that_has_ended_is_replaced(place: Place) -> None:
    place.stub.play = lambda stub, pod: stub.end(pod, 1)
    place.stub.create("jobs", "builds", job_of(place))
    name = job_of(place)["metadata"]["name"]
    until(lambda: "status" in place.stub.objects["jobs"][name], "the end of the Job")
    place.stub.play = pushes
    place.stub.lingers = True
    looks = []

    def fault(verb: str, resource: str, number: int) -> None:
        if (verb, resource) == ("get", "jobs"):
            looks.append(number)
            if len(looks) == 4:
                place.stub.let_go()

    place.stub.fault = fault
    assert place.build().reference.digest
    assert len(looks) >= 4
    assert len(place.stub.made) == 2


def test_a_job_of_somebody_elses_is_not_touched(place: Place) -> None:
    foreign = job_of(place)
    del foreign["metadata"]["labels"][manifests.TARGET_LABEL]
    place.stub.create("jobs", "builds", foreign)
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == "image.job_name_taken"
    assert foreign["metadata"]["name"] in caught.value.summary
    assert len(place.stub.objects["jobs"]) == 1


def test_a_job_that_makes_no_pod_is_given_up(place: Place) -> None:
    place.stub.makes_pods = False
    place.settings = Settings(build_timeout=0)
    seen = []

    def at(text: str) -> None:
        seen.append(text)
        if "to make a pod" in text:
            place.stub._end(next(iter(place.stub.objects["jobs"])), "Failed", "DeadlineExceeded")
            place.stub.say("nobody", "a change")

    place.told = Told(at)
    place.stub.fault = lambda verb, resource, number: 500 if verb == "watch" else None
    with pytest.raises(ClaryError) as caught:
        place.build()
    assert caught.value.code == "image.build_unscheduled"
    assert "quota" in caught.value.next_step


class TestAccess:
    """The way to the cluster."""

    def test_without_the_client_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "kubernetes", None)
        with pytest.raises(ClaryError) as caught:
            access.open_cluster(Settings())
        assert caught.value.code == "image.kaniko_missing"
        assert "clary[kaniko]" in caught.value.next_step

    def test_the_contexts_namespace_is_taken(self, place: Place) -> None:
        config = str(kubeconfig(place.stub, place.folder))
        spoken = [
            access.open_cluster(
                Settings(kubeconfig=config, kubernetes_context=context, kubernetes_namespace=said)
            ).namespace
            for context, said in ((None, None), ("other", None), ("stub", "mine"))
        ]
        assert spoken == ["builds", "default", "mine"]

    def test_a_misspelt_context_gets_the_nearest(self, place: Place) -> None:
        config = str(kubeconfig(place.stub, place.folder))
        with pytest.raises(ClaryError) as caught:
            access.open_cluster(Settings(kubeconfig=config, kubernetes_context="stubb"))
        assert caught.value.code == "image.no_cluster"
        assert "'stub'" in caught.value.next_step

    def test_without_a_kubeconfig_that_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ClaryError) as caught:
            access.open_cluster(Settings(kubeconfig=str(tmp_path / "none")))
        assert caught.value.code == "image.no_cluster"

    def test_a_cluster_that_does_not_answer_is_told(self, place: Place) -> None:
        place.stub.port = 1
        with pytest.raises(ClaryError) as caught:
            place.build()
        assert (caught.value.code, caught.value.retry) == ("image.cluster_unreachable", Retry.LATER)


class TestWithKubectl:
    """The API server of these tests is one that Kubernetes' own program takes for real."""

    @pytest.fixture
    def kubectl(self, place: Place) -> Callable[..., str]:
        if shutil.which("kubectl") is None:
            pytest.skip("needs Debian's kubernetes-client")
        config = kubeconfig(place.stub, place.folder)

        def run(*words: str) -> str:
            command = ["kubectl", "--kubeconfig", str(config), *words]
            home = {"HOME": str(place.folder), "PATH": "/usr/bin:/bin"}
            done = subprocess.run(command, env=home, capture_output=True, text=True, check=False, timeout=30)
            assert done.returncode == 0, done.stderr
            return done.stdout

        return run

    def test_it_makes_the_job_reads_its_log_and_deletes_it(self, place: Place, kubectl: Callable[..., str]) -> None:
        job = job_of(place)
        name = job["metadata"]["name"]
        file = place.folder / "job.yaml"
        file.write_text(yaml.safe_dump(job))
        assert f"job.batch/{name} created" in kubectl("apply", "--validate=false", "-f", str(file))
        (listed,) = json.loads(kubectl("get", "jobs", "-o", "json"))["items"]
        assert listed["spec"]["activeDeadlineSeconds"] == 3600
        (pod,) = json.loads(kubectl("get", "pods", "-l", f"job-name={name}", "-o", "json"))["items"]
        said = kubectl("logs", "-f", pod["metadata"]["name"], "--pod-running-timeout=10s")
        assert said.splitlines()[0] == "INFO Retrieving image manifest"
        kubectl("delete", "job", name)
        assert place.left()[0] == []
        assert json.loads(kubectl("get", "pods", "-o", "json"))["items"] == []

    def test_it_sees_what_a_build_leaves(self, place: Place, kubectl: Callable[..., str]) -> None:
        place.build()
        (job,) = json.loads(kubectl("get", "jobs", "-o", "json"))["items"]
        assert job["status"]["conditions"][0]["type"] == "Complete"
        assert job["metadata"]["annotations"]["clary/build"]

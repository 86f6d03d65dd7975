"""Jobs whose images come out of the registry, and images that are built on the sandbox's own."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from clary.ids import new_id
from integration.sandbox.conftest import make_processing_request, make_training_request
from oci_images import DOCKER_MANIFEST, Client, Layer, config, digest_of, entry, index, layer, manifest, password
from patience import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.testing import Sandbox

pytestmark = pytest.mark.namespaces
_TERMINAL = ("Completed", "Failed", "Stopped")
_OWN = "clary-sandbox/python"
_MAIN = """
import json, os, pwd, sys
print(json.dumps({
    "argv": sys.argv[1:], "cwd": os.getcwd(), "ids": [os.getuid(), os.getgid()], "home": os.environ["HOME"],
    "greeting": os.environ.get("GREETING"), "data": sorted(os.listdir("/data")), "prefix": sys.prefix,
    "input": os.path.exists("/opt/ml/input/config/hyperparameters.json"), "hidden": os.path.exists("/opt/ml/hidden"),
}))
"""


@pytest.fixture(scope="module")
def real(clary_sandbox: Sandbox) -> Sandbox:
    return clary_sandbox


@pytest.fixture(scope="module")
def one_user(real: Sandbox) -> bool:
    """Whether containers here know one user only, so that an image's USER cannot be taken."""
    return any("Only one user exists" in line for line in real.status()["not_honoured"])


@pytest.fixture(scope="module")
def client(real: Sandbox) -> Iterator[Client]:
    made = Client(real.endpoint, password(real.client("ecr")))
    yield made
    made.close()


class Base:
    """The sandbox's own image as its registry has it."""

    def __init__(self, client: Client, running: Sandbox) -> None:
        tag = running.image.rpartition(":")[2]
        body = client.ask("GET", f"/v2/{_OWN}/manifests/{tag}").data
        self.digest = digest_of(body)
        self.document = json.loads(body)
        self.config = json.loads(client.pull_blob(_OWN, self.document["config"]["digest"]))
        self.blobs = {one["digest"]: client.pull_blob(_OWN, one["digest"]) for one in self.document["layers"]}


@pytest.fixture(scope="module")
def base(client: Client, real: Sandbox) -> Base:
    return Base(client, real)


@pytest.fixture(scope="module")
def derived(client: Client, real: Sandbox, base: Base) -> str:
    """The repository of an image that was built on the sandbox's own."""
    real.client("ecr").create_repository(repositoryName="derived")
    for blob in base.blobs.values():
        client.push_blob("derived", blob)
    return "derived"


def build(client: Client, base: Base, repository: str, tag: str, *layers: Layer, **container: Any) -> str:
    """Push the base with more layers and another configuration; returns the digest."""
    said = {**base.config, "config": {**base.config["config"], **container}}
    said["rootfs"] = {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], *(o.diff_id for o in layers)]}
    data = json.dumps(said).encode()
    document = {**base.document, "config": {**base.document["config"], "digest": digest_of(data), "size": len(data)}}
    for blob in (data, *(one.data for one in layers)):
        client.push_blob(repository, blob)
    added = [{"mediaType": one.media_type, "digest": one.digest, "size": len(one.data)} for one in layers]
    document["layers"] = [*base.document["layers"], *added]
    return client.push_manifest(repository, tag, json.dumps(document).encode())


def image(running: Sandbox, name: str, *, account: str | None = None) -> str:
    return f"{account or running.account}.dkr.ecr.{running.region}.amazonaws.com/{name}"


def train(running: Sandbox, uri: str, *, role: str | None = None, **algorithm: Any) -> tuple[dict[str, Any], list[str]]:
    """Run a training job; return its description and its output."""
    name, sagemaker = f"job-{new_id().lower()}", running.client("sagemaker")
    specification = {"TrainingImage": uri, "TrainingInputMode": "File", **algorithm}
    request = make_training_request(running, name, AlgorithmSpecification=specification, HyperParameters={"a": "1"})
    sagemaker.create_training_job(**{**request, **({} if role is None else {"RoleArn": role})})
    return trained(sagemaker, name), output(running, "/aws/sagemaker/TrainingJobs", name)


def trained(sagemaker: Any, name: str) -> dict[str, Any]:
    """Return what a training job has come to."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
        return found if found["TrainingJobStatus"] in _TERMINAL else None

    return until(look, f"the end of {name}")


def output(running: Sandbox, group: str, name: str) -> list[str]:
    logs = running.client("logs")
    groups = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
    streams = (
        logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        if group in groups
        else []
    )
    events = [
        event
        for one in streams
        for event in logs.get_log_events(logGroupName=group, logStreamName=one["logStreamName"])["events"]
    ]
    return [event["message"] for event in events]


# -- the sandbox's own image


def test_its_own_image_is_one_of_layers(real: Sandbox, client: Client, base: Base) -> None:
    ecr = real.client("ecr")
    tag = real.image.rpartition(":")[2]
    (detail,) = ecr.describe_images(repositoryName=_OWN, imageIds=[{"imageTag": tag}])["imageDetails"]
    assert (detail["imageDigest"], detail["imageManifestMediaType"]) == (base.digest, DOCKER_MANIFEST)
    assert detail["imageSizeInBytes"] < 150_000_000
    assert base.config["architecture"] == "amd64"
    assert any(one.startswith("PYTHON_VERSION=3.") for one in base.config["config"]["Env"])
    names = {name for blob in base.blobs.values() for name in _names(blob)}
    assert {"opt/venv/pyvenv.cfg", "etc/passwd", "tmp"} <= names
    for wrong in ("__pycache__", "/site-packages/clary", "/test/test_", ".a", "/man/", "root/."):
        assert not [name for name in names if name.endswith(wrong) or (len(wrong) > 2 and wrong in name)]
    assert client.ask("GET", f"/v2/{_OWN}/tags/list").status == 200


def _names(blob: bytes) -> list[str]:
    import io

    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        return archive.getnames()


def test_the_same_machine_packs_the_same_image(real: Sandbox, base: Base) -> None:
    from clary.testing import sandbox

    with sandbox() as other:
        made = Base(Client(other.endpoint, password(other.client("ecr"))), other)
    assert made.digest == base.digest


# -- jobs


def test_an_image_decides_what_runs_and_how(
    real: Sandbox, client: Client, base: Base, derived: str, one_user: bool
) -> None:
    users = "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1235::/home/worker:/bin/sh\n"
    below = layer(("app/main.py", _MAIN), ("data/old", ""), ("data/kept", ""), ("etc/passwd", users))
    above = layer(("data/.wh.old", ""), ("data/new", ""), ("opt/ml/hidden", ""))
    digest = build(
        client, base, derived, "1", below, above,
        Entrypoint=["python3", "/app/main.py"], Cmd=["unused"], User="worker", WorkingDir="/srv/made/here",
        Env=[*base.config["config"]["Env"], "GREETING=hello"],
    )  # fmt: skip
    ids = [0, 0] if one_user else [1234, 1235]
    expected = {
        "argv": ["train"], "cwd": "/srv/made/here", "ids": ids, "home": "/home/worker", "greeting": "hello",
        "data": ["kept", "new"], "prefix": "/opt/venv", "input": True, "hidden": False,
    }  # fmt: skip
    for name in (f"{derived}:1", f"{derived}@{digest}"):
        found, lines = train(real, image(real, name))
        assert found["TrainingJobStatus"] == "Completed", (found.get("FailureReason"), lines)
        assert json.loads(lines[0]) == expected
    messages = [one["StatusMessage"] for one in found["SecondaryStatusTransitions"]]
    assert messages.index("Downloading the training image") < messages.index(
        "Training image download completed. Training in progress."
    )
    _, lines = train(real, image(real, f"{derived}:1"), ContainerArguments=["x", "y"])
    assert json.loads(lines[0])["argv"] == ["x", "y"]
    _, lines = train(real, image(real, f"{derived}:1"), ContainerEntrypoint=["python3", "-c", "print('mine')"])
    assert lines == ["mine"]


def test_a_processing_job_gets_no_train(real: Sandbox, client: Client, base: Base, derived: str) -> None:
    build(
        client,
        base,
        derived,
        "p",
        layer(("p.py", "import sys; print(sys.argv)")),
        Entrypoint=["python3", "/p.py"],
        Cmd=["c"],
    )
    name, sagemaker = f"job-{new_id().lower()}", real.client("sagemaker")
    request = make_processing_request(real, name, AppSpecification={"ImageUri": image(real, f"{derived}:p")})
    sagemaker.create_processing_job(**request)
    until(
        lambda: sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] in _TERMINAL,
        f"the end of {name}",
    )
    assert output(real, "/aws/sagemaker/ProcessingJobs", name) == ["['/p.py', 'c']"]


def test_links_of_an_image_cannot_touch_this_machine(
    real: Sandbox, client: Client, base: Base, derived: str, tmp_path: Any
) -> None:
    """The container's own files are written before its first process runs, by a process with more rights."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "hosts").write_text("untouched")
    links = layer(
        *(entry(name, tarfile.SYMTYPE, str(victim)) for name in ("dev", "proc", "sys")),
        entry("etc/hosts", tarfile.SYMTYPE, str(victim / "hosts")),
        entry("etc/hostname", tarfile.SYMTYPE, str(victim / "made")),
        entry("opt/ml", tarfile.SYMTYPE, "/elsewhere"),
        ("look.py", "import os; print(os.path.realpath('/opt/ml'), os.listdir('/opt/ml'), open('/dev/null').read())"),
    )
    build(client, base, derived, "links", links)
    found, lines = train(real, image(real, f"{derived}:links"), ContainerEntrypoint=["python3", "/look.py"])
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"hosts": "untouched"}
    assert found["TrainingJobStatus"] in _TERMINAL
    assert not lines or lines[0].startswith("/elsewhere")


def test_the_image_for_the_machines_is_chosen_of_a_list(
    real: Sandbox, client: Client, base: Base, derived: str
) -> None:
    build(client, base, derived, "amd", layer(("which", "amd64")))
    build(client, base, derived, "arm", layer(("which", "arm64")))
    bodies = [client.ask("GET", f"/v2/{derived}/manifests/{tag}").data for tag in ("arm", "amd")]
    client.push_manifest(derived, "all", index(("arm64", bodies[0]), ("amd64", bodies[1])))
    client.push_manifest(derived, "none", index(("arm64", bodies[0])))
    read = ["python3", "-c", "print(open('/which').read())"]
    assert train(real, image(real, f"{derived}:all"), ContainerEntrypoint=read)[1] == ["amd64"]
    found, _ = train(real, image(real, f"{derived}:none"))
    assert "no matching manifest for linux/amd64" in found["FailureReason"]


def test_a_program_of_another_machine_does_not_run(real: Sandbox, client: Client, derived: str) -> None:
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00\x01\x00\x00\x00" + bytes(40)  # for RISC-V
    client.push(derived, "riscv", layer(("train", elf), mode=0o755), architecture="riscv64", Entrypoint=["/train"])
    found, lines = train(real, image(real, f"{derived}:riscv"))
    assert (found["TrainingJobStatus"], found["FailureReason"]) == ("Failed", "AlgorithmError: , exit code: 126")
    assert "Exec format error" in lines[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("derived:missing", "has no image missing"),
        ("no/such:1", "The repository with name 'no/such' does not exist"),
        (f"derived@sha256:{'0' * 64}", "has no image sha256:000"),
    ],
)
@pytest.mark.usefixtures("derived")
def test_images_that_are_not_there(real: Sandbox, name: str, words: str) -> None:
    found, lines = train(real, image(real, name))
    assert (found["TrainingJobStatus"], lines) == ("Failed", [])
    refusal = "Cannot pull algorithm container. Either the image does not exist or its permissions are incorrect."
    assert found["FailureReason"].startswith(f"ClientError: {refusal}")
    assert words in found["FailureReason"]
    assert "TrainingStartTime" in found


def test_names_that_are_no_images_of_ecr(real: Sandbox) -> None:
    found, _ = train(real, "python:3.12")
    assert "is not the name of an image in Amazon ECR" in found["FailureReason"]


def test_images_that_are_not_what_they_say(real: Sandbox, client: Client, derived: str) -> None:
    good, other = layer(("a", "1")), layer(("a", "2"))
    for data in (good.data, other.data):
        client.push_blob(derived, data)
    zstd = Layer(b"", b"\x28\xb5\x2f\xfd" + bytes(20), "application/vnd.oci.image.layer.v1.tar+zstd")
    client.push_blob(derived, zstd.data)
    for tag, said, layers, words in (
        ("swapped", config([good]), [other], "is not what its digest or the image's configuration says"),
        ("fewer", config([]), [good], "names other layers than its manifest"),
        ("zstd", config([zstd]), [zstd], "which jobs are not known to take"),
        ("broken", b"[]", [good], "configuration cannot be read"),
    ):
        client.push_blob(derived, said)
        client.push_manifest(derived, tag, manifest(said, layers))
        found, _ = train(real, image(real, f"{derived}:{tag}"))
        assert words in found["FailureReason"], tag


def test_a_user_that_the_image_does_not_have(
    real: Sandbox, client: Client, base: Base, derived: str, one_user: bool
) -> None:
    if one_user:
        pytest.skip("only one user exists in containers here")
    build(client, base, derived, "nobody", layer(("x", "")), User="unknown", Entrypoint=["python3"])
    found, lines = train(real, image(real, f"{derived}:nobody"))
    assert found["FailureReason"] == "AlgorithmError: , exit code: 126"
    assert lines == ["unable to find user unknown: no matching entries in passwd file"]
    build(client, base, derived, "number", layer(("x", "")), User="77:88")
    code = ["python3", "-c", "import os; print(os.getuid(), os.getgid(), os.environ['HOME'])"]
    assert train(real, image(real, f"{derived}:number"), ContainerEntrypoint=code)[1] == ["77 88 /"]


def test_another_accounts_image_needs_its_policy(real: Sandbox, client: Client, base: Base) -> None:
    keys = real.client("sts").assume_role(RoleArn="arn:aws:iam::763104351884:role/r", RoleSessionName="owner")
    given = keys["Credentials"]
    owner = real.client(
        "ecr",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    owner.create_repository(repositoryName="pytorch-training")
    theirs = Client(real.endpoint, password(owner))
    for blob in base.blobs.values():
        theirs.push_blob("pytorch-training", blob)
    build(theirs, base, "pytorch-training", "2.8", layer(("x", "")), Entrypoint=["python3", "-c", "print('pulled')"])
    uri = image(real, "pytorch-training:2.8", account="763104351884")
    assert "because no resource-based policy allows" in train(real, uri)[0]["FailureReason"]
    pull = ["ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"]
    everybody = {"Effect": "Allow", "Principal": "*", "Action": pull}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    owner.set_repository_policy(repositoryName="pytorch-training", policyText=policy)
    assert train(real, uri)[1] == ["pulled"]


def test_a_job_outlives_a_kill_although_its_image_is_gone() -> None:
    from clary.testing import sandbox

    wait = """
import pathlib, time
print("up", flush=True)
while not pathlib.Path("/opt/ml/go").exists():
    time.sleep(0.01)
"""
    with sandbox() as own:
        ecr, sagemaker = own.client("ecr"), own.client("sagemaker")
        ecr.create_repository(repositoryName="short-lived")
        client = Client(own.endpoint, password(ecr))
        base = Base(client, own)
        for blob in base.blobs.values():
            client.push_blob("short-lived", blob)
        script = layer(("wait.py", wait))
        build(client, base, "short-lived", "1", script, Entrypoint=["python3", "/wait.py"])
        algorithm = {"TrainingImage": image(own, "short-lived:1"), "TrainingInputMode": "File"}
        sagemaker.create_training_job(**make_training_request(own, "outlives", AlgorithmSpecification=algorithm))
        until(lambda: output(own, "/aws/sagemaker/TrainingJobs", "outlives"), "the first line of the job")
        ecr.delete_repository(repositoryName="short-lived", force=True)
        own.kill()
        own.restart()
        (go,) = own.data.glob("jobs/*/training-outlives/algo-1/ml")
        (go / "go").touch()
        assert trained(sagemaker, "outlives")["TrainingJobStatus"] == "Completed"
        folder = script.diff_id[7:31]
        assert (own.data / "layers" / folder).exists()
        own.restart()
        assert not (own.data / "layers" / folder).exists(), "a layer of no image goes at the next start"

"""The container contract of SageMaker, C1 to C17, through the AWS API of a real sandbox and in its containers."""

from __future__ import annotations

import io
import json
import os
import tarfile
import textwrap
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from clary.testing import Sandbox, sandbox
from patience import until

pytestmark = [pytest.mark.namespaces, pytest.mark.xdist_group("conformance")]
SPEED = 100.0
"""Sandbox seconds in a real one: the grace of 120 s is then 1.2 s."""
TERMINAL = ("Completed", "Failed", "Stopped")


@pytest.fixture(scope="module")
def local() -> Iterator[Sandbox]:
    with sandbox(enforce_rates=False, clock_speed=SPEED) as running:
        if running.status()["executor"] != "namespaces":
            reason = f"no containers by namespaces here: {running.status()['not_honoured']}"
            assert "CI" not in os.environ, reason
            pytest.skip(reason)
        yield running


class Jobs:
    """What the tests do with jobs, each with a name and a place in the bucket of its own."""

    def __init__(self, local: Sandbox) -> None:
        self.local = local
        self.sagemaker = local.client("sagemaker")
        self.s3 = local.client("s3")
        self.logs = local.client("logs")

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.local.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        data: bytes = self.s3.get_object(Bucket=self.local.bucket, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.local.bucket, Prefix=prefix)
        return sorted(entry["Key"] for entry in listed.get("Contents", []))

    def uri(self, key: str) -> str:
        return f"s3://{self.local.bucket}/{key}"

    def channel(self, name: str, prefix: str, **changes: Any) -> dict[str, Any]:
        source = {"S3DataType": "S3Prefix", "S3Uri": self.uri(prefix)}
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}

    def train(
        self, code: str | None, *, hosts: int = 1, limit: int = 80_000, algorithm: Any = None, **request: Any
    ) -> str:
        """Create a training job that runs Python code (dedented), or the image's own words for None."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        words: dict[str, Any] = {}
        if code is not None and "\n" not in code:
            words = {"ContainerEntrypoint": ["python", "-u", "-c", code]}
        elif code is not None:
            # The API takes no newlines in words: longer code comes by a channel.
            self.put(f"code/{name}/main.py", textwrap.dedent(code).encode())
            words = {"ContainerEntrypoint": ["python", "-u", "/opt/ml/input/data/code/main.py"]}
            request["InputDataConfig"] = [*request.get("InputDataConfig", []), self.channel("code", f"code/{name}/")]
        image = {"TrainingImage": self.local.image, "TrainingInputMode": "File"}
        request["AlgorithmSpecification"] = {**image, **words, **(algorithm or {})}
        resources = {"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1}
        limits = {"MaxRuntimeInSeconds": limit}
        usual = {"ResourceConfig": resources, "StoppingCondition": limits}
        self.sagemaker.create_training_job(**self.training(name, **{**usual, **request}))
        return name

    def training(self, name: str, **request: Any) -> dict[str, Any]:
        return {
            "TrainingJobName": name,
            "RoleArn": self.local.role,
            "AlgorithmSpecification": {"TrainingImage": self.local.image, "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": self.uri("out")},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 80_000},
            **request,
        }

    def described(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return answer

    def ended(self, name: str) -> dict[str, Any]:
        return until(lambda: self._if_ended(self.described(name), "TrainingJobStatus"), f"the end of {name}")

    def process(self, code: str, **request: Any) -> str:
        name = f"p-{uuid.uuid4().hex[:12]}"
        self.put(f"code/{name}/main.py", textwrap.dedent(code).encode())
        place = "/opt/ml/processing/code"
        source = {
            "S3Uri": self.uri(f"code/{name}/"),
            "LocalPath": place,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        }
        inputs = [{"InputName": "code", "S3Input": source}, *request.pop("ProcessingInputs", [])]
        entrypoint = ["python", "-u", f"{place}/main.py"]
        cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        self.sagemaker.create_processing_job(
            **{
                "ProcessingJobName": name,
                "RoleArn": self.local.role,
                "AppSpecification": {"ImageUri": self.local.image, "ContainerEntrypoint": entrypoint},
                "ProcessingResources": {"ClusterConfig": cluster},
                "ProcessingInputs": inputs,
                **request,
            }
        )
        return name

    def processed(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return self._if_ended(self.sagemaker.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus")

        return until(look, f"the end of {name}")

    @staticmethod
    def _if_ended(described: dict[str, Any], member: str) -> dict[str, Any] | None:
        return described if described[member] in TERMINAL else None

    def streams(self, name: str, group: str = "TrainingJobs") -> list[str]:
        try:
            found = self.logs.describe_log_streams(
                logGroupName=f"/aws/sagemaker/{group}", logStreamNamePrefix=f"{name}/"
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [stream["logStreamName"] for stream in found["logStreams"]]

    def lines(self, name: str, group: str = "TrainingJobs") -> list[str]:
        written = []
        for stream in self.streams(name, group):
            page = self.logs.get_log_events(logGroupName=f"/aws/sagemaker/{group}", logStreamName=stream)
            written += [event["message"] for event in page["events"]]
        return written

    def await_line(self, name: str, line: str) -> None:
        until(lambda: line in self.lines(name), f"{line!r} in the log of {name}")


@pytest.fixture(scope="module")
def jobs(local: Sandbox) -> Jobs:
    return Jobs(local)


def statuses(described: dict[str, Any]) -> list[str]:
    return [entry["Status"] for entry in described["SecondaryStatusTransitions"]]


def test_c1_argv_is_exactly_train_without_overrides(jobs: Jobs) -> None:
    # The sandbox's own image has no such program, as most images have none:
    assert jobs.ended(jobs.train(None))["FailureReason"] == "AlgorithmError: , exit code: 127"
    program = next(jobs.local.data.glob("images/*/venv/bin")) / "train"
    program.write_text("#!/opt/venv/bin/python\nimport sys; print(sys.argv)\n")
    program.chmod(0o755)
    try:
        name = jobs.train(None)
        assert jobs.ended(name)["TrainingJobStatus"] == "Completed"
        assert jobs.lines(name) == ["['/opt/venv/bin/train']"]
        with_arguments = jobs.train(None, algorithm={"ContainerArguments": ["train", "--fast"]})
        jobs.ended(with_arguments)
        assert jobs.lines(with_arguments) == ["['/opt/venv/bin/train', '--fast']"]
    finally:
        program.unlink()


def test_c2_signals_reach_the_command_as_pid_1(jobs: Jobs) -> None:
    name = jobs.train("""
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: (print("told to stop"), sys.exit(0)))
        print("pid", os.getpid())
        signal.pause()
    """)
    jobs.await_line(name, "pid 1")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.ended(name)["TrainingJobStatus"] == "Stopped"
    assert jobs.lines(name) == ["pid 1", "told to stop"]


def test_c3_hyperparameters_are_strings(jobs: Jobs) -> None:
    name = jobs.train(
        "print(open('/opt/ml/input/config/hyperparameters.json').read())",
        HyperParameters={"epochs": "3", "rate": "0.5"},
    )
    jobs.ended(name)
    assert json.loads("".join(jobs.lines(name))) == {"epochs": "3", "rate": "0.5"}


def test_c4_an_empty_list_of_channels_is_refused(jobs: Jobs) -> None:
    # botocore refuses it too; what counts is what the service says to a client that does not.
    client = jobs.local.client("sagemaker", config=Config(parameter_validation=False))
    with pytest.raises(ClientError, match=r"(?i)inputDataConfig") as refused:
        client.create_training_job(**jobs.training("no-channels", InputDataConfig=[]))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_c5_inputs_land_before_the_start_and_fastfile_is_read_only(jobs: Jobs) -> None:
    jobs.put("c5/a.txt", b"one")
    jobs.put("c5/deep/b.txt", b"two")
    name = jobs.train(
        """
        import pathlib
        for path in sorted(pathlib.Path("/opt/ml/input/data").rglob("*.txt")): print(path, path.read_text())
        pathlib.Path("/opt/ml/input/data/copied/mine").write_text("may")
        try: pathlib.Path("/opt/ml/input/data/streamed/mine").write_text("may not")
        except OSError as error: print(error.strerror)
        print(open("/opt/ml/input/data/piped_0").read(), open("/opt/ml/input/data/piped_1").read())
        """,
        InputDataConfig=[
            jobs.channel("copied", "c5"),
            jobs.channel("streamed", "c5/", InputMode="FastFile"),
            jobs.channel("piped", "c5/", InputMode="Pipe"),
        ],
    )
    assert jobs.ended(name)["TrainingJobStatus"] == "Completed", jobs.lines(name)
    assert jobs.lines(name) == [
        "/opt/ml/input/data/copied/a.txt one",
        "/opt/ml/input/data/copied/deep/b.txt two",
        "/opt/ml/input/data/streamed/a.txt one",
        "/opt/ml/input/data/streamed/deep/b.txt two",
        "Read-only file system",
        "onetwo onetwo",
    ]


def test_c6_the_failure_file_is_cut_and_without_one_the_exit_code_is_told(jobs: Jobs) -> None:
    told = jobs.train("open('/opt/ml/output/failure', 'w').write('x' * 3000); raise SystemExit(1)")
    silent = jobs.train("raise SystemExit(7)")
    killed = jobs.train("import ctypes; ctypes.string_at(0)")
    assert jobs.ended(told)["FailureReason"] == "AlgorithmError: " + "x" * 1024
    assert jobs.ended(silent)["FailureReason"] == "AlgorithmError: , exit code: 7"
    assert jobs.ended(killed)["FailureReason"] == "AlgorithmError: , exit code: 139"
    assert jobs.ended(silent)["TrainingJobStatus"] == "Failed"


def test_c7_stop_is_sigterm_then_grace_then_sigkill_and_the_model_is_kept(jobs: Jobs) -> None:
    # Python without a handler ignores SIGTERM as PID 1, so the grace period has to pass.
    name = jobs.train(
        "open('/opt/ml/model/half', 'w').write('done'); print('there', flush=True); import time; time.sleep(600)"
    )
    jobs.await_line(name, "there")
    before = jobs.local.clock.now()
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    described = jobs.ended(name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert jobs.local.clock.now() - before >= 120
    assert statuses(described)[-4:] == ["Training", "Stopping", "Uploading", "Stopped"]
    assert unpacked(jobs.get(f"out/{name}/output/model.tar.gz")) == {"half": b"done"}


def test_c8_the_time_limit_stops_the_job(jobs: Jobs) -> None:
    name = jobs.train(
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit()); time.sleep(600)", limit=30
    )
    described = jobs.ended(name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_c9_archives_and_their_keys(jobs: Jobs) -> None:
    code = """
        import os
        os.makedirs("/opt/ml/model/deep/er")
        open("/opt/ml/model/deep/weights", "w").write("w" * 9)
        os.symlink("/etc/hostname", "/opt/ml/model/link")
        open("/opt/ml/output/data/plot", "w").write("p")
    """
    packed = jobs.train(code)
    plain = jobs.train(code, OutputDataConfig={"S3OutputPath": jobs.uri("out/plain/"), "CompressionType": "NONE"})
    described = jobs.ended(packed)
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == jobs.uri(f"out/{packed}/output/model.tar.gz")
    assert unpacked(jobs.get(f"out/{packed}/output/model.tar.gz")) == {
        "deep": None,
        "deep/er": None,
        "deep/weights": b"w" * 9,
        "link": None,
    }
    assert unpacked(jobs.get(f"out/{packed}/output/output.tar.gz")) == {"plot": b"p"}
    described = jobs.ended(plain)
    prefix = f"out/plain/{plain}/output/"
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == jobs.uri(f"{prefix}model/")
    assert jobs.keys(prefix) == [f"{prefix}data/plot", f"{prefix}model/deep/weights"]


def unpacked(data: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        opened = {member.name: archive.extractfile(member) if member.isfile() else None for member in archive}
        return {name: file.read() if file else None for name, file in opened.items()}


def test_c10_checkpoints_are_restored_and_synced_over_an_interruption(jobs: Jobs) -> None:
    prefix = f"ckpt/{uuid.uuid4().hex}"
    jobs.put(f"{prefix}/seed", b"0")
    name = jobs.train(
        """
        import os, signal, sys, time
        os.chdir("/opt/ml/checkpoints")
        print(sorted(os.listdir()))
        if os.path.exists("step-1"): sys.exit(0)
        signal.signal(signal.SIGTERM, lambda *_: (open("last", "w").write("l"), sys.exit(0)))
        open("step-1", "w").write("1")
        print("written")
        time.sleep(600)
        """,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 80_000, "MaxWaitTimeInSeconds": 90_000},
        CheckpointConfig={"S3Uri": jobs.uri(prefix)},
    )
    jobs.await_line(name, "written")
    until(lambda: f"{prefix}/step-1" in jobs.keys(prefix), "the checkpoint in S3 while the job runs")
    from clary.sandbox import api

    api.interrupt(name, data=jobs.local.data)
    described = jobs.ended(name)
    assert described["TrainingJobStatus"] == "Completed"
    again = ["Starting", "Downloading", "Training"]
    assert statuses(described) == [*again, "Interrupted", *again, "Uploading", "Completed"]
    assert jobs.lines(name) == ["['seed']", "written", "['last', 'seed', 'step-1']"]
    assert len(jobs.streams(name)) == 2
    assert described["BillableTimeInSeconds"] <= described["TrainingTimeInSeconds"]


def test_c11_hosts_see_each_other_by_name(jobs: Jobs) -> None:
    name = jobs.train(
        """
        import json, socket, time
        config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
        me, hosts = config["current_host"], config["hosts"]
        server = socket.create_server(("", 7777))
        if me != "algo-1":
            for _ in range(5000):
                try: peer = socket.create_connection(("algo-1", 7777), 1); break
                except OSError: time.sleep(0.01)
            peer.sendall(me.encode())
        else:
            for _ in hosts[1:]:
                peer, address = server.accept()
                print(peer.recv(64).decode(), "at", address[0] == socket.gethostbyname("algo-2"), hosts)
        """,
        hosts=2,
    )
    assert jobs.ended(name)["TrainingJobStatus"] == "Completed", jobs.lines(name)
    assert jobs.lines(name) == ["algo-2 at True ['algo-1', 'algo-2']"]
    failing = jobs.train(
        """
        import os, time
        if os.environ["HOSTNAME"] == "algo-2": raise SystemExit(3)
        time.sleep(600)
        """,
        hosts=2,
    )
    assert jobs.ended(failing)["FailureReason"] == "AlgorithmError: , exit code: 3"


def test_c12_network_isolation_means_no_network(jobs: Jobs) -> None:
    code = """
        import os, socket
        port = int(os.environ["PORT"])
        for address in [("127.0.0.1", port), ("169.254.170.2", 80), ("10.0.0.2", 80)]:
            try: socket.create_connection(address, 20); print("reached", address[0])
            except OSError: print("nothing at", address[0])
        print([name for name in os.environ if name.startswith("AWS_C") or name.startswith("AWS_E")])
    """
    port = {"PORT": jobs.local.endpoint.rpartition(":")[2]}
    isolated = jobs.train(code, EnableNetworkIsolation=True, Environment=port)
    usual = jobs.train(code, Environment=port)
    jobs.ended(isolated)
    assert jobs.lines(isolated) == ["nothing at 127.0.0.1", "nothing at 169.254.170.2", "nothing at 10.0.0.2", "[]"]
    jobs.ended(usual)
    assert jobs.lines(usual)[:2] == ["reached 127.0.0.1", "reached 169.254.170.2"]


def test_c13_processing_differs(jobs: Jobs) -> None:
    jobs.put("c13/in.txt", b"data")
    prefix = f"c13-out/{uuid.uuid4().hex}"

    def output(name: str, mode: str) -> dict[str, Any]:
        path = f"/opt/ml/processing/{name}"
        return {
            "OutputName": name,
            "S3Output": {"S3Uri": jobs.uri(f"{prefix}/{name}"), "LocalPath": path, "S3UploadMode": mode},
        }

    source = {
        "S3Uri": jobs.uri("c13/"),
        "LocalPath": "/opt/ml/processing/input",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    name = jobs.process(
        """
        import json, os, sys
        print(sys.argv[1:], sorted(os.listdir("/opt/ml")), os.listdir("/opt/ml/processing/input"))
        config = json.load(open("/opt/ml/config/processingjobconfig.json"))
        print(config["ProcessingJobArn"], json.load(open("/opt/ml/config/resourceconfig.json")))
        open("/opt/ml/processing/end/e", "w").write("e")
        os.symlink("/etc/passwd", "/opt/ml/processing/end/link")
        open("/opt/ml/processing/live/l", "w").write("l")
        open("/opt/ml/output/message", "w").write("m" * 2000)
        """,
        ProcessingInputs=[{"InputName": "in", "S3Input": source}],
        ProcessingOutputConfig={"Outputs": [output("end", "EndOfJob"), output("live", "Continuous")]},
    )
    described = jobs.processed(name)
    assert described["ProcessingJobStatus"] == "Completed"
    assert described["ExitMessage"] == "m" * 1024
    assert described["ProcessingEndTime"] >= described["ProcessingStartTime"]
    assert jobs.keys(prefix) == [f"{prefix}/end/e", f"{prefix}/live/l"]
    resources = {"current_host": "algo-1", "hosts": ["algo-1"]}
    assert jobs.lines(name, "ProcessingJobs") == [
        "[] ['config', 'output', 'processing'] ['in.txt']",
        f"{described['ProcessingJobArn']} {resources}",
    ]
    binary = jobs.process(r"open('/opt/ml/output/message', 'wb').write(b'\xff\xfe')")
    assert jobs.processed(binary)["ProcessingJobStatus"] == "Failed"
    assert jobs.processed(jobs.process("raise SystemExit(2)"))["FailureReason"] == "AlgorithmError: , exit code: 2"


def test_c14_a_log_stream_appears_with_the_first_byte(jobs: Jobs) -> None:
    jobs.put("c14-go/x", b"")
    silent = jobs.train("pass")
    name = jobs.train(
        """
        import os, sys, time
        while not os.path.exists("/opt/ml/checkpoints/go"): time.sleep(0.01)
        """
    )
    jobs.ended(silent)
    until(lambda: "Training" in statuses(jobs.described(name)), "the container")
    assert jobs.streams(name) == []
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.streams(silent) == []
    loud = jobs.train("import sys; print('out'); print('err', file=sys.stderr)")
    jobs.ended(loud)
    (stream,) = jobs.streams(loud)
    host, _, epoch = stream.removeprefix(f"{loud}/algo-").partition("-")
    assert host == "1"
    assert epoch.isdigit()
    assert sorted(jobs.lines(loud)) == ["err", "out"]


def test_c15_describe_has_the_timeline_and_billable_seconds(jobs: Jobs) -> None:
    described = jobs.ended(jobs.train("pass"))
    timeline = described["SecondaryStatusTransitions"]
    assert statuses(described) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert [entry["StatusMessage"] for entry in timeline] == [
        "Preparing the instances for training",
        "Downloading the training image",
        "Training image download completed. Training in progress.",
        "Uploading generated training model",
        "Training job completed",
    ]
    assert all(one["EndTime"] == next_["StartTime"] for one, next_ in pairwise(timeline))
    assert described["CreationTime"] <= described["TrainingStartTime"] <= described["TrainingEndTime"]
    assert described["BillableTimeInSeconds"] == described["TrainingTimeInSeconds"] > 0


@pytest.mark.parametrize(("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn")])
def test_c16_arns_and_partition(jobs: Jobs, region: str, partition: str) -> None:
    sagemaker = jobs.local.client("sagemaker", region=region)
    name = f"t-{uuid.uuid4().hex[:12]}"
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    image = jobs.local.image.replace("us-east-1.amazonaws.com", f"{region}.{suffix}")
    role = jobs.local.role
    if partition != "aws":
        iam = jobs.local.client("iam", region=region)
        who = {"Service": "sagemaker.amazonaws.com"}
        allowed = {"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [allowed]}
        role = iam.create_role(RoleName=f"r-{name}", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    words = ["python", "-c", "import os; print(os.environ['TRAINING_JOB_ARN'], os.environ['AWS_REGION'])"]
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File", "ContainerEntrypoint": words}
    request = jobs.training(name, RoleArn=role, AlgorithmSpecification=algorithm)
    arn = sagemaker.create_training_job(**request)["TrainingJobArn"]
    assert arn == f"arn:{partition}:sagemaker:{region}:{jobs.local.account}:training-job/{name}"

    def look() -> bool:
        return bool(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed")

    until(look, "the end of the job")
    logs = Jobs(jobs.local)
    logs.logs = jobs.local.client("logs", region=region)
    assert logs.lines(name) == [f"{arn} {region}"]


def test_c17_opt_ml_hides_what_the_image_has_there(jobs: Jobs) -> None:
    planted = next(jobs.local.data.glob("images/*/root/opt/ml")) / "from-the-image"
    planted.write_text("hidden")
    try:
        name = jobs.train("import os; print(sorted(os.listdir('/opt/ml')))")
        jobs.ended(name)
    finally:
        planted.unlink()
    assert jobs.lines(name) == ["['input', 'model', 'output']"]

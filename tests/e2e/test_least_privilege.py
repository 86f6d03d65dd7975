"""The least policies are enough, and nothing in them can be left out: tried on a sandbox that enforces IAM.

Somebody with only ``submitter``, and jobs under a role with only ``execution``, go the whole path. Then each policy
loses one action, resource or condition at a time, and something that product code does must be refused, with a message
that names the action and the resource. What no sandbox can show is listed in ``UNSHOWN``, with its source.
"""

from __future__ import annotations

import configparser
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary import testing
from clary.agent import service
from clary.agent.images import site_of
from clary.agent.place import Place
from clary.agent.secrets import open_secrets
from clary.agent.verified import verify
from clary.doctor.findings import Status
from clary.doctor.runner import run
from clary.doctor.service import AWS_CHECKS
from clary.doctor.subject import Subject
from clary.errors import ClaryError, NotFoundError, PermissionDeniedError
from clary.ids import new_id
from clary.images import inspecting
from clary.images import service as images
from clary.images.building import Quiet
from clary.images.preparing import prepare
from clary.images.spec import parsed
from clary.runtime.isolated.jobs import Jobs
from clary.sagemaker import jobs, logs
from clary.sagemaker.permissions import policy, trust
from clary.stacks.model import Stack
from clary.stacks.scope import scope_of
from mutated_policies import Mutation, mutations

if TYPE_CHECKING:
    from clary.agent.views import RunView

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

FLOWS = '''\
import os
import time
from pathlib import Path

import clary
from clary import checkpoint, flow, sleep


@checkpoint(cache=lambda run: run)
def kept_for_others(run: str) -> int:
    return 1


@checkpoint
def large(letter: str) -> str:
    return letter * 200_000


@checkpoint
def divide(by: int) -> float:
    return 1 / by


@flow
def everything(by: int = 1) -> list:
    """Use all that a job may: its secret, a large value, the record, the cache, the output."""
    print("everything runs", flush=True)
    kept_for_others(clary.current_run().id)
    Path("/opt/ml/model/note.txt").write_text("kept")
    return [len(large("a")), divide(by), len(os.environ.get("TOKEN", ""))]


@flow
def naps() -> None:
    """Give the machine back for a minute."""
    sleep(60, suspend=True)


@flow
def forever() -> None:
    divide(1)
    while True:
        time.sleep(0.05)
'''
SECRET, KEY, TEXT = "api", "token", "text-that-nobody-prints"
UNSHOWN = {
    ("WriteArtifacts", "s3:AbortMultipartUpload"): "Needed when an upload in parts fails: S3 user guide, multipart "
    "upload permissions.",
    ("UseBuildContexts", "s3:AbortMultipartUpload"): "Likewise.",
    ("PublishJobMetrics", "cloudwatch:PutMetricData"): "The sandbox publishes no metrics: developer guide, SageMaker "
    "execution roles.",
    ("LookAtImages", "ecr:GetDownloadUrlForLayer"): "Doctor needs it for an image without an index, to learn its "
    "architecture; the sandbox's own image has one.",
}
"""(Sid, action) whose absence the sandbox does not show, each with what tells that it is needed."""
RARE = {"scheduler:GetSchedule", "scheduler:DeleteSchedule"}
"""What a job needs after a lost reply, or when an answer comes while it gives its machine back: ``test_waking``."""
WAKING = ("KeepSchedules", "PassSchedulerRole")
"""The statements by which a job has its run woken."""


JOBS_AT_ONCE = 4
NETWORK = {"MakeNetworkInterfaces", "UseNetworkInterfaces", "LookAtNetwork"}
"""Statements of the execution policy that a job in a VPC needs."""
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
FIRST = ("logs:CreateLogGroup",)
"""Only the first job of an account makes the log group."""


@dataclass
class Realm:
    """An account with policies enforced: its administrator, a user, roles, and a stack as that user has it."""

    sandbox: testing.Sandbox
    stack: Stack
    folder: Path
    admin: str
    """The administrator's credentials, as a stack names them."""
    user: str = "ann"

    @property
    def iam(self) -> Any:
        """IAM, as the administrator."""
        return self.sandbox.client("iam")

    def allow(self, document: Mapping[str, Any]) -> None:
        """Give the user this policy and no other."""
        self.iam.put_user_policy(UserName=self.user, PolicyName="clary", PolicyDocument=json.dumps(document))

    def role(self, name: str, document: Mapping[str, Any], trusted: Mapping[str, Any]) -> str:
        """Make a role with one policy; return its ARN."""
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trusted))
        self.iam.put_role_policy(RoleName=name, PolicyName="clary", PolicyDocument=json.dumps(document))
        return str(made["Role"]["Arn"])

    def start(self, flow: str, stack: Stack | None = None, **inputs: Any) -> RunView:
        """Submit a flow, by default as the user."""
        target = service.load_target(f"{self.folder / 'least.py'}:{flow}")
        return service.start(target, inputs, stack or self.stack)


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A sandbox that enforces IAM, with the user ``ann``, the execution role ``least`` and a secret."""
    home = tmp_path_factory.mktemp("least")
    with pytest.MonkeyPatch.context() as patch, testing.sandbox(iam="enforce", enforce_rates=False) as running:
        patch.setenv("CLARY_HOME", str(home / "clary"))
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name, raising=False)
        project = home / "project"
        project.mkdir()
        (project / "least.py").write_text(FLOWS)
        (project / "pyproject.toml").write_text("[tool.clary]\n")
        yield _realm(running, home, project)
        sys.modules.pop("least", None)


def _realm(running: testing.Sandbox, home: Path, project: Path) -> Realm:
    admin = _credentials(home / "admin", "sandbox", "sandbox")
    registry = running.image.split(":")[0]
    stack = Stack(
        name="least",
        type="sagemaker",
        artifact_store=f"s3://{running.bucket}/team/clary",
        region=running.region,
        execution_role=f"arn:aws:iam::{running.account}:role/least",
        scheduler_role=f"arn:aws:iam::{running.account}:role/waker",
        container_registry=registry,
        image=running.image,
        endpoint_url=running.endpoint,
        credentials=admin,
        settings={"tags": {"team": "least"}, "environment": {"TOKEN": f"{{{{secrets.{SECRET}.{KEY}}}}}"}},
    )
    realm = Realm(running, stack, project, admin)
    scope = scope_of(stack)
    realm.role("least", policy("execution", scope), trust("execution", scope))
    realm.role("waker", policy("scheduler", scope), trust("scheduler", scope))
    realm.iam.create_user(UserName=realm.user)
    made = realm.iam.create_access_key(UserName=realm.user)["AccessKey"]
    keys = _credentials(home / "ann", made["AccessKeyId"], made["SecretAccessKey"])
    realm.stack = replace(stack, credentials=keys)
    return realm


def _credentials(file: Path, key: str, secret: str) -> str:
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    return f"aws-credentials-file:{file}"


# -- what somebody with keys does: one probe for each action, the product's own code where there is any


@dataclass
class Known:
    """What the probes look at: a run that has ended, its job, a place opened with the user's keys."""

    realm: Realm
    place: Place
    run: str
    job: str
    at_first: tuple[str, ...]
    """What is wrong with the mutations that only the first job of an account shows."""

    @property
    def stack(self) -> Stack:
        """The stack, as the user has it."""
        return self.realm.stack


@pytest.fixture(scope="module")
def known(realm: Realm) -> Known:
    """A run that has ended, made by the user, and before it the account's first job: it has to make the log group."""
    realm.allow(policy("submitter", scope_of(realm.stack)))
    open_secrets(realm.stack).edit(SECRET, lambda _: {KEY: TEXT})
    at_first = [_fault(one, _lacking(realm, "first", one)) for one in _of_execution(realm) if one.actions == FIRST]
    done = service.wait(realm.stack, realm.start("everything").id, 90)
    assert done.status == "completed", done.failure
    job = done.attempts[0].job
    assert job is not None
    return Known(realm, Place(realm.stack), done.id, job, tuple(at_first))


def test_the_whole_path_passes(known: Known) -> None:
    """Verify, secrets, submit, follow, logs, result, stop, resume, list: with nothing but the least policies."""
    realm = known.realm
    realm.allow(policy("submitter", scope_of(realm.stack)))
    assert verify(realm.stack) == []
    open_secrets(realm.stack).edit(SECRET, lambda _: {KEY: TEXT})
    done = service.wait(realm.stack, realm.start("everything").id, 90)
    assert done.status == "completed", done.failure
    assert service.result(realm.stack, done.id) == [200_000, 1.0, len(TEXT)]
    assert any("everything runs" in line for _, _, line in service.logs(realm.stack, done.id, follow=False))
    failed = service.wait(realm.stack, realm.start("everything", by=0).id, 90)
    assert failed.status == "failed"
    service.resume(realm.stack, failed.id)
    assert len(service.wait(realm.stack, failed.id, 90).attempts) == 2
    endless = realm.start("forever")
    service.stop(realm.stack, endless.id)
    assert service.wait(realm.stack, endless.id, 60).status == "stopped"
    listed = {view.id for view in service.list_runs(realm.stack, limit=50)}
    assert listed >= {done.id, failed.id, endless.id}


Probe = Callable[[Known], object]
"""Does what needs an action; raises, or returns the finding of a check, where it is refused."""


def _call(action: str, operation: str, **request: Any) -> Probe:
    """Call AWS for what no product code does yet; answers other than refusals for want of rights are well."""

    def probe(known: Known) -> None:
        try:
            with known.place.aws.call(action) as client:
                getattr(client, operation)(**request)
        except PermissionDeniedError:
            raise
        except ClaryError:
            pass

    return probe


def _create(known: Known, *, network: Mapping[str, list[str]] | None = None) -> None:
    """Ask for a job with tags, under the execution role; ``network`` are the settings of a VPC."""
    request = _request(known)
    if network:
        request["VpcConfig"] = {"Subnets": network["subnets"], "SecurityGroupIds": network["security_group_ids"]}
    jobs.create(known.place.aws, request, pointer=request["Environment"])


def _request(known: Known) -> dict[str, Any]:
    name = f"least-{new_id().lower()}-1"
    return {
        "TrainingJobName": name,
        "RoleArn": known.stack.execution_role,
        "AlgorithmSpecification": {
            "TrainingImage": known.stack.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["true"],
        },
        "OutputDataConfig": {"S3OutputPath": f"{known.stack.artifact_store}/runs/{name}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "Environment": {"CLARY_RUN": name},
        "Tags": [{"Key": "team", "Value": "least"}],
    }


PATIENCE = 60.0
"""Seconds: whether a busy machine answers in good time is no question of rights."""


def _checked(known: Known, *actions: str) -> str:
    """Examine the stack, by all checks or those that need the actions; return what could not be looked at."""
    checks = [check for check in AWS_CHECKS if not actions or set(actions) & set(check.permissions)]
    found = [result.finding for result in run(checks, Subject(known.stack), limit=PATIENCE)]
    return "; ".join(
        f"{finding.permission}: {finding.summary}"
        for finding in found
        if finding.status in (Status.FAILED, Status.UNCHECKED) or "is missing" in finding.summary
    )


def _secret_is_made(known: Known) -> None:
    name = f"made-{new_id().lower()}"
    open_secrets(known.stack).edit(name, lambda _: {KEY: TEXT}, private_to="ann")
    open_secrets(known.stack).edit(name, lambda _: {KEY: "other"}, private_to="ann")


def _secret_is_deleted(known: Known) -> None:
    try:
        open_secrets(known.stack).delete(f"no-{new_id().lower()}")
    except NotFoundError:
        pass


def _read_logs(known: Known) -> None:
    assert logs.last_lines(known.place.aws, known.job, 5)


PROBES: dict[str, Probe] = {
    "s3:ListBucket": lambda known: known.place.run_ids(),
    "s3:GetObject": lambda known: known.place.read(known.run),
    "s3:PutObject": lambda known: known.place.store.put("specs/probe", b"x"),
    "sagemaker:CreateTrainingJob": _create,
    "sagemaker:AddTags": _create,
    "iam:PassRole": _create,
    "sagemaker:DescribeTrainingJob": lambda known: jobs.describe(known.place.aws, known.job),
    "sagemaker:StopTrainingJob": lambda known: jobs.stop(known.place.aws, known.job),
    "logs:DescribeLogStreams": _read_logs,
    "logs:GetLogEvents": _read_logs,
    "secretsmanager:CreateSecret": _secret_is_made,
    "secretsmanager:TagResource": _secret_is_made,
    "secretsmanager:PutSecretValue": _secret_is_made,
    "secretsmanager:GetSecretValue": lambda known: open_secrets(known.stack).read(SECRET),
    "secretsmanager:DescribeSecret": lambda known: open_secrets(known.stack).exists(SECRET),
    "secretsmanager:ListSecrets": lambda known: open_secrets(known.stack).entries(),
    "secretsmanager:DeleteSecret": _secret_is_deleted,
    "scheduler:GetSchedule": _call("scheduler:GetSchedule", "get_schedule", GroupName="clary", Name="none"),
}
"""By action; an action that is not here is one of the looks of ``doctor``."""


def missed(known: Known, mutation: Mutation, probes: Mapping[str, Probe]) -> str:
    """Return what is said when a mutated policy is in force; empty when nothing is missed."""
    for action in mutation.actions:
        try:
            told = probes[action](known) if action in probes else _checked(known, action)
        except ClaryError as error:
            return f"{error.summary} {error.next_step}"
        if isinstance(told, str) and told:
            return told
    return ""


def unproven(
    known: Known, document: dict[str, Any], *, probes: Mapping[str, Probe] | None = None, without: Iterable[str] = ()
) -> str:
    """Return every mutation of a policy that nobody misses, or that is missed without being named, line by line.

    ``without`` are statements that are proven elsewhere.
    """
    found = []
    for mutation in mutations(document):
        if mutation.sid in without:
            continue
        if all((mutation.sid, action) in UNSHOWN for action in mutation.actions):
            continue
        known.realm.allow(mutation.document)
        if fault := _fault(mutation, missed(known, mutation, probes or PROBES)):
            found.append(fault)
    return "\n".join(found)


def _fault(mutation: Mutation, told: str) -> str:
    """Say what is wrong with what was told when a mutation was in force; empty when all is well."""
    if not any(action.lower() in told.lower() for action in mutation.actions):
        return f"{mutation.sid}, {mutation.change}: {told or 'nothing is missed'}"
    if mutation.fragment not in told:
        return f"{mutation.sid}, {mutation.change}: the resource is not named: {told}"
    return ""


def test_the_checks_are_content_with_a_submitter(known: Known) -> None:
    known.realm.allow(policy("submitter", scope_of(known.stack)))
    assert _checked(known) == ""


def test_nothing_in_the_submitters_policy_can_be_left_out(known: Known) -> None:
    assert unproven(known, policy("submitter", scope_of(known.stack))) == ""


def test_nothing_in_the_schedulers_policy_can_be_left_out(known: Known) -> None:
    assert unproven(known, policy("scheduler", scope_of(known.stack))) == ""


def test_nothing_that_an_agent_has_beyond_a_submitter_can_be_left_out(known: Known) -> None:
    scope = scope_of(known.stack)
    shared = [statement["Sid"] for statement in policy("submitter", scope)["Statement"]]
    assert unproven(known, policy("agent", scope), probes=_schedules(known), without=shared) == ""


def _schedules(known: Known) -> dict[str, Probe]:
    """Schedules are made in jobs; here the API is called as a job calls it."""
    wanted = _schedule("least", known.stack.scheduler_role or "")
    one = {name: wanted[name] for name in ("GroupName", "Name")}
    create = _call("scheduler:CreateSchedule", "create_schedule", **wanted)
    return {
        "iam:PassRole": create,
        "scheduler:CreateSchedule": create,
        "scheduler:GetSchedule": _call("scheduler:GetSchedule", "get_schedule", **one),
        "scheduler:DeleteSchedule": _call("scheduler:DeleteSchedule", "delete_schedule", **one),
    }


def _schedule(name: str, role: str) -> dict[str, Any]:
    """Return a request for a schedule that starts a job under a role."""
    return {
        "GroupName": "clary",
        "Name": name,
        "ScheduleExpression": "at(2040-01-01T00:00:00)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:createTrainingJob",
            "RoleArn": role,
            "Input": "{}",
        },
    }


def test_nothing_in_the_builders_policy_can_be_left_out(known: Known) -> None:
    assert unproven(known, policy("builder", scope_of(known.stack)), probes=_builds(known)) == ""


def _builds(known: Known) -> dict[str, Probe]:
    """The API, as any client calls it: the builder ``layers`` uses a part of it, Docker and BuildKit another."""
    name = (known.stack.container_registry or "").partition("/")[2]
    digest = f"sha256:{'0' * 64}"
    layer = {"repositoryName": name, "uploadId": "none"}
    context = "build-context-store/least.tar.gz"
    return {
        "ecr:GetAuthorizationToken": _call("ecr:GetAuthorizationToken", "get_authorization_token"),
        "ecr:BatchCheckLayerAvailability": _call(
            "ecr:BatchCheckLayerAvailability",
            "batch_check_layer_availability",
            repositoryName=name,
            layerDigests=[digest],
        ),
        "ecr:BatchGetImage": _call(
            "ecr:BatchGetImage", "batch_get_image", repositoryName=name, imageIds=[{"imageTag": "least"}]
        ),
        "ecr:GetDownloadUrlForLayer": _call(
            "ecr:GetDownloadUrlForLayer", "get_download_url_for_layer", repositoryName=name, layerDigest=digest
        ),
        "ecr:InitiateLayerUpload": _call("ecr:InitiateLayerUpload", "initiate_layer_upload", repositoryName=name),
        "ecr:UploadLayerPart": _call(
            "ecr:UploadLayerPart", "upload_layer_part", **layer, partFirstByte=0, partLastByte=0, layerPartBlob=b"x"
        ),
        "ecr:CompleteLayerUpload": _call(
            "ecr:CompleteLayerUpload", "complete_layer_upload", **layer, layerDigests=[digest]
        ),
        "ecr:PutImage": _call("ecr:PutImage", "put_image", repositoryName=name, imageManifest="{}"),
        "ecr:CreateRepository": _call("ecr:CreateRepository", "create_repository", repositoryName=name),
        "ecr:DescribeRepositories": _call("ecr:DescribeRepositories", "describe_repositories", repositoryNames=[name]),
        "ecr:DescribeImages": _call("ecr:DescribeImages", "describe_images", repositoryName=name),
        "s3:ListBucket": lambda known: known.place.run_ids(),
        "s3:PutObject": lambda known: known.place.store.put(context, b"x"),
        "s3:GetObject": lambda known: known.place.store.get(context),
        "s3:DeleteObject": lambda known: known.place.store.delete(context),
    }


def test_the_builders_policy_is_enough_to_build(known: Known, tmp_path: Path) -> None:
    known.realm.allow(policy("builder", scope_of(known.stack)))
    site = replace(site_of(Place(known.stack)), home=tmp_path)
    image = parsed({"base": known.stack.image, "requirements": [], "env": {"BUILT": "by the least rights"}})
    built = images.ensure(prepare(image, tmp_path, site, Quiet()), site, Quiet())
    assert inspecting.show(built.reference, site.registries).environment["BUILT"] == "by the least rights"


# -- what a job does under its role: one role for each mutation, several jobs at a time


def _of_execution(realm: Realm) -> list[Mutation]:
    document = policy("execution", scope_of(realm.stack))

    def shown(one: Mutation) -> bool:
        return not all((one.sid, action) in UNSHOWN or action in RARE for action in one.actions)

    return [one for one in mutations(document) if shown(one)]


def test_nothing_in_the_execution_policy_can_be_left_out(known: Known) -> None:
    rest = [one for one in _of_execution(known.realm) if one.actions != FIRST]
    with ThreadPoolExecutor(JOBS_AT_ONCE) as pool:
        told = pool.map(lambda numbered: _lacking(known.realm, *numbered), enumerate(rest))
    found = [*known.at_first, *(_fault(*pair) for pair in zip(rest, told, strict=True))]
    assert len(known.at_first) == 1
    assert "\n".join(fault for fault in found if fault) == ""


def _lacking(realm: Realm, name: object, mutation: Mutation) -> str:
    """Run the flow under a role with a mutated policy; return what is told of it."""
    stack = replace(realm.stack, credentials=realm.admin)
    arn = realm.role(f"lacking-{name}", mutation.document, trust("execution", scope_of(stack)))
    stack = replace(stack, execution_role=arn)
    flow = "naps" if mutation.sid in WAKING else "everything"
    done = service.wait(stack, realm.start(flow, stack).id, 90)
    if done.failure is not None:
        return f"{done.failure.summary} {done.failure.next_step}"
    lines = [line for _, _, line in service.logs(stack, done.id, follow=False)]
    if lines:
        return " ".join(line for line in lines if "cache is left alone" in line)  # a run without a cache goes on
    # A job whose role may not write logs runs without; that is what doctor is asked about.
    (told,) = run([check for check in AWS_CHECKS if check.name == "role-permissions"], Subject(stack), limit=PATIENCE)
    return f"{told.finding.summary} {json.dumps([dict(statement) for statement in told.finding.statements])}"


def test_nothing_that_isolated_checkpoints_add_to_the_execution_policy_can_be_left_out(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the client that runs in the flow's job, with the keys of somebody who may do that and nothing else."""
    plain, isolated = (policy("execution", replace(scope_of(known.stack), isolated=one)) for one in (False, True))
    added = [statement for statement in isolated["Statement"] if statement not in plain["Statement"]]
    assert {statement["Sid"] for statement in added} == {"StartJobs", "WatchAndStopJobs", "PassExecutionRole"}
    keys = configparser.ConfigParser()
    keys.read((known.stack.credentials or "").partition(":")[2])
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        monkeypatch.setenv(name.upper(), keys["default"][name])
    told = {"endpoint": known.realm.sandbox.endpoint, "region": known.realm.sandbox.region}
    asking = Jobs(told)

    def create(known: Known) -> None:
        request = _request(known)
        asking.create(request, request["Environment"])

    probes: dict[str, Probe] = {
        "sagemaker:CreateTrainingJob": create,
        "sagemaker:AddTags": create,
        "iam:PassRole": create,
        "sagemaker:DescribeTrainingJob": lambda known: str(asking.describe(known.job) or "")[:0],
        "sagemaker:StopTrainingJob": lambda known: asking.stop(known.job),
    }
    assert unproven(known, {**isolated, "Statement": added}, probes=probes) == ""


def test_nothing_that_a_job_in_a_vpc_needs_can_be_left_out(known: Known) -> None:
    """SageMaker weighs it when the job is made, so no job of a mutated policy has to run."""
    realm = known.realm
    network = {"subnets": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"], "security_group_ids": ["sg-0a1b2c3d"]}
    stack = replace(realm.stack, credentials=realm.admin, settings={**realm.stack.settings, **network})
    document = policy("execution", scope_of(stack))
    arn = realm.role("joining", document, trust("execution", scope_of(stack)))
    stack = replace(stack, execution_role=arn)
    done = service.wait(stack, realm.start("everything", stack).id, 90)
    assert done.status == "completed", done.failure
    place, found, seen = Place(stack), [], set()
    for mutation in mutations(document):
        if mutation.sid not in NETWORK:
            continue
        realm.iam.put_role_policy(RoleName="joining", PolicyName="clary", PolicyDocument=json.dumps(mutation.document))
        told = missed(
            replace(known, realm=replace(realm, stack=stack), place=place),
            mutation,
            dict.fromkeys(mutation.actions, partial(_create, network=network)),
        )
        seen.add(mutation.sid)
        found.append(_fault(mutation, told))
    assert seen == NETWORK
    assert "\n".join(fault for fault in found if fault) == ""


def test_a_role_is_assumed_by_its_own_service_for_this_account_only(known: Known) -> None:
    scope = scope_of(known.stack)

    def create(name: str, kind: str, account: str = scope.account) -> None:
        trusted = trust(kind, replace(scope, account=account))
        arn = known.realm.role(f"trusting-{name}", policy("execution", scope), trusted)
        stack = replace(known.stack, execution_role=arn, credentials=known.realm.admin)
        _create(replace(known, realm=replace(known.realm, stack=stack), place=Place(stack)))

    create("execution", "execution")
    with pytest.raises(ClaryError, match=r"role/trusting-scheduler"):
        create("scheduler", "scheduler")
    with pytest.raises(ClaryError, match=r"role/trusting-elsewhere"):
        create("elsewhere", "execution", "999999999999")


def test_a_schedulers_role_is_assumed_by_its_own_service_for_this_account_only(known: Known) -> None:
    known.realm.allow(EVERYTHING)
    scope = scope_of(known.stack)

    def schedule(name: str, kind: str, account: str = scope.account) -> None:
        arn = known.realm.role(
            f"waking-{name}", policy("scheduler", scope), trust(kind, replace(scope, account=account))
        )
        wanted = _schedule(f"waking-{name}", arn) | {"GroupName": "default"}
        with known.place.aws.call("scheduler:CreateSchedule") as client:
            client.create_schedule(**wanted)

    schedule("scheduler", "scheduler")
    for name, kind, account in (("execution", "execution", scope.account), ("other", "scheduler", "999999999999")):
        with pytest.raises(ClaryError, match="to assume the role"):
            schedule(name, kind, account)

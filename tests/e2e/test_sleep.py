"""Runs that sleep, or wait for an answer that nobody gives: the job ends, and the run goes on with nobody looking.

Everything is what ``clary bootstrap`` makes, on a sandbox that enforces IAM: so the roles are enough.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary import testing
from clary.agent import service
from clary.agent.place import place_of
from clary.agent.waking import unschedule
from clary.stacks.bootstrap import service as bootstrap
from clary.stacks.model import Stack
from e2e.test_flow_as_job import container
from patience import until

if TYPE_CHECKING:
    from clary.journal.state import RunState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PATIENCE = 120.0
"""Seconds: what is waited for here takes a few jobs, one after the other."""

FLOWS = '''\
import os
import time
from datetime import timedelta

from clary import checkpoint, current_run, flow, sleep, wait
from clary.journal.writer import Journal
from clary.runtime.waking import JobWaker


@checkpoint
def work(name: str) -> str:
    print(f"body of {name}", flush=True)
    return f"{name} in attempt {current_run().attempt}"


@flow
def naps(seconds: float) -> list[str]:
    """Sleep twice; each time in no job."""
    done = [work("before")]
    sleep(timedelta(seconds=seconds), suspend=True)
    done.append(work("between"))
    sleep(seconds, suspend=True)
    return [*done, work("after")]


@flow
def asks(seconds: float) -> list[str]:
    return [work("before"), wait("name", str, expires=timedelta(seconds=seconds), default="nobody"), work("after")]


def _killed(kind: type, name: str, *, after: bool) -> None:
    """Let the process stop for a kill where a method is called, in the first attempt."""
    method = getattr(kind, name)

    def halting(self, *arguments, **keywords):
        is_claim = name != "write" or any(one["kind"] == "attempt" for one in arguments)
        if after and is_claim:
            method(self, *arguments, **keywords)
        if is_claim and os.environ["CLARY_ATTEMPT"] == "1":
            print("here it is killed", flush=True)
            time.sleep(600)
        if not (after and is_claim):
            return method(self, *arguments, **keywords)

    setattr(kind, name, halting)


@flow
def killed_after_claim(seconds: float) -> list[str]:
    _killed(Journal, "write", after=True)
    return [work("before"), *([] if sleep(seconds, suspend=True) else []), work("after")]


@flow
def killed_after_schedule(seconds: float) -> list[str]:
    _killed(JobWaker, "wake_at", after=True)
    return [work("before"), *([] if sleep(seconds, suspend=True) else []), work("after")]
'''


class Bed:
    """A stack that ``clary bootstrap`` has made, and short ways to look at its runs without moving them on."""

    def __init__(self, running: testing.Sandbox, stack: Stack, project: Path) -> None:
        self.sandbox = running
        self.stack = stack
        self._project = project

    def start(self, flow: str, **inputs: Any) -> str:
        """Submit a flow; return the id of its run."""
        return service.start(service.load_target(f"{self._project / 'sleeping.py'}:{flow}"), inputs, self.stack).id

    def hours(self, number: float) -> float:
        """Return seconds after which that many hours have passed on the sandbox's clock, which runs ahead by now."""
        return self.sandbox.clock.now() - time.time() + 3600 * number

    def state(self, run: str) -> RunState:
        """Read the log, and do nothing else."""
        return place_of(self.stack).read(run)

    def until(self, run: str, *statuses: str) -> RunState:
        """Wait until the log says so; nobody looks at the jobs meanwhile."""
        until(lambda: self.state(run).status in statuses, f"a run that is {' or '.join(statuses)}", seconds=PATIENCE)
        return self.state(run)

    def job(self, name: str | None) -> dict[str, Any]:
        """Return what SageMaker says of a job."""
        shown: dict[str, Any] = self.sandbox.client("sagemaker").describe_training_job(TrainingJobName=name)
        return shown

    def jobs(self, run: str) -> int:
        """Return how many jobs were made for a run."""
        found = self.sandbox.client("sagemaker").list_training_jobs(NameContains=run.lower(), MaxResults=50)
        return len(found["TrainingJobSummaries"])

    def schedules(self, run: str) -> list[str]:
        """Return the schedules that wake a run."""
        found = self.sandbox.client("scheduler").list_schedules(GroupName="clary")["Schedules"]
        return [one["Name"] for one in found if one["Name"].startswith(run)]

    def pass_time(self, run: str) -> None:
        """Let the time pass for which a run sleeps, and no longer: what comes next would be due as well."""
        (name,) = self.schedules(run)
        schedule = self.sandbox.client("scheduler").get_schedule(GroupName="clary", Name=name)
        due = datetime.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
        self.sandbox.clock.advance(max(due.timestamp() - self.sandbox.clock.now(), 0))
        until(lambda: name not in self.schedules(run), "the end of the schedule", seconds=PATIENCE)

    def lines(self, run: str) -> list[str]:
        """Return what the jobs have printed."""
        return [line for _, _, line in service.logs(self.stack, run, follow=False)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    home = tmp_path_factory.mktemp("sleeping")
    with pytest.MonkeyPatch.context() as patch, testing.sandbox(iam="enforce", enforce_rates=False) as running:
        patch.setenv("CLARY_HOME", str(home / "clary"))
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name, raising=False)
        project = home / "project"
        project.mkdir()
        (project / "sleeping.py").write_text(FLOWS)
        (project / "pyproject.toml").write_text("[tool.clary]\n")
        keys = home / "keys"
        keys.write_text("[default]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox\n")
        credentials = f"aws-credentials-file:{keys}"
        made = bootstrap.apply(
            bootstrap.Setup("bed", running.region, running.endpoint, credentials), lambda _event: None
        )
        stack = Stack(
            name="bed",
            type="sagemaker",
            artifact_store=made.artifact_store,
            region=running.region,
            execution_role=made.roles["execution"],
            scheduler_role=made.roles["scheduler"],
            container_registry=made.container_registry,
            image=running.image,
            endpoint_url=running.endpoint,
            credentials=credentials,
        )
        _let_pull(running, made.roles["execution"])
        yield Bed(running, stack, project)
        sys.modules.pop("sleeping", None)


def _let_pull(running: testing.Sandbox, role: str) -> None:
    """The sandbox's own image is in no repository that bootstrap made."""
    repository = (
        f"arn:aws:ecr:{running.region}:{running.account}:repository/{running.image.split('/', 1)[1].split(':')[0]}"
    )
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": repository}]}
    running.client("iam").put_role_policy(
        RoleName=role.rpartition("/")[2], PolicyName="image", PolicyDocument=json.dumps(document)
    )


@pytest.fixture
def bed(shared: Bed) -> Iterator[Bed]:
    """The bed, with no faults left."""
    yield shared
    shared.sandbox.faults.clear()


def test_a_run_sleeps_in_no_job_and_goes_on_by_itself(bed: Bed) -> None:
    run = bed.start("naps", seconds=bed.hours(2))
    state = bed.until(run, "waiting")
    first = until(
        lambda: found if (found := bed.job(state.attempts[1].job))["TrainingJobStatus"] != "InProgress" else None,
        "the end of the first job",
        seconds=PATIENCE,
    )
    assert first["TrainingJobStatus"] == "Completed"
    assert (bed.schedules(run), bed.jobs(run)) == ([f"{run}-2"], 1)
    seen = service.get_run(bed.stack, run)  # a look starts nothing
    assert (seen.status, bed.jobs(run)) == ("waiting", 1)
    billed = bed.job(state.attempts[1].job)["BillableTimeInSeconds"]
    bed.pass_time(run)
    until(lambda: bed.schedules(run) == [f"{run}-3"], "the second schedule", seconds=PATIENCE)
    bed.until(run, "waiting")
    bed.pass_time(run)
    done = bed.until(run, "completed", "failed")
    assert done.status == "completed", done.failure
    assert bed.jobs(run) == 3
    until(lambda: not bed.schedules(run), "the end of the schedules", seconds=PATIENCE)
    assert service.result(bed.stack, run) == ["before in attempt 1", "between in attempt 2", "after in attempt 3"]
    assert bed.job(state.attempts[1].job)["BillableTimeInSeconds"] == billed
    assert billed < 60


def test_a_question_expires_with_nobody_looking(bed: Bed) -> None:
    run = bed.start("asks", seconds=bed.hours(1))
    bed.until(run, "waiting")
    bed.pass_time(run)
    assert bed.until(run, "completed", "failed").status == "completed"
    assert service.result(bed.stack, run) == ["before in attempt 1", "nobody", "after in attempt 2"]
    until(lambda: not bed.schedules(run), "the end of the schedules", seconds=PATIENCE)


def test_what_goes_on_earlier_is_the_same_attempt_and_its_schedule_is_taken_back(bed: Bed) -> None:
    run = bed.start("asks", seconds=bed.hours(1))
    bed.until(run, "waiting")
    service.answer(bed.stack, run, "name", "ann")
    done = bed.until(run, "completed", "failed")
    assert service.result(bed.stack, run) == ["before in attempt 1", "ann", "after in attempt 2"]
    assert (sorted(done.attempts), bed.jobs(run)) == ([1, 2], 2)
    assert bed.schedules(run) == []
    assert not unschedule(place_of(bed.stack), run, 2)


@pytest.mark.parametrize("flow", ["killed_after_claim", "killed_after_schedule"])
def test_a_job_that_is_killed_while_it_suspends_its_run(bed: Bed, flow: str) -> None:
    scheduled = flow == "killed_after_schedule"
    run = bed.start(flow, seconds=bed.hours(1) if scheduled else 25)
    until(lambda: any("here it is killed" in line for line in bed.lines(run)), "the first attempt", seconds=PATIENCE)
    state = bed.state(run)
    assert state.attempt is not None
    assert (state.attempt.number, sorted(state.attempts)) == (1, [1, 2])
    os.kill(container(str(state.attempts[1].job)), signal.SIGKILL)
    until(
        lambda: bed.job(state.attempts[1].job)["TrainingJobStatus"] == "Failed", "the job's failure", seconds=PATIENCE
    )
    if not scheduled:  # no schedule was made: it goes on when somebody looks, once its time has come
        assert bed.schedules(run) == []
        assert service.get_run(bed.stack, run).status == "waiting"
        assert bed.jobs(run) == 1
        assert service.wait(bed.stack, run, 100).status == "completed"
    else:
        assert bed.schedules(run) == [f"{run}-2"]
        bed.pass_time(run)
        assert bed.until(run, "completed", "failed").status == "completed"
    assert service.result(bed.stack, run) == ["before in attempt 1", "after in attempt 2"]
    assert bed.jobs(run) == 2
    attempts = service.get_run(bed.stack, run).attempts
    assert [one.status for one in attempts] == ["interrupted", "completed"] or attempts[0].status == "failed"


def test_a_stack_without_a_scheduler_role_says_what_to_do(bed: Bed) -> None:
    stack = replace(bed.stack, name="without", scheduler_role=None)
    run = Bed(bed.sandbox, stack, bed._project).start("naps", seconds=7200)
    done = service.wait(stack, run, 60)
    assert done.status == "failed"
    assert "scheduler role" in str(done.failure)


def test_lost_replies_and_throttling_make_one_schedule(bed: Bed) -> None:
    bed.sandbox.faults.throttle("CreateSchedule", times=2)
    bed.sandbox.faults.lost_reply("CreateSchedule", times=1)
    run = bed.start("naps", seconds=bed.hours(2))
    bed.until(run, "waiting")
    assert bed.schedules(run) == [f"{run}-2"]
    service.stop(bed.stack, run)

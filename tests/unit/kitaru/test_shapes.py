"""Flows of Kitaru's shape: handles, futures, and where either is refused. Their own 0.21 was tried beside it."""

from __future__ import annotations

import importlib
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import clary
from clary import Image, kitaru
from clary.errors import ClaryError
from clary.kitaru import errors
from clary.kitaru.handles import OutputHandle
from clary.kitaru.images import image_of
from clary.kitaru.missing import REASONS
from clary.kitaru.names import call_name, call_path
from durable import KINDS, assert_once, attempt, call_paths, claim, first_attempt

if TYPE_CHECKING:
    from clary.engine.attempt import Outcome


@kitaru.checkpoint
def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


@kitaru.checkpoint
def double(x: Any) -> Any:
    return 2 * x


@kitaru.checkpoint
def add(a: Any, b: Any) -> Any:
    return [a, b]


@kitaru.checkpoint
def pair(x: int) -> tuple[int, str]:
    return x, str(x)


@kitaru.checkpoint
def broken() -> None:
    raise ValueError("no")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ran(folder: Path, body: Any, kind: str = "sqlite", **inputs: Any) -> Outcome:
    """Run a function as a flow of Kitaru's shape; raise what it raised."""
    outcome, log, _ = first_attempt(kind, folder, kitaru.flow(body), **inputs)
    if outcome.error is not None:
        raise outcome.error
    assert_once(log)
    return outcome


def test_a_call_gives_a_handle_and_a_flow_gives_values(kind: str, tmp_path: Path) -> None:
    seen: list[Any] = []

    def body(count: int) -> Any:
        handle = numbers(count)
        seen.extend([type(handle), str(handle), handle.load(), handle.chunk(1).load()])
        return {"all": handle, "doubled": [double(handle.chunk(2)), 1]}

    assert ran(tmp_path, body, kind, count=3).value == {"all": [1, 2, 3], "doubled": [6, 1]}
    assert seen == [OutputHandle, "<output numbers#1.output: a handle; .load() gives the value>", [1, 2, 3], 2]


def test_what_is_loaded_and_changed_changes_nothing_for_others(tmp_path: Path) -> None:
    def body() -> Any:
        handle = numbers(2)
        handle.load().append(99)
        return double(handle)

    assert ran(tmp_path, body).value == [1, 2, 1, 2]


def test_futures_maps_and_products_are_as_theirs(kind: str, tmp_path: Path) -> None:
    def body() -> Any:
        handle = numbers(3)
        return {
            "chain": double.submit(double.submit(3)).load(),
            "result": double.submit(4).result().load(),
            "map": double.map(double.map(handle)).load(),
            "whole list beside a handle": add.map(handle, [10, 20]).load(),
            "two handles": add.map(handle, b=numbers(3)).load(),
            "unmapped": add.map(numbers(2), kitaru.unmapped(handle)).load(),
            "product": add.product(numbers(2), numbers(2)).load(),
            "items": [future.load() for future in double.map([5, 6])],
            "after": double(7, after=double.submit(8)).load(),
            "a future in a list": double([double.submit(1)]).load(),
        }

    assert ran(tmp_path, body, kind).value == {
        "chain": 12,
        "result": 8,
        "map": [4, 8, 12],
        "whole list beside a handle": [[1, [10, 20]], [2, [10, 20]], [3, [10, 20]]],
        "two handles": [[1, 1], [2, 2], [3, 3]],
        "unmapped": [[1, [1, 2, 3]], [2, [1, 2, 3]]],
        "product": [[1, 1], [1, 2], [2, 1], [2, 2]],
        "items": [10, 12],
        "after": 14,
        "a future in a list": [2, 2],
    }


def test_several_outputs_are_handles_of_their_own(tmp_path: Path) -> None:
    def body() -> Any:
        number, text = pair(4)
        names = pair.map([1, 2]).unpack()
        return [double(number), text.load(), double(pair.submit(5)[1]), [one.load() for one in names[1]]]

    assert ran(tmp_path, body).value == [8, "4", "55", ["1", "2"]]


def test_a_call_that_depends_on_another_begins_when_that_has_ended_and_holds_up_nobody(tmp_path: Path) -> None:
    gate, reached = threading.Event(), threading.Event()

    @kitaru.checkpoint
    def slow() -> int:
        assert gate.wait(20)
        return 1

    @kitaru.checkpoint
    def opens() -> int:
        gate.set()
        return 2

    @kitaru.checkpoint
    def behind(x: int) -> int:
        reached.set()
        return x + 1

    def body() -> Any:
        later = behind.submit(slow.submit())
        opens.submit()  # were the line above to wait for its argument, this would never come
        assert reached.wait(20)  # nobody has asked for the result
        return later

    assert ran(tmp_path, body).value == 2


def test_calls_keep_their_identity_when_the_flow_goes_on(kind: str, tmp_path: Path) -> None:
    bodies: list[int] = []

    @kitaru.checkpoint
    def counted(x: int) -> int:
        bodies.append(x)
        return x

    def body() -> Any:
        futures = [counted.submit(counted.submit(number)) for number in range(3)]
        found = [future.load() for future in futures]
        if len(bodies) <= 6 and not again:
            again.append(True)
            raise InterruptedError
        return found

    again: list[bool] = []
    flow = kitaru.flow(body)
    _, record, store = first_attempt(kind, tmp_path, flow)
    claim(record, 2)
    assert attempt(record, store, flow, 2).value == [0, 1, 2]
    assert len(bodies) == 6
    assert sorted(set(call_paths(record))) == [f"counted#{number}" for number in range(1, 7)]


def test_calls_of_a_map_have_their_names(tmp_path: Path) -> None:
    def body() -> None:
        double(0)
        double.map([1, 2]).wait()
        double.product([3]).wait()
        double(4)

    _, log, _ = first_attempt("sqlite", tmp_path, kitaru.flow(body))
    names = {"double", "map:double_2:0", "map:double_2:1", "map:double_3:0", "double_4"}
    assert set(map(call_name, call_paths(log))) == names


def test_an_id_names_a_call(tmp_path: Path) -> None:
    outcome, log, _ = first_attempt("sqlite", tmp_path, kitaru.flow(_names_a_call))
    assert outcome.value == [2, 4]
    assert call_paths(log) == ["double@one", "double@two"]


def _names_a_call() -> Any:
    return [double(1, id="one"), double.submit(2, id="two")]


def test_a_failure_that_nobody_looks_at_fails_the_flow(tmp_path: Path) -> None:
    def body() -> int:
        broken.submit()
        return 1

    with pytest.raises(ValueError, match="no"):
        ran(tmp_path, body)


def test_a_failure_goes_to_those_that_depend_on_it_and_can_be_caught(tmp_path: Path) -> None:
    def body() -> str:
        future = double.submit(broken.submit())
        with pytest.raises(ValueError, match="no"):
            future.load()
        with pytest.raises(ValueError, match="no"):
            broken()
        return "caught"

    assert ran(tmp_path, body).value == "caught"


def test_a_failure_that_is_caught_leaves_the_flow_whole(tmp_path: Path) -> None:
    def body() -> str:
        future = broken.submit()
        with pytest.raises(ValueError, match="no"):
            future.result()
        return "caught"

    assert ran(tmp_path, body).value == "caught"


def test_handles_do_not_leak_into_native_checkpoints(tmp_path: Path) -> None:
    @clary.checkpoint
    def native(x: Any) -> Any:
        return x

    def body() -> Any:
        handle = numbers(2)
        assert native(handle.load()) == [1, 2]
        return native(handle)

    with pytest.raises(ClaryError) as caught:
        ran(tmp_path, body)
    assert "handle" in str(caught.value)


def test_in_a_native_flow_and_in_a_checkpoint_calls_give_values(tmp_path: Path) -> None:
    @kitaru.checkpoint
    def nested(x: int) -> Any:
        return [double(x), type(double(x)).__name__]

    @clary.flow
    def native() -> Any:
        with pytest.raises(errors.KitaruContextError, match="another shape"):
            double.submit(1)
        return [double(2), nested(3)]

    outcome, _, _ = first_attempt("sqlite", tmp_path / "native", native)
    assert outcome.value == [4, [6, "int"]]
    assert ran(tmp_path / "theirs", lambda: nested(3)).value == [6, "int"]


def test_a_flow_is_not_called_and_a_checkpoint_not_outside_a_flow() -> None:
    @kitaru.flow
    def body() -> int:
        return 1

    with pytest.raises(kitaru.KitaruUsageError, match=r"body\.run"):
        body()
    with pytest.raises(ValueError, match=r"body\.run"):  # theirs is a ValueError too
        body()
    with pytest.raises(kitaru.KitaruContextError) as caught:
        double(1)
    assert caught.value.code == "kitaru.outside_flow"
    with pytest.raises(RuntimeError):
        double.submit(1)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: double.map(3), "kitaru.nothing_to_map"),
        (lambda: add.map(numbers(2), numbers(3)), "kitaru.map_counts"),
        (lambda: double(1, after="fit"), "kitaru.bad_after"),
        (lambda: kitaru.save("x", 1), "kitaru.outside_checkpoint"),
        (lambda: kitaru.load("x", "y"), "kitaru.outside_checkpoint"),
        (lambda: kitaru.llm("hello"), "kitaru.not_available"),
    ],
)
def test_what_is_wrong_in_a_flow_is_told(tmp_path: Path, call: Any, code: str) -> None:
    with pytest.raises(kitaru.KitaruError) as caught:
        ran(tmp_path, call)
    assert caught.value.code == code
    assert caught.value.next_step


def test_values_are_saved_and_loaded_by_name(tmp_path: Path) -> None:
    @kitaru.checkpoint
    def keeps() -> None:
        kitaru.save("notes", {"a": 1}, type="context", tags=["x"])
        with pytest.raises(kitaru.KitaruUsageError, match="no type"):
            kitaru.save("notes", 1, type="contxt")

    @kitaru.checkpoint
    def reads() -> Any:
        run = kitaru.current_execution_id()
        assert run is not None
        for name, code in (("double", "kitaru.ambiguous_name"), ("nots", "kitaru.no_such_value")):
            with pytest.raises(kitaru.KitaruRuntimeError) as caught:
                kitaru.load(run, name)
            assert caught.value.code == code
        return [kitaru.load(run, "notes"), kitaru.load(run, "numbers"), kitaru.is_replay()]

    def body() -> Any:
        keeps()
        double.map(numbers(2)).wait()
        return reads()

    assert ran(tmp_path, body).value == [{"a": 1}, [1, 2], False]


def test_progress_and_events_are_lines_of_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @kitaru.checkpoint
    def tells() -> None:
        kitaru.progress("half", percent=0.5, left=3)
        wrongs: list[Any] = [50, -0.1, float("nan"), True, "half"]
        for wrong in wrongs:
            with pytest.raises(kitaru.KitaruUsageError, match="no part"):
                kitaru.progress("half", percent=wrong)
        kitaru.events.publish("tool", {"name": "search"})

    ran(tmp_path, lambda: tells())
    assert capsys.readouterr().out == '[tells#1] progress: 50 % half {"left": 3}\n[tells#1] tool: {"name": "search"}\n'


def test_every_name_of_theirs_is_here_or_refused_with_the_way_out() -> None:
    for name in THEIRS:
        if name in REASONS:
            with pytest.raises(kitaru.KitaruFeatureNotAvailableError, match="is not available here"):
                getattr(kitaru, name)
        else:
            assert getattr(kitaru, name) is not None
    with pytest.raises(AttributeError):
        kitaru.flwo  # noqa: B018


def test_errors_are_theirs_and_ours_and_survive_pickling() -> None:
    error = errors.KitaruUserCodeError("run.failed", "it failed", next_step="mend it", details={"origin": "user_code"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is errors.KitaruUserCodeError
    assert again.failure_origin is errors.FailureOrigin.USER_CODE
    assert isinstance(again, (ClaryError, RuntimeError))
    assert issubclass(errors.KitaruTimeoutError, errors.KitaruStateError)
    assert issubclass(errors.KitaruFeatureNotAvailableError, NotImplementedError)


def test_a_project_raises_their_errors_as_it_did() -> None:
    assert str(errors.KitaruUsageError("my own words")) == "my own words"
    error = errors.KitaruExecutionError("m", exec_id="x", status="failed", failure_origin=errors.FailureOrigin.BACKEND)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.exec_id, again.status, again.failure_origin) == ("m", "x", "failed", "backend")
    running = kitaru.ExecutionStatus.RUNNING
    late = errors.KitaruTimeoutError(exec_id="x", timeout_seconds=1, elapsed_seconds=2, last_status=running)
    assert isinstance(late, TimeoutError)
    assert (late.exec_id, late.timeout_seconds, late.elapsed_seconds, late.last_status) == ("x", 1, 2, running)


def test_models_are_dumped_as_theirs() -> None:
    image = kitaru.ImageSettings(base_image="x", environment={"A": "1"})
    assert image.model_dump(exclude_none=True) == {"base_image": "x", "environment": {"A": "1"}}
    assert image.model_dump(include={"user"}) == {"user": None}
    assert kitaru.StackInfo("a", "a", is_active=True).model_dump() == {"id": "a", "name": "a", "is_active": True}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("artifacts", "save"),
        ("config", "ImageSettings"),
        ("events", "publish"),
        ("logging", "log"),
        ("replay", "ReplaySubmission"),
        ("secrets", "get_secret"),
    ],
)
def test_their_modules_have_their_names(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(f"clary.kitaru.{module}"), name))


@pytest.mark.parametrize("runtime", ["Isolated", " inline "])
def test_words_are_read_in_any_case(runtime: str) -> None:
    assert kitaru.checkpoint(runtime=runtime)(len).name == "len"


def test_images_have_their_forms() -> None:
    assert image_of("repo:1") == ("repo:1", {})
    given = kitaru.ImageSettings(base_image="repo:1", environment={"A": "1"})
    assert image_of(given) == ("repo:1", {"environment": {"A": "1"}})
    assert image_of({"base_image": "repo:1"}) == ("repo:1", {})
    with pytest.raises(kitaru.KitaruUsageError, match="base_imag") as caught:
        image_of({"base_imag": "x"})
    assert "base_image" in caught.value.next_step
    made, settings = image_of({"requirements": ["numpy"], "apt_packages": ["git"], "environment": {"A": "1"}})
    assert made == Image(requirements=["numpy"], apt=["git"])
    assert settings == {"environment": {"A": "1"}}
    copied, _ = image_of({"replicate_local_python_environment": True, "requirements": ["mine==1"]})
    assert isinstance(copied, Image)
    assert copied.requirements is not None
    assert {"mine==1", f"pytest=={pytest.__version__}"} <= set(copied.requirements)
    with pytest.raises(kitaru.KitaruUsageError, match="file beside"):
        image_of({"replicate_local_python_environment": True, "requirements": "requirements.txt"})
    with pytest.raises(kitaru.KitaruFeatureNotAvailableError) as refused:
        image_of({"secret_environment_from": ["openai"]})
    assert "{{secrets.openai." in refused.value.next_step


def test_async_functions_belong_to_the_native_shape() -> None:
    async def body() -> None: ...

    for decorate in (kitaru.flow, kitaru.checkpoint):
        with pytest.raises(kitaru.KitaruFeatureNotAvailableError, match="async"):
            decorate(body)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("fit", "fit#1"),
        ("fit_2", "fit#2"),
        ("fit#2", "fit#2"),
        ("best", "fit@best"),
        ("x_2", "x_2#1"),
        ("y", "y"),
        ("map:fit:1", "fit@map:fit:1"),
        ("inner", "fit#1/inner#1"),
    ],
)
def test_their_names_of_calls_are_understood(given: str, path: str) -> None:
    assert call_path("x_2", ["x#1", "x_2#1", "x#2"]) == "x_2#1"
    known = ["fit#1", "fit#2", "fit@best", "x_2#1", "fit@map:fit:0", "fit@map:fit:1", "fit#1/inner#1"]
    assert call_path(given, known) == path
    assert given in (path, "y") or call_name(path) == given


THEIRS = """
AuthAPIKey AuthAPIKeyWithValue AuthServiceAccount CohortDiff CohortQuery CohortResult Deployment ExecutionDiff
ExecutionEvent ExecutionStatistics ExecutionStatisticsDimension ExecutionStatisticsGroup ExecutionStatisticsGrouping
ExecutionStatisticsMetric ExecutionStatisticsMetricAggregation ExecutionStatisticsMetricSource
ExecutionStatisticsTimeGranularity FailureOrigin FlowHandle ImageSettings KitaruAmbiguousFlowResultError
KitaruBackendError KitaruClient KitaruConfig KitaruContextError KitaruDivergenceError KitaruError KitaruExecutionError
KitaruFeatureNotAvailableError KitaruLogRetrievalError KitaruRuntimeError KitaruStackIntegrationDependencyError
KitaruStateError KitaruTimeoutError KitaruUsageError KitaruUserCodeError KitaruWaitValidationError ProjectCreateResult
ProjectDeleteResult ProjectInfo ReplayRuntimeContext ReplaySubmission SandboxCommandResult Secret SecretSummary
StackInfo build_compare_url build_compare_url_for_executions build_compare_urls checkpoint cohort
compare_url_for_executions configure connect create_project create_secret create_stack current_execution_id
current_project current_stack delete_project delete_secret delete_stack diff diff_cohort diff_matrix events flow
get_project get_replay_runtime_context get_secret is_replay list_projects list_secrets list_stacks llm load log
progress run_sandbox_command save use_project use_stack wait adapters mcp
""".split()  # noqa: SIM905 eighty names are read more easily so
"""What ``kitaru`` 0.21.0 exports."""

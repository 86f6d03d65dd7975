from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.agent.targets import load_target, reload_target, target_of
from clary.errors import NotFoundError, UsageError

_FLOW = """\
from clary import checkpoint, flow
@flow
def work(n: int = 1):
    return n
@checkpoint
def part():
    pass
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path[:], set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)) or name.startswith("pkg_"):
            del sys.modules[name]


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def _refusal(target: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_target(target)
    assert "Traceback" not in str(caught.value)
    assert caught.value.next_step
    return caught.value


def test_a_file_s_flow_is_found_with_its_project(root: Path) -> None:
    _write(root / "examples" / "one.py", _FLOW)

    target = load_target("examples/one.py:work")

    assert target.flow.name == "work"
    assert target.project is not None
    assert target.project.root == root.resolve()
    assert target.spec == {"file": "examples/one.py", "name": "work"}
    assert reload_target(root, target.spec).flow is target.flow
    assert target_of(target.flow).spec == target.spec


@pytest.mark.parametrize("top", ["", "src/"])
def test_a_module_s_flow_is_found_with_its_project(root: Path, top: str) -> None:
    _write(root / f"{top}pkg_one" / "__init__.py", "")
    _write(root / f"{top}pkg_one" / "inner.py", _FLOW)

    target = load_target("pkg_one.inner:work")

    assert target.spec == {"module": "pkg_one.inner", "name": "work"}
    assert target.project is not None
    assert target.project.root == root.resolve()
    assert target_of(target.flow) == target


def test_a_package_that_lies_elsewhere_in_the_tree_is_its_own_project(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(root / "python" / "pkg_two" / "__init__.py", _FLOW)
    monkeypatch.syspath_prepend(root / "python")

    target = load_target("pkg_two:work")

    assert target.project is not None
    assert target.project.root == (root / "python").resolve()  # the job looks for modules in the root and its src


def test_flows_may_be_named_by_their_own_name(root: Path) -> None:
    _write(root / "named.py", _FLOW.replace("@flow", "@flow(name='other')"))

    target = load_target("named.py:other")

    assert target.flow.name == "other"
    assert target_of(target.flow).spec == {"file": "named.py", "name": "work"}
    assert target_of(target.flow.on("somewhere")).spec == {"file": "named.py", "name": "work"}


def test_the_script_being_run_is_named_by_its_file(root: Path) -> None:
    _write(root / "main.py", _FLOW + "from clary.agent.targets import target_of\nprint(target_of(work).spec)\n")

    done = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True, check=True)

    assert done.stdout == "{'file': 'main.py', 'name': 'work'}\n"


@pytest.mark.parametrize("target", ["flow.py", ":work", "flow.py:", "work"])
def test_what_names_no_flow_is_refused(root: Path, target: str) -> None:
    assert _refusal(target).code == "target.malformed"


def test_a_missing_file_is_refused_with_the_nearest(root: Path) -> None:
    _write(root / "digits.py", _FLOW)

    error = _refusal("digit.py:work")

    assert error.code == "target.file_not_found"
    assert "digits.py" in error.next_step


def test_a_missing_flow_is_refused_with_the_nearest_and_the_list(root: Path) -> None:
    _write(root / "one.py", _FLOW)

    error = _refusal("one.py:wrok")

    assert error.code == "target.flow_not_found"
    assert "Did you mean 'work'? It has: work." in error.next_step


def test_what_is_no_flow_is_refused(root: Path) -> None:
    _write(root / "one.py", _FLOW)

    error = _refusal("one.py:part")

    assert error.code == "target.not_a_flow"
    assert "@flow" in error.next_step


@pytest.mark.parametrize(
    ("text", "where", "word"),
    [
        ("import os\nimport no_such_module_here\n", "bad.py:2", "Install no_such_module_here"),
        ("x = (\n", "bad.py:1", "SyntaxError"),
        ("def f():\n    raise ValueError('bad')\n\nf()\n", "bad.py:2", "ValueError: bad"),
        ("import sys\nsys.exit(3)\n", "bad.py:2", "__main__"),
        ("from helper import x\n", "helper.py:1", "ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_by_line(root: Path, text: str, where: str, word: str) -> None:
    _write(root / "bad.py", text)
    _write(root / "helper.py", "x = 1 / 0\n")

    error = _refusal("bad.py:work")

    assert error.code == "target.import_failed"
    assert where in error.summary
    assert word in str(error)


@pytest.mark.parametrize("module", ["pkg_nowhere", "pkg_nowhere.inner", "json.nothing"])
def test_a_missing_module_is_refused(root: Path, module: str) -> None:
    assert _refusal(f"{module}:work").code == "target.module_not_found"


def test_a_package_that_fails_on_the_way_is_told(root: Path) -> None:
    _write(root / "pkg_bad" / "__init__.py", "1 / 0\n")
    _write(root / "pkg_bad" / "inner.py", _FLOW)

    error = _refusal("pkg_bad.inner:work")

    assert error.code == "target.import_failed"
    assert "pkg_bad/__init__.py:1" in error.summary


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("ClaryError", "from clary.errors import ClaryError"),
        ("checkpoin", "Did you mean “checkpoint”?"),
        ("pipeline", "docs/reference/python.md"),
    ],
)
def test_a_name_that_clary_does_not_have_is_told(root: Path, name: str, step: str) -> None:
    _write(root / "bad.py", f"from clary import {name}\n")
    assert step in _refusal("bad.py:work").next_step


@pytest.mark.parametrize(
    ("module", "place", "page"),
    [
        ("clary.zenml.config", "clary.zenml", "migrate-from-zenml.md"),
        ("clary.kitaru.adapters.pydantic_ai", "clary.kitaru", "migrate-from-kitaru.md"),
        ("clary.nothing", "clary", "python.md"),
    ],
)
def test_a_module_that_clary_does_not_have_is_told(root: Path, module: str, place: str, page: str) -> None:
    _write(root / "bad.py", f"from {module} import Name\n")
    step = _refusal("bad.py:work").next_step
    assert f"from {place} import" in step
    assert page in step


def test_a_file_that_hides_clary_is_told(root: Path) -> None:
    _write(root / "clary.py", "from clary import flow\n")
    assert "rename it" in _refusal("clary.py:work").next_step


def test_a_file_that_hides_a_module_of_python_is_refused(root: Path) -> None:
    _write(root / "queue.py", _FLOW)
    error = _refusal("queue.py:work")
    assert error.code == "target.hides_stdlib"
    assert "queue_flow.py" in error.next_step
    _write(root / "test.py", _FLOW)
    assert load_target("test.py:work").flow.name == "work"


def test_what_is_no_python_file_is_said_to_be_none(root: Path) -> None:
    _write(root / "notes.txt", "")
    error = _refusal("./notes.txt:work")
    assert (error.code, error.summary) == ("target.malformed", "notes.txt is not a Python file (.py).")
    assert "train.py:FLOW" in _refusal("train.py").next_step


def test_a_relative_import_is_told_how_to_be_named(root: Path) -> None:
    _write(root / "src" / "pkg_rel" / "__init__.py", "")
    _write(root / "src" / "pkg_rel" / "flows.py", "from . import other\n" + _FLOW)
    error = _refusal("src/pkg_rel/flows.py:work")
    assert error.code == "target.import_failed"
    assert "pkg_rel.flows:FLOW" in error.next_step


def test_a_file_called_clary_is_told_to_be_renamed(root: Path) -> None:
    _write(root / "clary.py", "from clary import nothing_of_the_kind\n")
    assert "rename it" in _refusal("clary.py:work").next_step


def test_a_flow_that_another_process_had_in_no_file_is_gone(root: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        reload_target(root, {"module": "__main__", "name": "typed"})
    assert caught.value.code == "run.project_not_found"
    assert 'typed.replay(RUN, at=CALL, on_change="accept")' in caught.value.next_step


def test_a_flow_that_was_typed_into_this_process_is_found_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(root / "typed_flow.py", _FLOW)
    typed = load_target("typed_flow.py:work").flow
    monkeypatch.setattr(sys.modules["__main__"], "work", typed, raising=False)
    assert reload_target(root, {"module": "__main__", "name": "work"}).flow is typed

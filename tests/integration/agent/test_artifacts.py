"""What runs have kept: listed, read and written out, of local runs and of jobs; files and objects through replays."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clary.agent import artifacts, service
from clary.errors import NotFoundError, SerializationError, UsageError

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from clary.stacks.model import Stack

KEEPS = """
import os
from pathlib import Path

from clary import checkpoint, flow, save


class Model:
    def __init__(self, weight):
        self.weight = weight


@checkpoint
def train(weight: int):
    print("trained", weight, flush=True)
    return Model(weight)


@checkpoint
def score(model: Model) -> float:
    return model.weight * 1.5


@checkpoint
def report(name: str) -> Path:
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    (folder / "report.txt").write_text("all is well")
    return folder


@checkpoint
def read(folder: Path) -> str:
    return (folder / "report.txt").read_text()


@checkpoint
def finish(path: str) -> bytes:
    if path and not os.path.exists(path):
        raise ValueError("not yet")
    return b"raw"


@flow
def keeps(path: str = "", weight: int = 2, source: Path | None = None):
    save("settings", {"rate": 0.5})
    save("text", "x" * 100_000)
    model = train(weight)
    scores = [score(model), score(train(3))]
    told = read(report("out"))
    return [told, scores, finish(path), None if source is None else source.read_text()]
"""


@pytest.fixture
def flows(project: Path) -> Path:
    (project / "keeping.py").write_text(KEEPS)
    return project


def start(stack: Stack, **inputs: Any) -> RunView:
    return service.start(service.load_target("keeping.py:keeps"), inputs, stack)


def test_everything_kept_is_listed_and_read(flows: Path, local: Stack, tmp_path: Path) -> None:
    run = start(local).id
    listed = artifacts.list_artifacts(local, run)
    names = ["settings", "text", "train#1", "score#1", "train#2", "score#2", "report#1", "read#1", "finish#1", "result"]
    assert [one.name for one in listed] == names
    found = {one.name: one for one in listed}
    assert (found["settings"].kind, found["train#1"].kind, found["result"].kind) == ("saved", "checkpoint", "result")
    assert found["settings"].shown == {"kind": "metrics", "values": {"rate": 0.5}}
    assert found["text"].size == 100_002
    assert found["train#1"].needs_trust
    assert found["report#1"].shown["files"] == [["report.txt", 11]]
    assert json.loads(json.dumps(found["train#1"].to_dict()))["type"] == "Model"
    assert [one.name for one in artifacts.list_artifacts(local, run, name="train")] == ["train#1", "train#2"]
    assert artifacts.get(local, run, "settings") == {"rate": 0.5}
    assert artifacts.get(local, run, found["text"].digest[:12]) == "x" * 100_000
    assert artifacts.get(local, run, "finish") == b"raw"
    with pytest.raises(SerializationError) as untrusted:
        artifacts.get(local, run, "train#1")
    assert untrusted.value.code == "value.untrusted"
    assert artifacts.get(local, run, "train#1", trust=True).weight == 2
    with pytest.raises(UsageError) as ambiguous:
        artifacts.describe(local, run, "train")
    assert ambiguous.value.code == "artifact.ambiguous"
    with pytest.raises(NotFoundError, match="kept nothing") as missing:
        artifacts.describe(local, run, "setings")
    assert "settings" in missing.value.next_step


CLASHES = """
from clary import checkpoint, flow, save


@checkpoint
def train() -> int:
    return 1


@flow
def clashes(same: bool = False):
    save("result", "the result" if same else "a saved one")
    save("train#1", 2)
    train()
    return "the result"
"""


def test_a_value_saved_by_a_name_that_is_taken_hides_nothing(project: Path, local: Stack) -> None:
    (project / "clashing.py").write_text(CLASHES)
    target = service.load_target("clashing.py:clashes")
    run = service.start(target, {}, local).id
    for name, values in (("result", {"a saved one", "the result"}), ("train#1", {1, 2})):
        with pytest.raises(UsageError) as ambiguous:
            artifacts.get(local, run, name)
        assert ambiguous.value.code == "artifact.ambiguous"
        named = re.findall(r"\b[0-9a-f]{12}\b", ambiguous.value.next_step)
        assert {artifacts.get(local, run, digest) for digest in named} == values
    same = service.start(target, {"same": True}, local).id
    assert artifacts.get(local, same, "result") == "the result"  # the two are one value


def test_artifacts_are_written_out_as_files(flows: Path, local: Stack, tmp_path: Path) -> None:
    run = start(local).id
    out = tmp_path / "out"
    out.mkdir()
    assert artifacts.export(local, run, "settings").to_path(out).read_text() == '{\n  "rate": 0.5\n}\n'
    assert artifacts.export(local, run, "text").to_path(out / "t").read_text() == "x" * 100_000
    assert artifacts.export(local, run, "finish").to_path(out / "raw").read_bytes() == b"raw"
    folder = artifacts.export(local, run, "report").to_path(out / "report")
    assert (folder / "report.txt").read_text() == "all is well"
    with pytest.raises(SerializationError) as untrusted:
        artifacts.export(local, run, "train#1")
    assert untrusted.value.code == "value.untrusted"
    assert artifacts.export(local, run, "train#1", trust=True).to_path(out).suffix == ".pkl"
    with pytest.raises(UsageError) as there:
        artifacts.export(local, run, "text").to_path(out / "t")
    assert there.value.code == "artifact.file_exists"
    with pytest.raises(UsageError) as nowhere:
        artifacts.export(local, run, "text").to_path(out / "no" / "such" / "place")
    assert nowhere.value.code == "artifact.bad_file"


def test_files_and_pickled_arguments_are_compared_when_a_run_goes_on(flows: Path, local: Stack, tmp_path: Path) -> None:
    """The folder lies elsewhere and the model is another object in the second attempt; both are what was recorded."""
    gate = tmp_path / "gate"
    failed = start(local, path=str(gate))
    assert failed.status == "failed"
    gate.write_text("")
    (flows / "out" / "report.txt").unlink()
    (flows / "out").rmdir()
    done = service.resume(local, failed.id)
    assert done.status == "completed", done.failure
    assert service.result(local, failed.id)[:2] == ["all is well", [3.0, 4.5]]
    from clary.agent.place import place_of

    recorded = place_of(local).read(failed.id).calls
    assert recorded["score#1"]["inputs"]["model"] == artifacts.describe(local, failed.id, "train#1").digest
    assert recorded["score#1"]["inputs"] != recorded["score#2"]["inputs"]


def test_a_local_flow_gets_the_very_path(flows: Path, local: Stack, tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("read in place")
    run = start(local, source=source)
    assert service.result(local, run.id)[3] == "read in place"
    assert run.inputs["source"].startswith(f"PosixPath('{source.parent.parent}")


def test_a_job_gets_the_file_and_gives_its_own(flows: Path, stack: Stack, tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("from the laptop")
    started = start(stack, source=source)
    ended = service.wait(stack, started.id, 60)
    assert ended.status == "completed", ended.failure
    assert service.result(stack, started.id)[3] == "from the laptop"
    folder = artifacts.get(stack, started.id, "report")
    assert (folder / "report.txt").read_text() == "all is well"
    text = artifacts.describe(stack, started.id, "text")
    assert text.location is not None
    assert text.location.startswith("s3://")
    assert artifacts.export(stack, started.id, "text").to_path(tmp_path / "t").stat().st_size == 100_000
    assert np.isclose(artifacts.get(stack, started.id, "score#1"), 3.0)

"""A stack that is exported, deleted and made again is the same stack, whatever it was made with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.stacks import export, service
from clary.stacks.draft import read_file, wish

if TYPE_CHECKING:
    from clary.stacks.entries import Entry

PLAIN: dict[str, Any] = {
    "type": "sagemaker",
    "artifact_store": "s3://my-bucket/prefix",
    "region": "eu-central-1",
    "execution_role": "arn:aws:iam::123456789012:role/Jobs",
}
HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
OPTIONS = st.fixed_dictionaries(
    {"container_registry": st.sampled_from([HOST, f"{HOST}/a", "arn:aws:ecr:eu-central-1:123456789012:repository/a"])},
    optional={
        "instance_type": st.sampled_from(["ml.m5.large", ["ml.m5.large", "ml.m5.xlarge"]]),
        "image": st.sampled_from(["x/y:1", "a.b/c@sha256:" + "0" * 64]),
        "async": st.booleans(),
        "credentials": st.sampled_from(["aws-profile:me", "aws-environment:A:B:C", "aws-secret:n"]),
        "image_builder": st.sampled_from(["layers", "docker", "kaniko", "none"]),
        "secrets_manager": st.sampled_from(["aws", "ssm", "local"]),
        "endpoint_url": st.just("http://127.0.0.1:1"),
    },
)
VARIABLES = st.dictionaries(
    st.from_regex(r"[abcXYZ_]{1,8}", fullmatch=True), st.text("abc 0123: #'{}[]\"é-", max_size=20), max_size=3
)


def shape(entry: Entry) -> Any:
    parts = [(part.kind, part.name, part.flavor, part.options, part.provides) for part in entry.components]
    return entry.stack, entry.managed, parts


@settings(max_examples=15, deadline=None)
@given(OPTIONS, VARIABLES)
def test_exported_deleted_and_made_again(options: dict[str, Any], variables: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARY_HOME", folder)
        extra = {"orchestrator": {"environment": variables, "volume_size_in_gb": 50}}
        before = service.create(wish("demo", {**PLAIN, **options, "extra": extra}).draft).entry
        file = Path(folder) / "stack.yaml"
        file.write_text(export.to_yaml(before), encoding="utf-8")
        service.delete("demo", force=True, recursive=True)
        after = service.create(wish(None, {}, read_file(file)).draft).entry
        assert shape(after) == shape(before)

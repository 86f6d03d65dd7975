"""Layers of settings merge in any grouping; settings without findings make requests without; breaches are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clary.sagemaker import validation
from clary.sagemaker.findings import errors_of
from clary.sagemaker.requests import JobCode, training_request
from clary.sagemaker.settings import DEFAULT, Use, resolve, validate
from clary.sagemaker.settings_layers import merge, merge_all, origins
from clary.sagemaker.settings_model import DEFAULTS, NAMES, Channel, JobSettings
from sagemaker_requests import IMAGE, ROLE

KEYS = st.sampled_from("abc")
LEAVES = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
LAYERS = st.dictionaries(KEYS, TREES, max_size=3)

CODE = JobCode(
    image=IMAGE,
    output_s3_uri="s3://bucket/out",
    channels=(("runtime", "s3://bucket/runtime/"), ("code", "s3://bucket/code")),
    environment={"CLARY_RUN": "{}", "CLARY_ATTEMPT": "1"},
)


@given(LAYERS, LAYERS, LAYERS)
def test_merging_is_associative(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(LAYERS)
def test_an_empty_layer_changes_nothing(layer: dict[str, Any]) -> None:
    assert merge(layer, {}) == layer == merge({}, layer)
    assert merge(layer, layer) == layer


def at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree[part]
    return tree


@given(st.lists(LAYERS, max_size=4))
def test_the_origin_of_a_value_is_the_layer_that_set_it_last(layers: list[dict[str, Any]]) -> None:
    merged = merge_all(layers)
    found = origins([(str(number), layer) for number, layer in enumerate(layers)], "abc")
    for path, layer in found.items():
        if layer == DEFAULT:
            continue
        assert at(merged, path) is at(layers[int(layer)], path)
        assert at(merged, path) is not None


validate({})  # loads the model and pydantic, once, outside of what is timed

# -- settings that fit

WORDS = st.text("abcXYZ019", min_size=1, max_size=8)
NAMED = st.text("abcXYZ_", min_size=1, max_size=8).map(lambda name: f"V{name}")
PREFIXES = st.lists(WORDS, max_size=2).map(lambda parts: "/".join(["s3://bucket", *parts]) + "/")
TYPES = st.sampled_from(("ml.m5.xlarge", "ml.c5.2xlarge", "ml.g5.xlarge", "ml.p3.2xlarge", "ml.t3.medium"))
CHANNELS = PREFIXES | st.fixed_dictionaries(
    {"uri": PREFIXES},
    optional={
        "mode": st.sampled_from(("File", "FastFile", "Pipe")),
        "content_type": st.just("text/csv"),
        "distribution": st.sampled_from(("FullyReplicated", "ShardedByS3Key")),
    },
)
FREE = {
    "instance_count": st.integers(1, 20),
    "volume_size_in_gb": st.integers(1, 16384),
    "max_runtime_in_seconds": st.integers(1, 28 * 86400),
    "tags": st.dictionaries(WORDS, WORDS, max_size=3),
    "max_retry_attempts": st.integers(1, 30),
    "encrypt_inter_container_traffic": st.booleans(),
    "output_kms_key": st.just("alias/output"),
    "input_data": st.dictionaries(NAMED, CHANNELS, max_size=3) | PREFIXES,
    "input_mode": st.sampled_from(("File", "FastFile", "Pipe")),
    "output_data": PREFIXES,
    "checkpoint_s3_uri": PREFIXES,
    "environment": st.dictionaries(NAMED, WORDS | st.integers(), max_size=3),
    "metric_definitions": st.dictionaries(WORDS, st.just("x=(.+)"), max_size=2),
    "enable_remote_debug": st.booleans(),
    "enable_infra_check": st.booleans(),
    "request": st.just({"ProfilerConfig": None}) | st.just({"OutputDataConfig": {"CompressionType": "NONE"}}),
}


@st.composite
def fitting(draw: st.DrawFn) -> dict[str, Any]:
    """Settings without a contradiction."""
    values: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=FREE))
    market = draw(st.sampled_from(("on demand", "fallbacks", "spot", "warm", "plan", "encrypted")))
    if market == "fallbacks":
        values["instance_type"] = draw(st.lists(TYPES, min_size=1, max_size=5, unique=True))
    elif market == "spot":
        values |= {"use_spot": True, "instance_type": draw(TYPES)}
        if draw(st.booleans()):
            longest = values.get("max_runtime_in_seconds", DEFAULTS["max_runtime_in_seconds"])
            values["max_wait_in_seconds"] = longest + draw(st.integers(0, 100))
    elif market == "warm":
        values["keep_alive_period_in_seconds"] = draw(st.integers(0, 3600))
    elif market == "plan":
        values |= {
            "training_plan": "arn:aws:sagemaker:eu-west-1:123456789012:training-plan/spring",
            "instance_type": "ml.p5.48xlarge",
            "max_pending_time_in_seconds": draw(st.integers(7200, 2419200)),
        }
    elif market == "encrypted":
        values |= {"volume_kms_key": "alias/disk", "instance_type": "ml.c5n.xlarge"}
    if draw(st.booleans()):
        values |= {
            "subnets": draw(st.lists(st.just("subnet-1"), min_size=1, max_size=16)),
            "security_group_ids": draw(st.lists(st.just("sg-1"), min_size=1, max_size=5)),
            "registry_access": draw(st.sampled_from(("Platform", "Vpc", None))),
        }
    return values


@given(fitting())
def test_settings_that_fit_make_a_request_that_fits(values: dict[str, Any]) -> None:
    resolved = resolve([("stack", {"execution_role": ROLE}), ("flow", values)], use=Use.FLOW)
    request = training_request("digits-1", resolved.settings, CODE)
    assert errors_of(validation.validate("CreateTrainingJob", request)) == []
    assert errors_of(validate(values, use=Use.FLOW, whole=True)) == []
    again = resolve([("json", resolved.settings.to_dict())], use=Use.FLOW)
    assert again.settings == resolved.settings


@given(
    st.lists(st.fixed_dictionaries({}, optional={name: st.none() | drawn for name, drawn in FREE.items()}), max_size=3)
)
def test_only_what_was_set_overrides(layers: list[dict[str, Any]]) -> None:
    resolved = resolve([(str(number), layer) for number, layer in enumerate(layers)])
    for name in NAMES:
        said = [layer[name] for layer in layers if name in layer]
        value = getattr(resolved.settings, name)
        if not said or said[-1] is None:
            assert value == getattr(JobSettings(), name)
            assert resolved.origins[name] == DEFAULT
        elif name not in ("request", "input_data") and not isinstance(said[-1], Mapping):
            assert value == said[-1]
            assert layers[int(resolved.origins[name])][name] == said[-1]
        elif name == "environment":
            # A key's value is that of the last layer that names it, since the last layer that said None.
            heard: dict[str, Any] = {}
            for one in said:
                heard = {} if one is None else {**heard, **one}
            assert value == {key: str(one) for key, one in heard.items()}
        elif name == "input_data":
            assert all(isinstance(channel, Channel) for channel in value.values())


# -- one breach, found where it is

BREACHES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"instance_count": 0}, "instance_count"),
    ({"volume_size_in_gb": 0}, "volume_size_in_gb"),
    ({"max_runtime_in_seconds": 28 * 86400 + 1, "max_wait_in_seconds": None}, "max_runtime_in_seconds"),
    ({"max_retry_attempts": 31}, "max_retry_attempts"),
    ({"instance_typ": "ml.m5.xlarge"}, "instance_typ"),
    ({"tags": {"aws:x": "1"}}, "tags.aws:x"),
    ({"tags": {"long": "1" * 257}}, "tags.long"),
    ({"environment": {"CLARY_X": "1"}}, "environment.CLARY_X"),
    ({"environment": {"LONG": "1" * 513}}, "environment.LONG"),
    ({"environment": {"LIST": ["1"]}}, "environment.LIST"),
    ({"input_data": {"Vbad": {"uri": "s3://bucket/x", "mode": "Banana"}}}, "input_data.Vbad.mode"),
    ({"input_data": {"Vbad": "/tmp/x"}}, "input_data.Vbad.uri"),
    ({"output_data": "bucket"}, "output_data"),
    ({"output_kms_key": "a key"}, "output_kms_key"),
    ({"metric_definitions": {"long": "(" + "x" * 500 + ")"}}, "metric_definitions.long"),
    ({"enable_network_isolation": True}, "enable_network_isolation"),
    ({"use_spot": True, "keep_alive_period_in_seconds": 60, "instance_type": None, "training_plan": None},
     "keep_alive_period_in_seconds"),
    ({"use_spot": None, "max_wait_in_seconds": 1}, "max_wait_in_seconds"),
    ({"subnets": ["subnet-1", "vpc-1"], "security_group_ids": ["sg-1"]}, "subnets[1]"),
    ({"subnets": None, "security_group_ids": ["sg-1"], "registry_access": None}, "subnets"),
    ({"instance_type": ["ml.m5.xlarge", "ml.r5d.xlarge"], "volume_kms_key": "alias/disk", "use_spot": None,
      "max_wait_in_seconds": None, "training_plan": None}, "volume_kms_key"),
    ({"request": {"Banana": 1}}, "request.Banana"),
)  # fmt: skip


@settings(max_examples=150)
@given(fitting(), st.sampled_from(BREACHES))
def test_a_breach_is_found_at_its_path_and_nowhere_else(
    values: dict[str, Any], breach: tuple[dict[str, Any], str]
) -> None:
    wrong, path = breach
    merged = {**values, **{name: value for name, value in wrong.items() if not isinstance(value, dict)}}
    for name, value in wrong.items():
        if isinstance(value, dict):
            before = values.get(name)
            merged[name] = {**(before if isinstance(before, dict) else {}), **value}
    found = errors_of(validate(merged, at="", use=Use.FLOW, whole=True))
    assert [finding.path for finding in found] == [path]
    assert all(finding.message and finding.next_step for finding in found)

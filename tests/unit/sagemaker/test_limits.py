"""Limits of the loaded model: each sort of breach is found, named, and worded for a person and as the service would."""

from __future__ import annotations

from typing import Any

import pytest

from clary.sagemaker import breaches
from clary.sagemaker.findings import HIDDEN, Finding, Kind, Severity, errors_of, service_message, shown
from clary.sagemaker.limits import model_findings, service_model
from clary.sagemaker.patterns import compiled, fits
from sagemaker_requests import drop, good_request, put

OPERATIONS = (
    "CreateTrainingJob",
    "DescribeTrainingJob",
    "ListTrainingJobs",
    "StopTrainingJob",
    "UpdateTrainingJob",
    "CreateProcessingJob",
    "DescribeProcessingJob",
    "ListProcessingJobs",
    "StopProcessingJob",
    "AddTags",
    "ListTags",
    "DeleteTags",
)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def training(path: str, value: Any) -> Finding:
    return only(model_findings("CreateTrainingJob", put(good_request(), path, value)))


def reachable_shapes(operation: str) -> set[str]:
    model = service_model()
    seen: set[str] = set()
    waiting = [model["operations"][operation]["input"]["shape"]]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        shape = model["shapes"][name]
        waiting += [member["shape"] for member in shape.get("members", {}).values()]
        waiting += [shape[part]["shape"] for part in ("member", "key", "value") if part in shape]
    return seen


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "CreateProcessingJob"])
def test_a_good_request_has_no_findings(operation: str) -> None:
    assert model_findings(operation, good_request(operation)) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_pattern_that_jobs_need_can_be_checked(operation: str) -> None:
    shapes = service_model()["shapes"]
    patterns = {shapes[name].get("pattern") for name in reachable_shapes(operation)} - {None}
    assert [pattern for pattern in patterns if compiled(pattern) is None] == []


def test_the_model_is_read_once() -> None:
    assert service_model() is service_model()


@pytest.mark.parametrize(
    ("path", "value", "found", "kind", "limit"),
    [
        ("TrainingJobName", "x" * 63 + "-", "TrainingJobName", Kind.LENGTH, "at most 63 characters"),
        ("HyperParameters.depth", "9" * 2501, "HyperParameters.depth", Kind.LENGTH, "at most 2500 characters"),
        ("Environment.A", "x" * 513, "Environment.A", Kind.LENGTH, "at most 512 characters"),
        ("InputDataConfig", [], "InputDataConfig", Kind.LENGTH, "at least 1 item"),
        ("ResourceConfig.KeepAlivePeriodInSeconds", 21601, None, Kind.RANGE, "at most 21600"),
        ("StoppingCondition.MaxRuntimeInSeconds", 0, None, Kind.RANGE, "at least 1"),
        ("RetryStrategy.MaximumRetryAttempts", 31, None, Kind.RANGE, "at most 30"),
        ("Tags.0.Key", "a*b", "Tags[0].Key", Kind.PATTERN, None),
        ("InputDataConfig.0.ChannelName", "a b", "InputDataConfig[0].ChannelName", Kind.PATTERN, None),
        ("OutputDataConfig.S3OutputPath", "bucket/x", None, Kind.PATTERN, None),
        ("RoleArn", "arn:aws:iam::1:role/Runner", None, Kind.PATTERN, None),
        ("AlgorithmSpecification.TrainingInputMode", "Files", None, Kind.ENUM, None),
        ("ResourceConfig.InstanceCount", "1", None, Kind.TYPE, "a whole number"),
        ("ResourceConfig.InstanceCount", True, None, Kind.TYPE, "a whole number"),
        ("EnableManagedSpotTraining", "yes", None, Kind.TYPE, "true or false"),
        ("Environment", ["A=1"], None, Kind.TYPE, "an object"),
        ("Environment.A", None, None, Kind.TYPE, "text"),
        ("Tags", {"a": "b"}, None, Kind.TYPE, "a list"),
    ],
)
def test_each_sort_of_breach(path: str, value: Any, found: str | None, kind: Kind, limit: str | None) -> None:
    findings = model_findings("CreateTrainingJob", put(good_request(), path, value))
    finding = next(entry for entry in findings if entry.kind is kind)
    assert finding.path == (found or path)
    assert finding.severity is Severity.ERROR
    assert limit is None or finding.limit == limit
    assert finding.message
    assert finding.next_step


@pytest.mark.parametrize("path", ["TrainingJobName", "RoleArn", "OutputDataConfig", "OutputDataConfig.S3OutputPath"])
def test_a_missing_member_is_named_whole(path: str) -> None:
    finding = only(model_findings("CreateTrainingJob", drop(good_request(), path)))
    assert (finding.path, finding.kind) == (path, Kind.REQUIRED)


def test_a_misspelt_member_gets_the_nearest_right_one() -> None:
    finding = training("ResourceConfig.InstanceTyp", "ml.m5.xlarge")
    assert finding.kind is Kind.UNKNOWN_MEMBER
    assert "InstanceType" in finding.next_step
    assert service_message([finding]) == ""  # the service ignores what it does not know


@pytest.mark.parametrize("name", ["ml.m99.xlarge", "ml.m5.xlage", "ml.p9-b900.48xlarge"])
def test_an_unknown_instance_type_of_the_right_form_is_a_warning(name: str) -> None:
    finding = training("ResourceConfig.InstanceType", name)
    assert finding.severity is Severity.WARNING
    assert errors_of([finding]) == []


@pytest.mark.parametrize("name", ["m5.xlarge", "ml.m5", "ml.m5.", "ml..xlarge", "ml.M5.xlarge", "ml.m5.xlarge\n", ""])
def test_a_malformed_instance_type_is_an_error(name: str) -> None:
    assert training("ResourceConfig.InstanceType", name).severity is Severity.ERROR


def test_a_known_instance_type_of_jobs_is_no_finding() -> None:
    for name in ("ml.m4.xlarge", "ml.t3.medium", "ml.g5.xlarge"):
        assert model_findings("CreateTrainingJob", put(good_request(), "ResourceConfig.InstanceType", name)) == []


@pytest.mark.parametrize(
    ("older", "value", "severity"),
    [(True, "Quantum", Severity.WARNING), (True, "Filee", Severity.ERROR), (False, "Quantum", Severity.ERROR)],
)
def test_an_older_model_lets_a_value_pass_that_may_be_newer(
    monkeypatch: pytest.MonkeyPatch, older: bool, value: str, severity: Severity
) -> None:
    monkeypatch.setattr(breaches, "model_is_older", lambda: older)
    assert training("AlgorithmSpecification.TrainingInputMode", value).severity is severity


@pytest.mark.parametrize(
    ("version", "older"), [("1.43.11", True), ("1.44.5", False), ("1.44.5.dev1", False), ("2.0.0", False)]
)
def test_the_age_of_the_model_is_botocores(monkeypatch: pytest.MonkeyPatch, version: str, older: bool) -> None:
    import botocore

    monkeypatch.setattr(botocore, "__version__", version)
    assert breaches.model_is_older.__wrapped__() is older


def test_a_line_break_is_called_by_its_name() -> None:
    finding = training("AlgorithmSpecification.ContainerArguments.0", "one\ntwo")
    assert finding.path == "AlgorithmSpecification.ContainerArguments[0]"
    assert finding.value == r"one\ntwo"
    assert "line breaks" in finding.next_step


def test_an_environment_value_may_hold_line_breaks() -> None:
    assert model_findings("CreateTrainingJob", put(good_request(), "Environment.A", "one\ntwo")) == []


def test_the_request_itself_must_be_an_object() -> None:
    request: Any = ["x"]
    finding = only(model_findings("StopTrainingJob", request))
    assert finding.message == "The request must be an object, and is of type list."


def test_a_very_long_value_is_not_matched_against_its_pattern() -> None:
    assert training("OutputDataConfig.S3OutputPath", "s3://" + "x" * 1_000_000).kind is Kind.LENGTH


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        ("größe", True),
        ("日本 ٣Ⅷ²", True),
        ("a\u00a0b\u2003c", True),
        ("a_b.c:/=+-@", True),
        ("a#b", False),
        ("a\tb", False),
        ("é\u0301", False),
    ],
)
def test_tag_text_as_the_service_takes_it(text: str, fitting: bool) -> None:
    assert fits(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", text) is fitting


@pytest.mark.parametrize(
    ("text", "fitting"), [("AwsDataCatalog", True), ("a\tb \U0001d4b3", True), ("a\nb", False), ("\ufffe", False)]
)
def test_catalogue_names_as_athena_takes_them(text: str, fitting: bool) -> None:
    assert fits(r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", text) is fitting


def test_digits_in_patterns_are_ascii_as_in_java() -> None:
    assert not fits(
        r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+", "arn:aws:iam::٣23456789012:role/Runner"
    )


class TestServiceText:
    def test_one_error(self) -> None:
        finding = training("TrainingJobName", "a_b")
        assert service_message([finding]) == (
            "1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
        )

    def test_several_errors_and_nested_members(self) -> None:
        request = drop(put(good_request(), "InputDataConfig.0.ChannelName", "a b"), "RoleArn")
        assert service_message(model_findings("CreateTrainingJob", request)) == (
            "2 validation errors detected: "
            "Value null at 'roleArn' failed to satisfy constraint: Member must not be null; "
            "Value 'a b' at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [A-Za-z0-9\.\-_]+"
        )

    def test_entries_of_maps_and_plain_lists_are_reported_at_their_holder(self) -> None:
        value = training("HyperParameters.depth", "x" * 2501).service_text
        assert "at 'hyperParameters'" in value
        assert "Map value must satisfy constraint: [Member must have length less than or equal to 2500]" in value
        key = only(model_findings("CreateTrainingJob", good_request() | {"Environment": {"A B": "1"}})).service_text
        assert "Map keys must satisfy constraint: [Member must satisfy regular expression" in key
        item = training("AlgorithmSpecification.ContainerArguments.0", "x" * 257).service_text
        assert "at 'algorithmSpecification.containerArguments' failed" in item

    def test_warnings_are_not_the_services(self) -> None:
        assert service_message([training("ResourceConfig.InstanceType", "ml.m99.xlarge")]) == ""


class TestSecrets:
    def test_environment_values_are_never_shown(self) -> None:
        finding = training("Environment.HARMLESS", "hunter2" * 100)
        assert finding.value == HIDDEN
        assert "hunter2" not in repr(finding)

    def test_hyperparameters_with_telling_names_are_not_shown(self) -> None:
        finding = training("HyperParameters.api_key", "hunter2" * 500)
        assert "hunter2" not in repr(finding)

    @pytest.mark.parametrize(
        "text",
        [
            "--password=hunter2",
            "token: hunter2",
            "https://me:hunter2@host/",
            "AKIAIOSFODNN7EXAMPLE",
            "x?X-Amz-Signature=ab",
        ],
    )
    def test_telling_texts_are_not_shown(self, text: str) -> None:
        assert shown(text) == HIDDEN

    @pytest.mark.parametrize("name", ["TOKENIZER", "tokenizer_name", "TOKENIZERS_PARALLELISM", "TOKENISE"])
    def test_what_only_sounds_like_a_secret_is_shown(self, name: str) -> None:
        assert shown("bert-base", name=name) == "bert-base"

    def test_values_are_cut_and_on_one_line(self) -> None:
        assert shown("x" * 100) == "x" * 80 + "… (100 characters)"
        assert shown("a\nb\x00") == r"a\nb\x00"
        assert shown("tokenizer-1") == "tokenizer-1"
        assert shown({"a": 1}) == "{'a': 1}"

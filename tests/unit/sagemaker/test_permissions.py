"""The least policies: what they hold, for which ARNs, and that IAM would take them."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.cli import iam
from clary.errors import UsageError
from clary.sagemaker import permissions
from clary.sagemaker.permissions import KINDS, LONGEST_POLICY, granting, optional, policy, trust
from clary.sagemaker.statements import literal
from clary.stacks.model import Stack, local_stack
from clary.stacks.scope import scope_of

ACCOUNT = "123456789012"
STACK = Stack(
    name="team",
    type="sagemaker",
    artifact_store="s3://artifacts/team/clary/",
    region="eu-west-1",
    execution_role=f"arn:aws:iam::{ACCOUNT}:role/path/execution",
    container_registry=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team",
    scheduler_role=f"arn:aws:iam::{ACCOUNT}:role/scheduler",
    image="763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.6-cpu",
)
FULL = replace(
    STACK,
    settings={
        "subnets": ["subnet-1", "subnet-2"],
        "security_group_ids": ("sg-1",),
        "volume_kms_key": "11111111-2222-3333-4444-555555555555",
        "output_kms_key": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/data",
        "checkpoint_s3_uri": "s3://elsewhere/checkpoints/",
        "input_data": {"training": {"uri": "s3://data/2026"}},
        "registry_credentials_lambda": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:registry",
        "registry_access": "Vpc",
        "enable_remote_debug": True,
    },
    secrets={"flavor": "ssm", "prefix": "clary/team", "kms_key": "alias/secrets"},
)
STACKS = {"plain": STACK, "full": FULL, "secrets manager": replace(FULL, secrets={"kms_key": "alias/secrets"})}


def document(kind: str, stack: Stack = STACK) -> dict[str, dict[str, Any]]:
    """Return a policy's statements by their Sid."""
    return {statement["Sid"]: statement for statement in policy(kind, scope_of(stack))["Statement"]}


def patterns(stack: Stack) -> list[tuple[str, str, str]]:
    """Return (Sid, action, resource) of every kind's policy."""
    return [
        (statement["Sid"], action, resource)
        for kind in KINDS
        for statement in policy(kind, scope_of(stack))["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    ]


@functools.cache
def published() -> dict[str, Any]:
    """Return what cfn-lint knows of IAM's services: actions, the resources that they take, and the forms of those."""
    package = importlib.util.find_spec("cfnlint")
    assert package is not None
    assert package.origin is not None
    table = Path(package.origin).parent / "data" / "AdditionalSpecs" / "Policies.json"
    found: dict[str, Any] = json.loads(table.read_bytes())
    return found


class TestForm:
    @pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_iam_would_take_it(self, kind: str, stack: Stack) -> None:
        found = policy(kind, scope_of(stack))
        assert found["Version"] == "2012-10-17"
        assert len(json.dumps(found, separators=(",", ":"))) < LONGEST_POLICY / 2, "leave room for people's own"
        sids = [statement["Sid"] for statement in found["Statement"]]
        assert len(set(sids)) == len(sids)
        for statement in found["Statement"]:
            assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", statement["Sid"])
            assert statement["Effect"] == "Allow"
            assert statement["Action"]
            assert statement["Resource"]
            assert not any("*" in action for action in statement["Action"])
            assert "None" not in json.dumps(statement)

    def test_a_kind_that_does_not_exist_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UsageError) as refused:
            policy("sheduler", scope_of(STACK))
        assert refused.value.code == "iam.unknown_kind"
        assert "scheduler" in refused.value.next_step
        with pytest.raises(UsageError, match="There is no policy"):
            trust("x", scope_of(STACK))

    def test_the_command_line_knows_the_same_kinds(self) -> None:
        assert iam.KINDS == permissions.KINDS


class TestPublished:
    """Every action, resource and condition key is one that AWS publishes.

    The table is cfn-lint's, which is made of the Service Authorization Reference.
    """

    @pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
    def test_actions_exist_and_take_these_resources(self, stack: Stack) -> None:
        services = published()
        for sid, action, resource in patterns(stack):
            prefix, _, name = action.partition(":")
            known = services[prefix]["Actions"].get(name.lower())
            assert known is not None, f"{sid}: {action} is not an action"
            kinds = known.get("Resources", [])
            if resource == "*":
                # PutMetricData takes a data set in some newer uses, the metrics of a job have none.
                assert not kinds or action == "cloudwatch:PutMetricData", f"{sid}: {action} could name {kinds}"
                continue
            forms = [form for kind in kinds for form in services[prefix]["Resources"][kind.lower()]["ARNFormats"]]
            assert any(_covers(form, resource) for form in forms), f"{sid}: {action} on {resource}, not {forms}"

    def test_the_passed_role_is_of_one_service_only(self) -> None:
        for kind in KINDS:
            for statement in policy(kind, scope_of(FULL))["Statement"]:
                if "iam:PassRole" in statement["Action"]:
                    assert statement["Action"] == ["iam:PassRole"]
                    assert not any("*" in role for role in statement["Resource"])
                    assert list(statement["Condition"]["StringEquals"]) == ["iam:PassedToService"]


def _covers(form: str, resource: str) -> bool:
    """Tell whether a resource, or pattern of them, is of the form that a service publishes."""
    pattern = re.sub(r"\$\{\w+\}", "[^:]*", form)
    return re.fullmatch(pattern, resource) is not None


class TestArns:
    def test_are_those_of_the_stack(self) -> None:
        statements = document("submitter")
        assert statements["ListArtifacts"]["Resource"] == ["arn:aws:s3:::artifacts"]
        assert statements["ListArtifacts"]["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["team/clary/*"]}}
        assert statements["WriteArtifacts"]["Resource"] == ["arn:aws:s3:::artifacts/team/clary/*"]
        assert statements["StartJobs"]["Resource"] == [f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:training-job/*"]
        assert statements["PassExecutionRole"]["Resource"] == [STACK.execution_role]
        assert statements["KeepSecrets"]["Resource"] == [f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:clary/*"]

    @pytest.mark.parametrize(
        ("partition", "region", "suffix"),
        [
            ("aws-cn", "cn-north-1", "amazonaws.com.cn"),
            ("aws-us-gov", "us-gov-west-1", "amazonaws.com"),
            ("aws-eusc", "eusc-de-east-1", "amazonaws.eu"),
        ],
    )
    def test_of_another_partition(self, partition: str, region: str, suffix: str) -> None:
        stack = replace(
            FULL,
            region=region,
            execution_role=f"arn:{partition}:iam::{ACCOUNT}:role/x",
            scheduler_role=f"arn:{partition}:iam::{ACCOUNT}:role/y",
            container_registry=f"{ACCOUNT}.dkr.ecr.{region}.{suffix}/team",
            image=None,
            settings={
                **FULL.settings,
                "output_kms_key": "data",
                "registry_credentials_lambda": f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:registry",
            },
        )
        for _, _, resource in patterns(stack):
            if resource != "*":
                assert resource.startswith(f"arn:{partition}:")
                assert resource.split(":")[3] in ("", region)

    def test_a_bucket_without_prefix_is_reached_whole(self) -> None:
        statements = document("execution", replace(STACK, artifact_store="s3://artifacts"))
        assert "Condition" not in statements["ListArtifacts"]
        assert statements["ReadArtifacts"]["Resource"] == ["arn:aws:s3:::artifacts/*"]

    def test_a_jobs_code_cannot_be_changed_by_a_job(self) -> None:
        written = document("execution")["WriteArtifacts"]["Resource"]
        assert written == [f"arn:aws:s3:::artifacts/team/clary/{name}/*" for name in ("cache", "runs", "values")]

    def test_images_of_the_registry_and_of_the_stack_are_pulled(self) -> None:
        assert document("execution")["PullImages"]["Resource"] == [
            f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/team",
            "arn:aws:ecr:eu-west-1:763104351884:repository/pytorch-training",
        ]
        bare = replace(STACK, container_registry=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com", image="public.org/x:1")
        assert document("execution", bare)["PullImages"]["Resource"] == [
            f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/*"
        ]

    def test_what_the_settings_do_not_name_is_left_out(self) -> None:
        assert not {"MakeNetworkInterfaces", "EncryptVolumes", "EncryptOutput", "WriteFolders"} & set(
            document("execution")
        )
        assert {"MakeNetworkInterfaces", "EncryptVolumes", "EncryptOutput", "WriteFolders", "OpenShells"} <= set(
            document("execution", FULL)
        )
        local = replace(STACK, secrets={"flavor": "local"}, scheduler_role=None)
        assert "ReadSecrets" not in document("execution", local)
        assert document("agent", local).keys() == document("submitter", local).keys()

    def test_keys_are_named_by_arn_and_aliases_by_a_condition(self) -> None:
        statements = document("execution", FULL)
        key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
        assert statements["EncryptVolumes"]["Resource"] == [key]
        by_alias = statements["DecryptSecretsByAlias"]
        assert by_alias["Resource"] == [f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/*"]
        assert by_alias["Condition"] == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/secrets"]}}

    def test_data_elsewhere_is_read_and_folders_are_written(self) -> None:
        statements = document("execution", FULL)
        assert statements["ReadFolders"]["Resource"] == [
            "arn:aws:s3:::data/2026*",
            "arn:aws:s3:::elsewhere/checkpoints*",
        ]
        assert statements["WriteFolders"]["Resource"] == ["arn:aws:s3:::elsewhere/checkpoints/*"]
        assert statements["ListFolders"]["Resource"] == ["arn:aws:s3:::data", "arn:aws:s3:::elsewhere"]

    def test_parameters_lie_in_a_folder(self) -> None:
        resource = f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/clary/team/*"
        assert document("execution", FULL)["ReadSecrets"]["Resource"] == [resource]

    def test_a_local_stack_is_refused(self) -> None:
        with pytest.raises(UsageError) as refused:
            scope_of(local_stack("/somewhere"))
        assert refused.value.code == "iam.local_stack"

    @given(st.text())
    def test_signs_of_a_prefix_mean_themselves(self, text: str) -> None:
        """Read back as IAM reads it, a literal is the text, and nothing in it is a wildcard."""
        escaped = literal(text)
        assert re.sub(r"\$\{([*?$])\}", r"\1", escaped) == text
        assert not re.search(r"[*?$]", re.sub(r"\$\{[*?$]\}", "", escaped))


class TestTrust:
    @pytest.mark.parametrize(
        ("kind", "service"), [("execution", "sagemaker.amazonaws.com"), ("scheduler", "scheduler.amazonaws.com")]
    )
    def test_a_service_acts_for_this_account_only(self, kind: str, service: str) -> None:
        (statement,) = trust(kind, scope_of(STACK))["Statement"]
        assert statement["Principal"] == {"Service": service}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}

    @pytest.mark.parametrize("kind", ["submitter", "agent", "builder"])
    def test_others_are_assumed_by_the_account(self, kind: str) -> None:
        (statement,) = trust(kind, scope_of(STACK))["Statement"]
        assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


class TestGranting:
    def test_gives_the_statement_narrowed_to_the_action(self) -> None:
        found = granting("submitter", scope_of(STACK), "sagemaker:StopTrainingJob")
        assert found is not None
        assert (found["Sid"], found["Action"]) == ("WatchAndStopJobs", ["sagemaker:StopTrainingJob"])
        assert granting("scheduler", scope_of(STACK), "s3:GetObject") is None

    def test_what_runs_do_without_is_told(self) -> None:
        left = {sid for sid, statement in document("submitter").items() if not optional(statement)}
        assert left == {
            "ListArtifacts",
            "ReadArtifacts",
            "WriteArtifacts",
            "StartJobs",
            "WatchAndStopJobs",
            "PassExecutionRole",
            "ReadJobLogs",
        }

"""How many machines the account may use at once: the quotas of the stack's instance types.

Source of the names: their grammar in Service Quotas, ``<type> for training job usage`` and so on; new accounts have
0 of many types (amazon-sagemaker-examples#263 and #593).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.doctor.findings import Check, Finding, failed, ok, unchecked, warning
from clary.sagemaker.limits import service_model

if TYPE_CHECKING:
    from clary.doctor.subject import Quota, Subject

_LIST = ("servicequotas:ListServiceQuotas",)


def _training(subject: Subject) -> Finding | None:
    return None if subject.settings().use_spot else _usage(subject, "training job")


def _spot(subject: Subject) -> Finding | None:
    return _usage(subject, "spot training job") if subject.settings().use_spot else None


def _warm_pool(subject: Subject) -> Finding | None:
    """Without this quota SageMaker leaves keep_alive_period_in_seconds aside and says nothing."""
    return _usage(subject, "training warm pool") if subject.settings().keep_alive_period_in_seconds else None


def _processing(subject: Subject) -> Finding | None:
    """Flows run as training jobs, so this is no failure: it concerns only the processing steps of pipelines."""
    known = service_model()["shapes"]["ProcessingInstanceType"]["enum"]
    types = tuple(each for each in subject.instance_types if each in known)
    if not types:
        return None
    finding = _usage(subject, "processing job", types)
    return warning(finding.summary, finding.fix) if finding.fix else finding


def _usage(subject: Subject, usage: str, types: tuple[str, ...] = ()) -> Finding:
    """Judge the quotas of the stack's types for a usage. Of several types that stand in for each other one will do."""
    wanted = int(subject.settings().instance_count)
    quotas = subject.quotas()
    names = {each: f"{each} for {usage} usage" for each in types or subject.instance_types}
    unlisted = [name for name in names.values() if name not in quotas]
    short = {name: quotas[name] for name in names.values() if name in quotas and quotas[name].value < wanted}
    if unlisted and len(unlisted) + len(short) == len(names):
        return unchecked(f"Service Quotas does not list: {', '.join(unlisted)}.", fix="Look at the type's name.")
    if not short:
        return ok(", ".join(f"{quotas[name].value:g} of {each}" for each, name in names.items() if name in quotas))
    told = " ".join(f"'{name}' is {quota.value:g}; {wanted} wanted." for name, quota in short.items())
    fix = "; ".join(_increase(subject, quota, wanted) for quota in short.values())
    return failed(told, fix) if len(short) == len(names) else warning(told, fix)


def _increase(subject: Subject, quota: Quota, wanted: int) -> str:
    if not quota.adjustable:
        return f"Quota {quota.code} cannot be raised: choose another instance type"
    return (
        f"aws service-quotas request-service-quota-increase --service-code sagemaker --quota-code {quota.code} "
        f"--desired-value {wanted} --region {subject.aws.region}"
    )


CHECKS = (
    Check("quota-training", "Quota, training", _training, _LIST),
    Check("quota-spot", "Quota, spot", _spot, _LIST),
    Check("quota-warm-pool", "Quota, warm pool", _warm_pool, _LIST),
    Check("quota-processing", "Quota, processing", _processing, _LIST),
)

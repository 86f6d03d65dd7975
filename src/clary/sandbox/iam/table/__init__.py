"""What every operation needs: (service, operation) to actions, resources and condition keys.

Source: AWS's Service Authorization Reference; ``tests/unit/sandbox_iam/test_table.py`` compares with a copy of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table import (
    cloudformation,
    ec2,
    ecr,
    events,
    identity,
    kms,
    logs,
    s3,
    sagemaker,
    scheduler,
    secretsmanager,
    servicequotas,
    sqs,
    ssm,
    sts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.sandbox.iam.table.spec import Need, Rows

TABLE: Mapping[str, Rows] = {
    "cloudformation": cloudformation.ROWS,
    "ec2": ec2.ROWS,
    "ecr": ecr.ROWS,
    "events": events.ROWS,
    "iam": identity.ROWS,
    "kms": kms.ROWS,
    "logs": logs.ROWS,
    "s3": s3.ROWS,
    "sagemaker": sagemaker.ROWS,
    "scheduler": scheduler.ROWS,
    "secretsmanager": secretsmanager.ROWS,
    "servicequotas": servicequotas.ROWS,
    "sqs": sqs.ROWS,
    "ssm": ssm.ROWS,
    "sts": sts.ROWS,
}
"""The rows of each service, by the prefix of its actions."""


def needs_of(service: str, operation: str) -> Sequence[Need] | None:
    """Return what an operation needs; None when it is not in the table."""
    return TABLE.get(service, {}).get(operation)

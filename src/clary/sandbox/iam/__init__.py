"""Authorisation of every request, on demand (``--iam enforce``): policies as AWS evaluates them, refusals in its words.

``guard`` is the door: who asks (``principals``), what the request needs (``table``), and whether that is allowed
(``evaluate``). ``platform`` asks the same on behalf of the execution role of a job, ``simulate`` answers IAM's
simulation operations.
"""

from __future__ import annotations

SESSION_NAME = "SageMaker"
"""The name of the sessions in which SageMaker uses a job's role."""
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
"""A policy that allows everything."""

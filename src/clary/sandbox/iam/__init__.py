"""Authorisation of every request, on demand (``--iam enforce``): policies as AWS evaluates them, refusals in its words.

``guard`` is the door: who asks (``principals``), what the request needs (``table``), and whether that is allowed
(``evaluate``). ``platform`` asks the same on behalf of the execution role of a job, ``simulate`` answers IAM's
simulation operations.
"""

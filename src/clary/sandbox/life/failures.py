"""Ways a job ends without its containers' doing."""

from __future__ import annotations


class JobFailed(Exception):  # noqa: N818 - a state of the job, not a mistake of the program
    """The job ends as Failed; the text is its FailureReason."""


class JobStopped(Exception):  # noqa: N818 - a state of the job, not a mistake of the program
    """The job was stopped before a container of it ran."""


class LetGo(Exception):  # noqa: N818 - a state of the job, not a mistake of the program
    """The sandbox closes: leave the job as it is, to be taken up later."""

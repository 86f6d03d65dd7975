"""Taking back the schedules that jobs have made to wake their runs. Making them is ``clary.runtime.waking``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.errors import ClaryError
from clary.runtime.waking import schedule_name
from clary.sagemaker.statements import SCHEDULE_GROUP

if TYPE_CHECKING:
    from clary.agent.place import Place


def unschedule(place: Place, run: str, attempt: int) -> bool:
    """Delete the schedule of a reserved attempt that goes on earlier, or never will; return whether there was one.

    It only saves a job that would end itself, for the log is not opened twice: so who may not delete schedules, or
    cannot reach the service, goes on without.
    """
    try:
        with place.aws.call("scheduler:DeleteSchedule") as scheduler:
            scheduler.delete_schedule(GroupName=SCHEDULE_GROUP, Name=schedule_name(run, attempt))
    except ClaryError:
        return False
    return True

"""A failure in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.agent.views import FailureView
from run_views import RUN, Services, run_view

if TYPE_CHECKING:
    from command_line import CommandLine


def test_the_members_of_a_group_are_all_shown_below_its_deep_frames(clary: CommandLine, services: Services) -> None:
    members = [line for number in range(5) for line in (f"• E: {number}", *(f"  b.py:{at} in g" for at in range(5)))]
    frames = (*(f"a.py:{number} in f" for number in range(1000)), *members, "• 3 more")
    services.ended = run_view("failed", failure=FailureView("user_code", "ExceptionGroup: x", "Mend it.", "no", frames))
    shown = clary("runs", "show", RUN).out
    assert "a.py:3 in f\n  … 984 more\n  a.py:988 in f" in shown
    assert "a.py:999 in f\n  • E: 0\n    b.py:0 in g\n" in shown
    assert all(f"  {line}\n" in shown for line in members)
    assert "  • 3 more\nNext step: Mend it." in shown

"""The job's entry point, at the top of the runtime tree: ``python3 /opt/ml/input/data/runtime/start.py``.

Written so that any Python 3 can read it: an interpreter that is too old is told apart from a broken image.
"""

import os
import sys


def start():  # type: ignore[no-untyped-def]  # read by interpreters without annotations too
    """Hand over to the supervisor, and return the container's exit code."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.version_info < (3, 11):
        reason = "image: Python 3.11 or newer is needed in the image, and python3 is " + sys.version.split()[0]
        with open("/opt/ml/output/failure", "w") as file:
            file.write(reason + "\n")
        sys.stderr.write(reason + "\n")
        return 1
    sys.path[0] = here  # the runtime's own packages come before the image's
    from clary.runtime import supervisor

    if sys.argv[1:2] == [supervisor.CHILD]:
        supervisor.be_the_child(supervisor.OPT_ML, int(sys.argv[2]))
    return supervisor.supervise()


if __name__ == "__main__":
    sys.exit(start())  # type: ignore[no-untyped-call]  # likewise

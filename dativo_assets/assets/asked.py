"""What Dagster is about with the code that it loads. It tells the code nothing of that, so its stack is read: where a version
of Dagster looks otherwise, each answer is that nothing is known, and the project is loaded whole.
"""

import sys
import traceback

import dagster as dg

# Where the process of a run, or of a step of one, begins. Other processes may run several, with one load of the code.
_BEGINNINGS = {
    ("dagster._grpc.impl", "core_execute_run"),
    ("dagster._cli.api", "_execute_step_command_body"),
    ("dagster._core.executor.multiprocess", "execute"),
}
_LOADER = ("dagster._core.definitions.reconstruct", "_repository_def_from_target_def_inner")


def run_of_process() -> dg.DagsterRun | None:
    """The run that this process was made for."""
    for frame, _ in traceback.walk_stack(sys._getframe(1)):
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _BEGINNINGS:
            found = frame.f_locals.get("dagster_run", getattr(frame.f_locals.get("self"), "dagster_run", None))
            return found if isinstance(found, dg.DagsterRun) else None
    return None


def for_a_location() -> bool:
    """Whether the caller's caller takes what it asks for as all there is in a code location."""
    frame = sys._getframe(2)
    return (frame.f_globals.get("__name__"), frame.f_code.co_name) == _LOADER

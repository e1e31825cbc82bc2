"""The ``framencc`` command: it parses, calls one function of the package, and turns errors into one line each.

Nothing is imported here that takes its time: the first thing a command does is to set its signal handlers.
"""

import os
import shlex
import sys
import warnings
from collections.abc import Sequence

from framencc.cli import process
from framencc.cli.signals import MESSAGE, Handlers, Interrupted
from framencc.cli.streams import escaped_output, flush_results, forget, say
from framencc.errors import FramenccError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after the program's name; if omitted those of the process, which is then taken to exist for this
        command alone.

    Returns
    -------
    int
        0 done; 1 failed; 2 wrong usage or spec; 3 input damaged, partial result kept; 129, 130 or 143 interrupted.
    """
    own_process = arguments is None
    words = sys.argv[1:] if arguments is None else arguments
    if own_process and not sys.warnoptions:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of metadata, past our own lines on stderr
    if own_process:
        process.claim()
    try:
        with escaped_output(), Handlers(own_process=own_process):
            code = _run(words)
    except Interrupted as interrupted:
        code = _complain(_with_notes(MESSAGE, interrupted, words), 128 + interrupted.number)
        if own_process:
            # The work has undone itself, but a compiler that was interrupted can crash when Python takes it apart.
            os._exit(code)
    process.release()
    return code


def _run(words: Sequence[str]) -> int:
    try:
        from framencc.cli.commands import carry_out  # noqa: PLC0415  (slow: the handlers are set by now)

        carry_out(words)
        flush_results()
    except FramenccError as error:
        return _complain(_with_notes(str(error), error, words), error.exit_code)
    except BrokenPipeError:
        # Whoever read our results has closed the pipe; Python must not complain of it again at exit.
        forget(sys.stdout)
        return 1
    except SystemExit as end:
        # Python's own rule: None is success, a number is the exit code, and anything else is a message and a failure.
        if end.code is None or isinstance(end.code, int):
            return int(end.code or 0)
        return _complain(str(end.code), 1)
    except Exception as error:
        if os.environ.get("FRAMENCC_TRACEBACK"):
            raise
        problem = f"internal error, {type(error).__name__}: {error}"
        advice = "set FRAMENCC_TRACEBACK=1 to see where, and report it"
        return _complain(_with_notes(f"{problem}; {advice}", error, words), 1)
    return 0


def _with_notes(message: str, error: BaseException, words: Sequence[str]) -> str:
    """Add what was noted of the work that was cut off, and the command that goes on with it."""
    notes = getattr(error, "__notes__", ())
    if not notes:
        return message
    command = shlex.join(["framencc", *words, *(() if "--resume" in words else ("--resume",))])
    return "; ".join([message, *notes]) + f": {command}"


def _complain(message: str, code: int) -> int:
    say(f"error: {message}")
    return code

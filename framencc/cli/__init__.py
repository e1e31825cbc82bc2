"""The ``framencc`` command: it parses, calls one function of the package, and turns errors into one line each."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from cyclopts import CycloptsError

from framencc.errors import FramenccError

__all__ = ["main"]

USAGE_ERROR = 2


class _Interrupted(BaseException):
    """A signal asks the program to end; a BaseException, so that nothing takes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after the program's name; those of the process if omitted.

    Returns
    -------
    int
        0 done; 1 failed; 2 wrong usage or spec; 3 input damaged, partial result kept; 130 or 143 interrupted.
    """
    from framencc.cli.commands import app  # noqa: PLC0415  (the errors above exist without it)

    restore = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        app(sys.argv[1:] if arguments is None else arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(str(error), USAGE_ERROR)
    except FramenccError as error:
        return _complain(str(error), error.exit_code)
    except _Interrupted as interrupted:
        return _complain("interrupted; no output is half-written", 128 + interrupted.number)
    except BrokenPipeError:
        # Whoever read our results has closed the pipe; Python must not complain of it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        if os.environ.get("FRAMENCC_TRACEBACK"):
            raise
        return _complain(
            f"internal error, {type(error).__name__}: {error}; set FRAMENCC_TRACEBACK=1 to see where, and report it", 1
        )
    finally:
        for number, handler in restore.items():
            signal.signal(number, handler)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  (the signal's own signature)
    # A second signal must not break into the clean-up that the first one started.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    raise _Interrupted(number)


def _complain(message: str, code: int) -> int:
    print(f"framencc: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return code

"""How the command ends when a signal asks it to: with one line, and with nothing half-done, whatever it was doing.

While modules are loaded there is nothing to undo, and the process ends at once: an exception in the middle of an
import may be swallowed there, or printed from where nobody can catch it. Once the work begins, the signal becomes an
exception, so that the work can undo itself.
"""

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn, Self

from framencc.interrupts import SIGNALS

MESSAGE = "interrupted; no output is half-written"
_A_MOMENT = 0.02  # seconds, in which a callback returns


class Interrupted(BaseException):
    """A signal asks the program to end; a BaseException, so that nothing takes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Handlers:
    """The command's own signal handlers, for the time of a ``with`` block.

    Parameters
    ----------
    own_process
        Whether the process exists for the command alone. Only then may a signal end it at once, and afterwards nothing
        is put back: a signal while Python shuts down must not spoil the end of a command that is over.
    """

    def __init__(self, *, own_process: bool) -> None:
        self._own_process = own_process
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        for number in SIGNALS:
            before = signal.getsignal(number)
            # Under nohup a hangup is ignored from the start, and has to stay so. None: not set by Python.
            if before is None or (number.name == "SIGHUP" and before == signal.SIG_IGN):
                continue
            self._before[number] = before
            signal.signal(number, _end_at_once if self._own_process else _interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._own_process else before)
        if not self._own_process:
            sys.unraisablehook = self._hook


def work_begins() -> None:
    """Let a signal from here on interrupt the work, which then undoes itself, instead of ending the process at once."""
    for number in SIGNALS:
        if signal.getsignal(number) is _end_at_once:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  (the signal's own signature)
    # A second signal must not break into the clean-up that the first one started.
    for ignored in SIGNALS:
        signal.signal(ignored, signal.SIG_IGN)
    sys.unraisablehook = _after_interrupt
    raise Interrupted(number)


def _after_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """Take what Python cannot raise, from a destructor or a compiler's callback, once the work is interrupted.

    The interrupt itself may be lost there, and is sent again. Whatever else fails does so because of it: objects that
    were interrupted while they were being made or destroyed, for example.
    """
    if isinstance(unraisable.exc_value, Interrupted):
        number = unraisable.exc_value.number
        signal.signal(number, _interrupt)
        again = threading.Timer(_A_MOMENT, signal.raise_signal, (number,))
        again.daemon = True
        again.start()


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  (the signal's own signature)
    # Past every buffer and lock, because any of them may be in use just now. There may be no stderr.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.write(sys.stderr.fileno(), f"framencc: error: {MESSAGE}\n".encode())
    os._exit(128 + number)

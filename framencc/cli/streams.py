"""What the command writes: results on stdout, all else on stderr. A stream that takes nothing is no internal error."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from framencc.errors import SinkError


def say(message: str) -> None:
    """Write one line to stderr, if there is one that takes it."""
    if sys.stderr is None:  # print would take stdout instead
        return
    line = f"framencc: {' '.join(message.split())}"
    try:
        if (bars := sys.modules.get("tqdm")) is not None:
            bars.tqdm.write(line, file=sys.stderr)  # above a progress bar, if there is one
        else:
            print(line, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:  # a full disk, a terminal that is gone
        forget(sys.stderr)


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Escape what the encoding of stdout or stderr cannot spell in the ``with`` block, as Python writes it in a string.

    A file name decides over no exit code. A stream that has another rule than to fail, as stdout in the C locale, which
    passes the bytes of a file name through, keeps it.
    """
    changed = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            with contextlib.suppress(OSError, ValueError):  # closed, or what it still holds cannot be written
                stream.reconfigure(errors="backslashreplace")
                changed.append(stream)
    try:
        yield
    finally:
        for stream in changed:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="strict")


@contextlib.contextmanager
def results(meaning: str = "") -> Iterator[None]:
    """Make sure that what is printed in the ``with`` block arrives.

    Parameters
    ----------
    meaning
        What a user must know if it does not; the message begins with it.

    Raises
    ------
    BrokenPipeError
        When whoever reads stdout has closed it.
    SinkError
        When stdout takes nothing for another reason.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, UnicodeError) as error:
        forget(sys.stdout)
        reason = getattr(error, "strerror", None) or error
        raise SinkError(f"{meaning}stdout cannot be written: {reason}") from None


def flush_results() -> None:
    """Bring what has been printed on its way; errors as of `results`."""
    with results():
        pass


def forget(stream: TextIO) -> None:
    """Send what a stream still holds nowhere; else Python would fail at it once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

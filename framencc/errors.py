"""Every error a user can meet: one clear line each, and the exit code it ends a command with."""

from typing import ClassVar


class FramenccError(Exception):
    """Base of all errors raised on purpose; its text is one line that says what, where and what to do."""

    exit_code: ClassVar[int] = 1


class SpecError(FramenccError, ValueError):
    """The request cannot be carried out as written: an option, a path or a combination is wrong."""

    exit_code = 2


class SourceError(FramenccError, OSError):
    """Frames or a reference picture cannot be read."""


class UnreadableNowError(SourceError):
    """Reading was cut short by the system (a decoder killed, stalled or not started): the file may well be whole."""


class WarpError(FramenccError):
    """A frame cannot be brought onto the reference."""


class SinkError(FramenccError, OSError):
    """Maps cannot be written."""


class DamagedInputError(SourceError):
    """The input ends early or decodes with errors; what came before the damage is good.

    Attributes
    ----------
    warnings
        What a user should know of the inputs besides, where a run has kept a partial result.
    """

    exit_code = 3
    warnings: tuple[str, ...] = ()


class MissingExtraError(FramenccError, ImportError):
    """An optional package is not installed; the message names the pip command that installs it."""

    exit_code = 2

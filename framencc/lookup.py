"""Looking at paths that a user gives: whether something is there, and what. Every other answer is one line.

`pathlib` and `os.path` answer "no" to some of what can go wrong, raise the rest, and draw the line elsewhere in each
version of Python.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from framencc.errors import FramenccError, SourceError, SpecError

_BYTES_A_PIXEL = 16  # two times four samples of 16 bits
_BYTES_BESIDE = 64 << 20  # profiles, descriptions, a film behind a photo

# Such a path can name nothing, whoever asks.
_WRONG = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


def look_up(path: str | Path, where: str) -> os.stat_result | None:
    """Look at what a path names, through links.

    Parameters
    ----------
    path
        The path.
    where
        How messages name it.

    Returns
    -------
    os.stat_result or None
        None where there is nothing of that name.

    Raises
    ------
    SpecError
        When no file can have such a name, or its links lead in a circle.
    SourceError
        When the system does not tell, as of a folder without permission.
    """
    try:
        return os.stat(path)  # noqa: PTH116  (the path may be of either type)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        kind = SpecError if error.errno in _WRONG else SourceError
        raise kind(f"{where} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL character, or one that the system's encoding has not
        raise SpecError(f"{where} cannot be read: {error}") from None


def is_file(path: str | Path, where: str) -> bool:
    """Whether a path names a regular file; errors as of `look_up`."""
    status = look_up(path, where)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_listed_file(path: Path, where: str) -> bool:
    """Whether what a folder lists is a regular file; errors as of `look_up`.

    Raises
    ------
    SourceError
        When it is a link that leads nowhere: a frame that is lost, not one that is not meant.
    """
    status = look_up(path, where)
    if status is None:
        raise SourceError(f"{where} cannot be read: {path.name!r} is a link that leads nowhere")
    return stat.S_ISREG(status.st_mode)


def is_folder(path: str | Path, where: str) -> bool:
    """Whether a path names a folder; errors as of `look_up`."""
    status = look_up(path, where)
    return status is not None and stat.S_ISDIR(status.st_mode)


def require_file(path: str | Path, where: str) -> os.stat_result:
    """Look at a path, and refuse it where it names nothing, or a pipe, socket or device, which could wait for ever.

    A folder passes: that it is one is what opening it says.

    Raises
    ------
    SpecError
        When it is none that can be read more than once; also as of `look_up`.
    SourceError
        As of `look_up`.
    """
    status = look_up(path, where)
    if status is None:
        raise SpecError(f"{where} does not exist")
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise SpecError(f"{where} is not a regular file, and framencc reads it more than once")
    return status


def read_file(path: str | Path, where: str) -> bytes:
    """Read a file whole.

    Raises
    ------
    SourceError
        When that cannot be done, or it is a pipe, a socket or a device.
    """
    path = Path(path)
    with reading(where):
        mode = path.stat().st_mode
        # What a shell makes of <(command) is a pipe as well, but one that somebody writes to.
        is_substitution = stat.S_ISFIFO(mode) and path.parts[1:2] in (("dev",), ("proc",))
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or is_substitution):
            raise SourceError(f"{where} is not a regular file")
        return path.read_bytes()


def check_file_size(file: BinaryIO, size: tuple[int, int], where: str) -> None:
    """Refuse a picture file that is far larger than its pixels need, before it is read.

    Parameters
    ----------
    file
        The opened file; its position does not change.
    size
        Height and width, which have been checked.
    where
        How messages name the file.

    Raises
    ------
    SourceError
        When it is.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    most = _BYTES_BESIDE + _BYTES_A_PIXEL * size[0] * size[1]
    if n_bytes > most:
        raise SourceError(
            f"{where} has {n_bytes} bytes, too many for {size[1]} x {size[0]} pixels: up to {most} are read; save it "
            f"again, without what is not the image"
        )


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Say in one line why something cannot be read in the ``with`` block.

    Raises
    ------
    SourceError
        When the system fails there.
    """
    try:
        yield
    except FramenccError:
        raise
    except (OSError, UnicodeEncodeError) as error:
        raise SourceError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from None

"""What the readers of containers share: the answer, and a file that is read in bounded pieces."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

MAX_TABLE_BYTES = 1 << 26
"""A table as large as this tells of days of video; a larger one is no table, or not worth its memory."""
MAX_ENTRIES = 1 << 22
MAX_CHUNKS = 1 << 18
MOST_REORDERED = 16
"""A decoder holds at most so many pictures back to show them in another order."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a container says of a video stream.

    Parameters
    ----------
    n_frames
        How many frames a decoder has to yield; None where that cannot be relied on.
    n_stored
        How many frames the tables list, those included that lie beyond the end of the file and those that an edit list
        hides; None where they do not say.
    cut
        Why the file cannot be complete, as the end of a sentence; None where nothing says so.
    good_seconds, n_good
        Of a file that is cut, from which time on, and from which frame of those without times on, a frame may be
        another than it seems: pictures are not stored in the order in which they are shown, so one from before the cut
        can be shown in place of one from behind it. None where that says nothing.
    has_holes
        Whether there are places without a picture between the pictures.
    """

    n_frames: int | None = None
    n_stored: int | None = None
    cut: str | None = None
    good_seconds: float | None = None
    n_good: int | None = None
    has_holes: bool = False


NOTHING = Promise()


class Window:
    """A file whose parts are read by their place, never beyond its end and never more than a table may have.

    Parameters
    ----------
    file
        Open for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str) -> Iterator[Self]:
        """Open a file for a ``with`` block."""
        with Path(path).open("rb") as file:
            yield cls(file)

    def read(self, start: int, n_bytes: int) -> bytes:
        """Read a part of the file.

        Raises
        ------
        ValueError
            When it is not all there, or more than a table may have.
        """
        if start < 0 or not 0 <= n_bytes <= MAX_TABLE_BYTES or start + n_bytes > self.size:
            raise ValueError(f"no {n_bytes} bytes from {start} on in {self.size}")
        self._file.seek(start)
        content = self._file.read(n_bytes)
        if len(content) != n_bytes:
            raise ValueError("the file became shorter")
        return content

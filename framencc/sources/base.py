"""The contract that every source keeps; tests/contracts/test_sources.py runs over all of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from framencc.frames import Frame, Picture, StreamInfo

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Picture]


def allocate_new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Picture:
    """Return a fresh C-contiguous array; the default allocator of `Source.frames`."""
    return np.empty(shape, dtype)


class Source(ABC):
    """A stream of equally sized frames, read once, in order.

    A source is opened by its constructor, which reads enough to know `info` and raises SpecError (the request names
    something that is not there or does not fit) or SourceError (it is there but cannot be read).
    """

    info: StreamInfo
    n_input_frames: int | None = None  # of the whole input, selected or not; None where only reading tells
    files: Sequence[Path] | None = None  # the pictures of a sequence, in order; None where the input is one file

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the input although it can be read; complete once it has been read."""
        return self.info.warnings

    def read_ahead(self) -> None:  # noqa: B027  (most sources have nothing that takes time to start)
        """Begin to read, where something else has to be done before the first frame is asked for."""

    @abstractmethod
    def frames(self, allocate: Allocate = allocate_new) -> Iterator[Frame]:
        """Yield the selected frames in order, each with the index and time it has in the input.

        Every frame's data lies in an array got from ``allocate(shape, dtype)``, so that the consumer can reuse
        buffers. The iterator ends after the last selected frame, and only then.

        Raises
        ------
        SourceError
            When a frame cannot be read.
        DamagedInputError
            When the input ends early or decodes with errors. Frames yielded before are good.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything: no child process, thread or open file is left. Safe to call twice, from any thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The contract that every sink keeps; tests/contracts/test_sinks.py runs over all of them."""

import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from framencc.errors import SinkError
from framencc.frames import Picture

Imprint = list[int]
"""By what a packet or file is known again: its size in bytes and its CRC-32, as JSON has them."""


def imprint(content: bytes | memoryview) -> Imprint:
    """Return the imprint of a packet or of a file's content."""
    return [memoryview(content).nbytes, zlib.crc32(content)]


def summary(imprints: Sequence[Imprint]) -> dict[str, int]:
    """Return by what many packets or files are known again, in their order."""
    return {
        "maps": len(imprints),
        "bytes": sum(n_bytes for n_bytes, _ in imprints),
        "crc32": zlib.crc32(json.dumps(imprints).encode()),
    }


@dataclass(frozen=True, slots=True)
class MapFormat:
    """What a sink is going to be given.

    Parameters
    ----------
    height, width
        Size of every map in pixels.
    dtype
        uint8 or uint16 for codes, float32 for rho itself.
    frame_rate
        Nominal maps per second, exact.
    time_base
        Unit of the input's time stamps in seconds, or None: times are multiples of 1 / frame_rate.
    metadata
        Names and values (text) that go into the file's own metadata where the container has any.
    components
        Values of a pixel: 1, 2 for a displacement field, whose pictures are (H, W, 2), or 3 for red, green and blue.
    pixel_aspect
        How many times as wide as high players show a pixel of the input; a video passes it on.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    frame_rate: Fraction
    time_base: Fraction | None
    metadata: Mapping[str, str]
    components: int = 1
    pixel_aspect: Fraction = Fraction(1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every map."""
        return (self.height, self.width) if self.components == 1 else (self.height, self.width, self.components)


class Sink(ABC):
    """A place for a stream of maps, invisible until it is complete.

    Everything is written under hidden names beside the target, on the same file system. `commit` makes it durable and
    visible; `abort`, and leaving the ``with`` block without a commit, removes every trace. The constructor raises
    SpecError (the target exists, or the format does not fit) or SinkError (it cannot be written), and leaves nothing.
    """

    format: MapFormat
    n_written: int = 0

    @abstractmethod
    def write(self, data: Picture, index: int, pts_seconds: float) -> None:
        """Write the next map: (H, W), of the format's dtype, valid only during the call.

        Raises
        ------
        ValueError
            When the shape or dtype is not the format's (nothing is written).
        SinkError
            When the map cannot be written, for example on a full disk.
        """

    @abstractmethod
    def commit(self) -> Path:
        """Flush everything to the disk, move it to its target, return the path; nothing can be written after.

        Raises
        ------
        SinkError
            When the output cannot be completed; a file at the target is then untouched, of many files some may have
            been replaced, and `abort` still has to be called.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written; the target is untouched. Safe to call twice and after `commit`, from any thread."""

    def check(self, data: Picture) -> None:
        """Raise ValueError unless `data` is what the format announced.

        An encoder drops a short frame in silence, so the check stands before every write.
        """
        expected = self.format.shape
        if data.shape != expected or data.dtype != self.format.dtype:
            raise ValueError(
                f"a map of shape {data.shape} and dtype {data.dtype} was given to a sink of {expected} "
                f"{self.format.dtype}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def sink_error(path: Path, error: OSError) -> SinkError:
    """Turn an operating system's error into the one line that a user needs."""
    return SinkError(f"output {str(path)!r} cannot be written: {error.strerror or error}")

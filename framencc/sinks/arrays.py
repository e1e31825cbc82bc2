"""One .npy array (N, H, W) that grows map by map."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from framencc.frames import Picture
from framencc.sinks.base import MapFormat
from framencc.sinks.staged import StagedSink
from framencc.staging import flush, write_all


class GrowingArray:
    """A .npy file of shape (N, H, W), written front to back; N is filled in at the end.

    Parameters
    ----------
    path
        The file.
    map_format
        What it is going to be given; any dtype of a map fits.
    n_maps
        How many maps of an existing file to keep; 0 begins a new one.

    Raises
    ------
    OSError
        When it cannot be read or written.
    """

    def __init__(self, path: Path, map_format: MapFormat, n_maps: int = 0) -> None:
        self.n_maps = n_maps
        self._format = map_format
        # Not a memory map: its written pages would count as this process's memory until the kernel takes them.
        self._file = path.open("r+b" if n_maps else "w+b", buffering=0)
        try:
            self._write_header(0)
            self._file.truncate(self.size(map_format, n_maps))
            self._file.seek(0, io.SEEK_END)
        except BaseException:
            self._file.close()
            raise

    @staticmethod
    def size(map_format: MapFormat, n_maps: int) -> int:
        """Return the bytes of a file with so many maps."""
        return len(_header(map_format, 0)) + n_maps * map_format.dtype.itemsize * int(np.prod(map_format.shape))

    @classmethod
    def read(cls, path: Path, map_format: MapFormat, n_maps: int) -> Iterator[Picture]:
        """Yield the first `n_maps` maps of a file, whose header need not be filled in yet."""
        count = int(np.prod(map_format.shape))
        with path.open("rb") as file:
            file.seek(cls.size(map_format, 0))
            for _ in range(n_maps):
                data = np.fromfile(file, map_format.dtype, count)
                yield data.reshape(map_format.shape)

    def write(self, data: Picture) -> None:
        """Add a map."""
        write_all(self._file, np.ascontiguousarray(data).data.cast("B"))
        self.n_maps += 1

    def sync(self) -> None:
        """Flush what has been written to the disk."""
        flush(self._file.fileno())

    def complete(self) -> None:
        """Fill in the number of maps, flush and close the file."""
        self._write_header(self.n_maps)
        self.sync()
        self._file.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()

    def _write_header(self, n_maps: int) -> None:
        self._file.seek(0)
        write_all(self._file, _header(self._format, n_maps))


class ArraySink(StagedSink):
    """A .npy file of shape (N, H, W), invisible until it is complete.

    Parameters
    ----------
    target
        The file.
    map_format
        What the sink is going to be given; any dtype of a map fits.
    overwrite
        Whether an existing file may be replaced.
    """

    def __init__(self, target: Path, map_format: MapFormat, *, overwrite: bool = False) -> None:
        super().__init__(target, map_format, overwrite=overwrite)
        try:
            with self._explained():
                self._array = GrowingArray(self._staged.path, map_format)
        except BaseException:
            self.abort()
            raise

    def _write(self, data: Picture, index: int, pts_seconds: float) -> None:  # noqa: ARG002  (an array has neither)
        self._array.write(data)

    def _finish(self) -> None:
        self._array.complete()

    def _close(self) -> None:
        if hasattr(self, "_array"):
            self._array.close()


def _header(map_format: MapFormat, n_maps: int) -> bytes:
    """Return the header of a file with so many maps; numpy pads it to one length for any number of them."""
    file = io.BytesIO()
    shape = (n_maps, *map_format.shape)
    descr = npy.dtype_to_descr(map_format.dtype)
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()

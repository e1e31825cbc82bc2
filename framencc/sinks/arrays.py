"""One .npy array (N, H, W) that grows map by map."""

from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from framencc.errors import SinkError
from framencc.frames import Picture
from framencc.sinks.base import MapFormat
from framencc.sinks.staged import StagedSink
from framencc.staging import write_all


class ArraySink(StagedSink):
    """A .npy file of shape (N, H, W), written front to back; N is filled in at the end.

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
                # Not a memory map: its written pages would count as this process's memory until the kernel takes them.
                self._file = self._staged.path.open("r+b", buffering=0)
                self._header_bytes = self._write_header(0)
        except BaseException:
            self.abort()
            raise

    def _write(self, data: Picture, index: int, pts_seconds: float) -> None:  # noqa: ARG002  (an array has neither)
        write_all(self._file, np.ascontiguousarray(data).data.cast("B"))

    def _finish(self) -> None:
        self._file.seek(0)
        # numpy pads its header for any number of maps, so that this can be done in place.
        if self._write_header(self.n_written) != self._header_bytes:
            raise SinkError(f"output {str(self._target)!r} cannot be written: its header outgrew its place")
        self._file.close()

    def _close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def _write_header(self, n_maps: int) -> int:
        shape = (n_maps, *self.format.shape)
        descr = npy.dtype_to_descr(self.format.dtype)
        npy.write_array_header_1_0(self._file, {"descr": descr, "fortran_order": False, "shape": shape})
        return self._file.tell()

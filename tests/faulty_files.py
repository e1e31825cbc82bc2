"""A file layer that fails on request: the k-th write, flush to the disk, rename or close of this process.

Imports nothing of the package under test.
"""

import builtins
import contextlib
import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPERATIONS = ("write", "fsync", "rename", "close")


@dataclass
class Faults:
    """Which operation fails, and how many there have been."""

    operation: str
    place: int | None  # None: only count
    code: int
    below: str  # only files below this folder
    n_done: int = 0
    n_failed: int = 0

    def step(self, operation: str, path: str | Path) -> None:
        """Count an operation, and fail if its turn has come."""
        if operation != self.operation or not str(path).startswith(self.below):
            return
        self.n_done += 1
        if self.n_done - 1 == self.place:
            self.n_failed += 1
            raise OSError(self.code, os.strerror(self.code))


class FaultyFile:
    """A file that was opened for writing."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self._faults = faults
        self._path = name_of(file.fileno())  # also of a file without a name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "FaultyFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def write(self, data: Any) -> int:
        self._faults.step("write", self._path)
        return self._file.write(data)

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()  # the descriptor is gone whatever the system says of the data
            self._faults.step("close", self._path)


def name_of(descriptor: int) -> str:
    """Look up what an open file is called (Linux)."""
    return os.path.realpath(f"/proc/self/fd/{descriptor}")


@contextlib.contextmanager
def failing(operation: str, place: int | None, below: Path, code: int = errno.ENOSPC) -> Iterator[Faults]:
    """Let one operation on the files below a folder fail inside a ``with`` block."""
    faults = Faults(operation, place, code, str(below))
    real_open, real_fsync, real_replace = io.open, os.fsync, os.replace

    def open_file(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        opened = real_open(file, mode, *arguments, **named)
        writes = set(mode) & set("wax+") and isinstance(file, (str, os.PathLike))
        return FaultyFile(opened, faults) if writes and "b" in mode else opened

    def fsync(descriptor: Any) -> None:
        faults.step("fsync", name_of(descriptor if isinstance(descriptor, int) else descriptor.fileno()))
        real_fsync(descriptor)

    def replace(source: Any, target: Any, **named: Any) -> None:
        faults.step("rename", Path(target).absolute())
        real_replace(source, target, **named)

    io.open, os.fsync, os.replace = open_file, fsync, replace  # type: ignore[assignment]
    try:
        yield faults
    finally:
        io.open, os.fsync, os.replace = real_open, real_fsync, real_replace
    assert builtins.open is real_open

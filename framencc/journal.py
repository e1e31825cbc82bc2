"""What a run has done so far, written down as it goes: lines are only added, and a torn last one does not count."""

import contextlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from framencc.staging import sync_file, sync_folder, write_all

Entry = dict[str, Any]


class Journal:
    """An append-only file of JSON objects, one a line, each with a checksum.

    Parameters
    ----------
    path
        The file; it is made where it is missing. What follows its last whole line is cut off.

    Raises
    ------
    OSError
        When it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        is_new = not path.exists()
        self._file = io.open(path, "ab", buffering=0, opener=_open_no_link)  # noqa: SIM115, UP020  (Path's has no opener)
        try:
            self._end = sum(length for length, _ in _lines(path))
            if self._end != path.stat().st_size:
                self._file.truncate(self._end)
            if is_new:
                sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; it is on the disk when this returns.

        Raises
        ------
        OSError
            When it cannot be written; what was there before still counts, and nothing can be added any more.
        """
        text = json.dumps(entry, allow_nan=False, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        try:
            write_all(self._file, line)
            sync_file(self._path)
        except BaseException:
            # It may be there all the same, and must not count later.
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise
        self._end += len(line)

    def close(self) -> None:
        """Close the file. Safe to call twice; every entry has been flushed before, so nothing can be lost here."""
        with contextlib.suppress(OSError):
            self._file.close()


def read_journal(path: Path) -> Iterator[Entry]:
    """Yield the whole entries of a journal, oldest first; none where there is no such file.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    if path.exists():
        for _, entry in _lines(path):
            yield entry


def _lines(path: Path) -> Iterator[tuple[int, Entry]]:
    """Yield each whole line's length and entry, up to the first that is torn or changed."""
    with path.open("rb") as file:
        for line in file:
            checksum, _, text = line.partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text[:-1]):
                return
            try:
                entry = json.loads(text)
            except (ValueError, RecursionError):
                return
            if not isinstance(entry, dict):
                return
            yield len(line), entry


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

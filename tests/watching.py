"""Whether anybody opens a file or makes a connection who has no business to. Imports nothing of the package."""

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Self

CAN_WATCH_FILES = sys.platform == "linux"
WHY_NOT = "openings of files are told by inotify, which Linux has"

_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_CREATE = 0x1, 0x2, 0x20, 0x100
_EVENT = struct.Struct("iIII")


class FolderWatch:
    """Tells which files of a folder have been opened, by whatever process (Linux).

    Parameters
    ----------
    folder
        It is watched, its subfolders are not.
    """

    def __init__(self, folder: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _IN_ACCESS | _IN_MODIFY | _IN_OPEN | _IN_CREATE
        if self._descriptor < 0 or library.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def touched(self) -> set[str]:
        """Return the names of what was opened, read, changed or made since the last call; of a listing ``.``."""
        names = set()
        while True:
            try:
                events = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return names
            place = 0
            while place < len(events):
                *_, length = _EVENT.unpack_from(events, place)
                place += _EVENT.size
                names.add(os.fsdecode(events[place : place + length].rstrip(b"\0")) or ".")
                place += length


class Listener:
    """A server on this machine that waits for somebody to connect, and answers nobody."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def connections(self) -> int:
        """Return how many have connected since the last call; they are cut off."""
        count = 0
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return count
            connection.close()
            count += 1

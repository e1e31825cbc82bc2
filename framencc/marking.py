"""What tells a work folder of framencc from every other: nothing else is ever used, emptied or removed.

It is a real folder of this user that bears framencc's mark, and there is no link in it. The mark is the content of its
lock file, written when the folder is made.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from framencc.errors import SinkError

LOCK, OLD, OWNER = "lock", "old", "owner"
MARK = b"framencc work folder\n"
OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
_NAME_SURROGATE = 0x20000000  # the bit of Windows' reparse tags of links and junctions


def require_own(path: Path, target: Path) -> bool:
    """Refuse a work folder that framencc has not made; return whether there is nothing in it yet.

    Raises
    ------
    SinkError
        When something else has its name, or it holds something that framencc never makes.
    OSError
        When it cannot be looked at.
    """

    def refuse(why: str) -> SinkError:
        return SinkError(
            f"output {str(target)!r} cannot be written: its work folder {str(path)!r} {why}; framencc uses only a "
            f"folder that it has made itself: move or remove this one"
        )

    status = path.lstat()
    if is_link(status):
        raise refuse("is a link")
    if not stat.S_ISDIR(status.st_mode):
        raise refuse("is not a folder")
    if not _is_of_this_user(status, path.parent):
        raise refuse("belongs to another user")
    entries = [path / name for name in os.listdir(path)]  # noqa: PTH208  (as cheap as it gets)
    kinds = {entry.name: entry.lstat() for entry in entries}
    mark = kinds.get(LOCK)
    content = _read_start(path / LOCK) if mark is not None and stat.S_ISREG(mark.st_mode) else None
    if content != MARK:
        if not kinds or (len(kinds) == 1 and content is not None and MARK.startswith(content)):
            return True  # nothing is lost with it: a run was cut off as it made the folder
        raise refuse("does not have the mark of framencc")
    for name, found in _strangers(path, kinds):
        raise refuse(f"holds {name!r}, which is {found}")
    return False


def _strangers(path: Path, kinds: Mapping[str, os.stat_result]) -> Iterator[tuple[str, str]]:
    """Yield what framencc never makes in a work folder, by its name there, and what it is."""
    for name, status in kinds.items():
        if is_link(status):
            yield name, "a link"
        elif stat.S_ISREG(status.st_mode):
            if status.st_nlink > 1:
                yield name, "a file with a second name elsewhere (a hard link)"
        elif not stat.S_ISDIR(status.st_mode):
            yield name, "neither a file nor a folder"
        elif name != OLD:  # old files of the user may be anything
            for inner, what in _odd_entries(path / name):
                yield inner.relative_to(path).as_posix(), what
    for name in (OWNER, LOCK, OLD):
        if name in kinds and stat.S_ISDIR(kinds[name].st_mode) != (name == OLD):
            yield name, "a file" if name == OLD else "a folder"


def _odd_entries(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what is neither a file nor a folder anywhere below a folder."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                # Only Windows, where it costs nothing, has to look for junctions.
                is_odd = is_link(entry.stat(follow_symlinks=False)) if os.name == "nt" else entry.is_symlink()
                if is_odd:
                    yield Path(entry.path), "a link"
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), "neither a file nor a folder"


def is_link(status: os.stat_result) -> bool:
    """Tell whether `lstat` has seen a symbolic link or, on Windows, a junction."""
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_reparse_tag", 0) & _NAME_SURROGATE)


def _is_of_this_user(status: os.stat_result, parent: Path) -> bool:
    if sys.platform == "win32" or status.st_uid == os.geteuid():
        return True
    # Some network disks give everything that is made on them another owner, so the disk is asked.
    try:
        with tempfile.TemporaryFile(dir=parent) as file:
            return os.fstat(file.fileno()).st_uid == status.st_uid
    except OSError:
        return False


def _read_start(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        return os.read(descriptor, len(MARK) + 1)
    finally:
        os.close(descriptor)

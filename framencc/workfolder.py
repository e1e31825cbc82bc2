"""The hidden folder beside an output in which it grows: its name is known beforehand, and one run at a time has it.

Only what framencc has made itself is ever used or removed: a real folder of this user that bears framencc's mark. The
mark is the content of its lock file, written when the folder is made; there is no link in such a folder.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from framencc.errors import SinkError
from framencc.staging import flush, is_hidden_name, make_folders, remove_folders, sync_file, sync_folder, write_all

_LOCK, _OLD, _OWNER = "lock", "old", "owner"
_MARK = b"framencc work folder\n"
# What network file systems answer that have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_NAME_BYTES = 255  # the longest file name of the usual file systems
_SUFFIX = ".framencc"
_ATTEMPTS = 1000
_NAME_SURROGATE = 0x20000000  # the bit of Windows' reparse tags of links and junctions
_LOCK_PLACE = 1 << 30  # Windows lets nobody read a locked byte, so it lies behind the mark
_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))

logger = logging.getLogger(__name__)


def work_folder_path(target: Path) -> Path:
    """Name the folder in which `target` grows; a name too long for that is cut, and told from others by its hash."""
    name = os.fsencode(target.name)
    if len(name) + 1 + len(_SUFFIX) > _NAME_BYTES:
        digest = hashlib.sha256(name).hexdigest()[:16].encode()
        name = name[: _NAME_BYTES - 2 - len(_SUFFIX) - len(digest)] + b"-" + digest
    # Absolute, so that a later change of the working folder cannot strand it.
    return target.absolute().parent / f".{os.fsdecode(name)}{_SUFFIX}"


def find_work_folder(target: Path) -> Path | None:
    """Return the work folder that a run has left of `target`; None where there is none, or nothing in it.

    Raises
    ------
    SinkError
        When what has its name was not made by framencc, or holds something that framencc never makes.
    OSError
        When it cannot be looked at.
    """
    path = work_folder_path(target)
    try:
        return None if _require_own(path, target) else path
    except FileNotFoundError:  # a run may just be removing it
        return None


def _require_own(path: Path, target: Path) -> bool:
    """Refuse a work folder that framencc has not made; return whether there is nothing in it yet."""

    def refuse(why: str) -> SinkError:
        return SinkError(
            f"output {str(target)!r} cannot be written: its work folder {str(path)!r} {why}; framencc uses only a "
            f"folder that it has made itself: move or remove this one"
        )

    status = path.lstat()
    if _is_link(status):
        raise refuse("is a link")
    if not stat.S_ISDIR(status.st_mode):
        raise refuse("is not a folder")
    if not _is_of_this_user(status, path.parent):
        raise refuse("belongs to another user")
    entries = [path / name for name in os.listdir(path)]  # noqa: PTH208  (as cheap as it gets)
    kinds = {entry.name: entry.lstat() for entry in entries}
    mark = kinds.get(_LOCK)
    content = _read_start(path / _LOCK) if mark is not None and stat.S_ISREG(mark.st_mode) else None
    if content != _MARK:
        if not kinds or (len(kinds) == 1 and content is not None and _MARK.startswith(content)):
            return True  # nothing is lost with it: a run was cut off as it made the folder
        raise refuse("does not have the mark of framencc")
    for name, found in _strangers(path, kinds):
        raise refuse(f"holds {name!r}, which is {found}")
    return False


def _strangers(path: Path, kinds: Mapping[str, os.stat_result]) -> Iterator[tuple[str, str]]:
    """Yield what framencc never makes in a work folder, by its name there, and what it is."""
    for name, status in kinds.items():
        if _is_link(status):
            yield name, "a link"
        elif stat.S_ISREG(status.st_mode):
            if status.st_nlink > 1:
                yield name, "a file with a second name elsewhere (a hard link)"
        elif not stat.S_ISDIR(status.st_mode):
            yield name, "neither a file nor a folder"
        elif name != _OLD:  # old files of the user may be anything
            for inner, what in _odd_entries(path / name):
                yield inner.relative_to(path).as_posix(), what
    for name in (_OWNER, _LOCK, _OLD):
        if name in kinds and stat.S_ISDIR(kinds[name].st_mode) != (name == _OLD):
            yield name, "a file" if name == _OLD else "a folder"


def _odd_entries(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what is neither a file nor a folder anywhere below a folder."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                # Only Windows, where it costs nothing, has to look for junctions.
                is_link = _is_link(entry.stat(follow_symlinks=False)) if os.name == "nt" else entry.is_symlink()
                if is_link:
                    yield Path(entry.path), "a link"
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), "neither a file nor a folder"


def _is_link(status: os.stat_result) -> bool:
    """Whether `lstat` has seen a symbolic link or, on Windows, a junction."""
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
    descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    try:
        return os.read(descriptor, len(_MARK) + 1)
    finally:
        os.close(descriptor)


class WorkFolder:
    """The folder in which an output grows, locked for this process until it is released.

    Parameters
    ----------
    target
        The output. Missing parent folders are made.

    Raises
    ------
    SinkError
        When another run has it.
    OSError
        When it cannot be made; nothing is left behind.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = work_folder_path(target)
        self._made: list[Path] = []
        self.was_there = os.path.lexists(self.path)
        try:
            self._lock = self._take()
        except BaseException:
            remove_folders(self._made)
            raise
        self._identity = self.path.lstat()
        try:
            self._sync_parents()
        except BaseException:
            is_new = [entry.name for entry in self.path.iterdir()] == [_LOCK]
            self.remove() if is_new else self.release()
            raise

    def set_aside(self, path: Path) -> None:
        """Keep an old file that is in the way, until the folder is removed.

        Raises
        ------
        SinkError, OSError
            When it cannot be moved.
        """
        self._require_same()
        old = self.path / _OLD
        old.mkdir(exist_ok=True)
        if _is_link(old.lstat()):
            raise self._changed()
        path.replace(old / path.name)

    def old_files(self) -> list[Path]:
        """Return the old files that are kept here."""
        old = self.path / _OLD
        return sorted(old.iterdir()) if _is_folder(old) else []

    def forget_old(self) -> None:
        """Remove the old files that are kept here."""
        if self._is_same():
            shutil.rmtree(self.path / _OLD, ignore_errors=True)

    @property
    def owner(self) -> Any:
        """What the last run to work here has left of itself by `claim`; None where there is nothing."""
        try:
            return json.loads((self.path / _OWNER).read_bytes())
        except (OSError, ValueError):
            return None

    def claim(self, owner: Mapping[str, str]) -> None:
        """Say whose work in progress this is.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        if self.owner != owner:
            with (self.path / _OWNER).open("wb") as file:
                file.write(json.dumps(owner).encode())
            sync_file(self.path / _OWNER)
            sync_folder(self.path)

    @property
    def folder(self) -> Path:
        """Where the output is going to appear."""
        return self.path.parent

    def clear(self) -> None:
        """Remove everything in it that an earlier run left, but for old files whose names have been taken by others.

        Raises
        ------
        SinkError, OSError
            When something cannot be removed.
        """
        self._require_same()
        for entry in list(self.path.iterdir()):
            if entry.name in (_LOCK, _OLD):
                continue
            _delete(entry)

    def clear_staged(self) -> None:
        """Remove what a run that was cut off was just writing: it has a name of its own until it is whole."""
        self._require_same()
        for path in list(self.path.iterdir()):
            if is_hidden_name(path.name):
                _delete(path)
            elif path.name != _OLD and _is_folder(path):
                for inner in list(path.iterdir()):
                    if is_hidden_name(inner.name):
                        _delete(inner)

    def remove(self) -> None:
        """Remove the folder with all that is in it, and the parents that were made for it if they are empty."""
        # The lock goes last: whoever waits for it must not find a half-removed folder.
        self.forget_old()
        with contextlib.suppress(OSError):
            self.clear()
        self._unlock(remove=self._is_same())
        with contextlib.suppress(OSError):
            self.path.rmdir()
        remove_folders(self._made)

    def release(self) -> None:
        """Leave the folder to a later run."""
        self._unlock(remove=False)

    def sync_names(self) -> None:
        """Flush the names in the output's folder, and of the folders that were made for it, to the disk."""
        self._sync_parents()

    def _sync_parents(self) -> None:
        sync_folder(self.folder)
        for folder in self._made:
            sync_folder(folder.parent)

    def _is_same(self) -> bool:
        """Whether the folder is still the one that was locked, and no other in its place."""
        try:
            return os.path.samestat(self._identity, self.path.lstat())
        except OSError:
            return False

    def _require_same(self) -> None:
        if not self._is_same():
            raise self._changed()

    def _changed(self) -> SinkError:
        return SinkError(
            f"output {str(self.target)!r}: its work folder {str(self.path)!r} was exchanged during the run"
        )

    def _take(self) -> BinaryIO:
        for attempt in range(_ATTEMPTS):
            try:
                self._made += make_folders(self.path.parent)
                with contextlib.suppress(FileExistsError):
                    self.path.mkdir(0o700)
                _require_own(self.path, self.target)
                lock = _open_lock(self.path)
            except FileNotFoundError:
                if attempt + 1 == _ATTEMPTS:  # it is not another run that removes it
                    raise
                continue  # another run has just removed it, or a parent that was empty
            try:
                if not _try_to_lock(lock):
                    raise SinkError(f"output {str(self.target)!r} is being written by another run")
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock.fileno()), (self.path / _LOCK).lstat()):
                        self._mark(lock)
                        return lock
            except BaseException:
                lock.close()
                raise
            lock.close()  # it was removed between opening and locking it
        raise SinkError(f"output {str(self.target)!r} is being written by other runs, one after the other")

    def _mark(self, lock: BinaryIO) -> None:
        """Say in a new folder that framencc has made it; where that fails, nothing is left."""
        if lock.read() == _MARK:
            return
        try:
            lock.truncate(0)
            write_all(lock, _MARK)
            flush(lock.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                (self.path / _LOCK).unlink()
                self.path.rmdir()
            raise

    def _unlock(self, *, remove: bool) -> None:
        if self._lock.closed:
            return
        path = self.path / _LOCK
        if remove and sys.platform != "win32":
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds nothing
            self._lock.close()
        if remove and sys.platform == "win32":  # where an open file cannot be removed
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _open_lock(folder: Path) -> BinaryIO:
    """Open a work folder's lock file, which is made where it is missing; no link is followed to it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _OPEN_FLAGS
    if os.open not in os.supports_dir_fd:
        return os.fdopen(os.open(folder / _LOCK, flags, 0o666), "r+b", buffering=0)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _OPEN_FLAGS)
    try:
        return os.fdopen(os.open(_LOCK, flags, 0o666, dir_fd=descriptor), "r+b", buffering=0)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and not _is_link(status)


def _delete(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _try_to_lock(file: BinaryIO) -> bool:
    """Lock a file for this process; the system unlocks it when the process ends, however it does."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            os.lseek(file.fileno(), _LOCK_PLACE, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.info("%s: files cannot be locked here; nothing keeps two runs from one output", file.name)
    return True

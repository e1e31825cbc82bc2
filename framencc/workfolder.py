"""The hidden folder beside an output in which it grows: its name is known beforehand, and one run at a time has it."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from framencc.errors import SinkError
from framencc.marking import LOCK, MARK, OLD, OPEN_FLAGS, OWNER, is_link, require_own
from framencc.staging import flush, is_hidden_name, make_folders, remove_folders, sync_file, sync_folder, write_all

# What network file systems answer that have no locks.
_NOLOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_NAME_BYTES = 255  # the longest file name of the usual file systems
_SUFFIX = ".framencc"
_ATTEMPTS = 1000
_LOCK_PLACE = 1 << 30  # Windows lets nobody read a locked byte, so it lies behind the mark

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
        return None if require_own(path, target) else path
    except FileNotFoundError:  # a run may just be removing it
        return None


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
            is_new = [entry.name for entry in self.path.iterdir()] == [LOCK]
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
        old = self.path / OLD
        old.mkdir(exist_ok=True)
        if is_link(old.lstat()):
            raise self._changed()
        path.replace(old / path.name)

    def old_files(self) -> list[Path]:
        """Return the old files that are kept here."""
        old = self.path / OLD
        return sorted(old.iterdir()) if _is_folder(old) else []

    def forget_old(self) -> None:
        """Remove the old files that are kept here."""
        if self._is_same():
            shutil.rmtree(self.path / OLD, ignore_errors=True)

    @property
    def owner(self) -> Any:
        """What the last run to work here has left of itself by `claim`; None where there is nothing."""
        try:
            return json.loads((self.path / OWNER).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def claim(self, owner: Mapping[str, str]) -> None:
        """Say whose work in progress this is.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        if self.owner != owner:
            with (self.path / OWNER).open("wb") as file:
                file.write(json.dumps(owner).encode())
            sync_file(self.path / OWNER)
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
            if entry.name in (LOCK, OLD):
                continue
            _delete(entry)

    def clear_staged(self) -> None:
        """Remove what a run that was cut off was just writing: it has a name of its own until it is whole."""
        self._require_same()
        for path in list(self.path.iterdir()):
            if is_hidden_name(path.name):
                _delete(path)
            elif path.name != OLD and _is_folder(path):
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
                require_own(self.path, self.target)
                lock = _open_lock(self.path)
            except FileNotFoundError:
                if attempt + 1 == _ATTEMPTS:  # it is not another run that removes it
                    raise
                continue  # another run has just removed it, or a parent that was empty
            try:
                if not _try_to_lock(lock):
                    raise SinkError(f"output {str(self.target)!r} is being written by another run")
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock.fileno()), (self.path / LOCK).lstat()):
                        self._mark(lock)
                        return lock
            except BaseException:
                lock.close()
                raise
            lock.close()  # it was removed between opening and locking it
        raise SinkError(f"output {str(self.target)!r} is being written by other runs, one after the other")

    def _mark(self, lock: BinaryIO) -> None:
        """Say in a new folder that framencc has made it; where that fails, nothing is left."""
        if lock.read() == MARK:
            return
        try:
            lock.truncate(0)
            write_all(lock, MARK)
            flush(lock.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                (self.path / LOCK).unlink()
                self.path.rmdir()
            raise

    def _unlock(self, *, remove: bool) -> None:
        if self._lock.closed:
            return
        path = self.path / LOCK
        if remove and sys.platform != "win32":
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds nothing
            self._lock.close()
        if remove and sys.platform == "win32":  # where an open file cannot be removed
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _open_lock(folder: Path) -> BinaryIO:
    """Open a work folder's lock file, which is made where it is missing; no link is followed to it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | OPEN_FLAGS
    if os.open not in os.supports_dir_fd:
        return os.fdopen(os.open(folder / LOCK, flags, 0o666), "r+b", buffering=0)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | OPEN_FLAGS)
    try:
        return os.fdopen(os.open(LOCK, flags, 0o666, dir_fd=descriptor), "r+b", buffering=0)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and not is_link(status)


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
        if error.errno not in _NOLOCKS:
            raise
        logger.info("%s: files cannot be locked here; nothing keeps two runs from one output", file.name)
    return True

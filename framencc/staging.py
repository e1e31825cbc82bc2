"""Files that appear whole or not at all: hidden names, flushing to the disk, one rename, nothing left on failure."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from framencc.interrupts import SIGNALS

# What file systems answer that know no such thing for folders, or do not let us open this one.
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM, errno.EBADF)
_HIDDEN = re.compile(r"\..*\.framencc-[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)
_NAME_BYTES = 255  # the longest file name of the usual file systems


class Staged:
    """A hidden file or folder that stands in for a target, in the target's own folder.

    The same folder means the same file system, where a rename is one step that is done or not done.

    Parameters
    ----------
    target
        What is to appear in the end. Missing parent folders are made.
    folder
        Make a hidden folder instead of a hidden file.

    Raises
    ------
    OSError
        When it cannot be made; nothing is left behind.
    """

    def __init__(self, target: Path, *, folder: bool = False) -> None:
        # Absolute, so that a later change of the working folder cannot strand it.
        self.folder = target.absolute().parent
        self.path = self.folder / hidden_name(target.name)
        self._made = make_folders(self.folder)
        try:
            if folder:
                self.path.mkdir()
            else:
                self.path.open("xb").close()
        except BaseException:
            remove_folders(self._made)
            raise

    def publish(self, name: str) -> None:
        """Flush the hidden file to the disk and give it `name` in the target's folder, in one step.

        Raises
        ------
        OSError
            When that fails; what has the name is then as it was.
        """
        sync_file(self.path)
        self.path.replace(self.folder / name)
        self.sync_names()

    def sync_names(self) -> None:
        """Flush the target's folder, and those that were made for it, to the disk."""
        sync_folder(self.folder)
        for folder in self._made:
            sync_folder(folder.parent)

    def discard(self) -> None:
        """Remove what is left under the hidden name, and the folders that were made for it where they are empty."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        remove_folders(self._made)


def hidden_name(name: str) -> str:
    """Make up a name that listings leave out and that says whose work in progress it is, with `name`'s own suffix."""
    suffix = Path(name).suffix
    tail = os.fsencode(f".framencc-{secrets.token_hex(4)}{suffix}")
    return "." + os.fsdecode(os.fsencode(name)[: _NAME_BYTES - 1 - len(tail)] + tail)


def is_hidden_name(name: str) -> bool:
    """Whether a name is one that `hidden_name` made up."""
    return _HIDDEN.fullmatch(name) is not None


def require_plain_name(name: object) -> None:
    """Refuse what is no plain name of a file in a folder: a path, a drive, a way up.

    Raises
    ------
    ValueError
        When it is none.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name or Path(name).name != name:
        raise ValueError(f"{name!r} is not the name of a file in it")
    os.fsencode(name)  # which no name of a file fails at


def sidecar_path(output: str | Path) -> Path:
    """Name the sidecar of an output: its name, a pattern's included, and ``.json``."""
    output = Path(output)
    return output.parent / f"{output.name}.json"


@contextlib.contextmanager
def signals_deferred() -> Iterator[Callable[[], None]]:
    """Let signals that ask for the end wait until a step that must not be cut in two is over.

    Yields
    ------
    callable
        Lets a signal that has arrived interrupt at once, where the step can be cut short and undone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # only the main thread is ever interrupted
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    # What is ignored may go on being ignored; None: a handler that Python cannot put back.
    handlers = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}

    def remember(number: int, _: object) -> None:
        arrived.append(number)

    def interrupt() -> None:
        for number, handler in handlers.items():
            # What is no function of Python's ends the process, which undoes nothing.
            if number in arrived and callable(handler):
                arrived.remove(number)
                handler(number, None)

    for number in handlers:
        signal.signal(number, remember)
    try:
        yield interrupt
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is remember:  # a handler may have set others
                signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def make_folders(path: Path) -> list[Path]:
    """Make `path` and its missing parents; return those that were made, outermost first.

    Raises
    ------
    OSError
        When one cannot be made; those made before it are removed again.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path.parent == path:
            break
        path = path.parent
    made: list[Path] = []
    for folder in reversed(missing):
        try:
            folder.mkdir()
        except FileExistsError:
            if folder.is_dir():  # another job made it a moment ago: it is not ours to remove
                continue
            remove_folders(made)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
        except OSError:
            remove_folders(made)
            raise
        made.append(folder)
    return made


def remove_folders(made: list[Path]) -> None:
    """Remove the folders that `make_folders` made, as far as they are empty."""
    for folder in reversed(made):
        try:
            folder.rmdir()
        except OSError:
            return


def write_all(file: BinaryIO, buffer: memoryview | bytes) -> None:
    """Write all of `buffer` (bytes) to an unbuffered file, which alone may take a part and say so."""
    view = memoryview(buffer)
    while view:
        view = view[file.write(view) :]


def flush(descriptor: int) -> None:
    """Flush an open file's content to the disk, on macOS through the disk's own cache as well."""
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415

        with contextlib.suppress(OSError):  # a file system that has no such call
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    with path.open("r+b") as file:
        flush(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's names to the disk, where the system can.

    Raises
    ------
    OSError
        When the disk fails. That folders cannot be flushed here is no error: the content is safe all the same, and
        only a power cut could take a new name back.
    """
    if os.name == "nt":  # folders cannot be opened there
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise

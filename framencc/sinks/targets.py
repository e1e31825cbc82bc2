"""What may be written where, found out before any work is done."""

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from framencc.errors import SpecError
from framencc.sinks.base import sink_error
from framencc.spec import FRAME_NUMBER_PATTERN, PICTURE_OUTPUT_SUFFIXES, RunSpec, is_sequence_pattern
from framencc.staging import Staged


class NumberedFiles:
    """The files that a printf pattern such as ``dir/%06d.png`` names.

    Parameters
    ----------
    pattern
        A path whose last part holds one frame number.
    """

    def __init__(self, pattern: Path) -> None:
        match = FRAME_NUMBER_PATTERN.search(pattern.name)
        if match is None:
            raise ValueError(f"{str(pattern)!r} holds no frame number such as %06d")
        self.folder = pattern.absolute().parent
        self._number = match.group()
        # Only the number is printf's: any other % stands for itself.
        self._before = pattern.name[: match.start()]
        self._after = pattern.name[match.end() :]

    def name(self, index: int) -> str:
        """Name the file of frame `index`, without its folder."""
        return f"{self._before}{self._number % index}{self._after}"

    def path(self, index: int) -> Path:
        """Name the file of frame `index`."""
        return self.folder / self.name(index)

    def existing(self) -> Iterator[Path]:
        """Yield every entry of the folder that is named like one of the files, in no order."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            digits = path.name.removeprefix(self._before).removesuffix(self._after).strip(" ")
            if digits.isascii() and digits.isdigit() and self.name(int(digits)) == path.name:
                yield path


def is_numbered(target: Path) -> bool:
    """Whether an output is one file a frame (a video's or array's own name may hold a ``%d`` as well)."""
    return target.suffix.lower() in PICTURE_OUTPUT_SUFFIXES and is_sequence_pattern(str(target))


def check_target(spec: RunSpec) -> None:
    """Find out, before any work, whether the output of a job can be written.

    Raises
    ------
    SpecError
        When the output exists and may not be replaced, or is the job's own input or reference.
    SinkError
        When its folder cannot be made or written. Nothing is left behind.
    """
    target = Path(spec.output)
    for role, path in (("input", spec.input), ("reference", spec.reference)):
        if isinstance(path, str) and _is_same(target, path):
            raise SpecError(f"output {spec.output!r} is the {role} itself; choose another name")
    refuse_existing(target, overwrite=spec.overwrite)
    try:
        Staged(target).discard()
    except OSError as error:
        raise sink_error(target, error) from error


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Refuse an output that is already there.

    Raises
    ------
    SpecError
        When it exists and `overwrite` is not set, or is a folder.
    SinkError
        When it can never exist, because its name is too long or its parent is a file.
    """
    for path in existing_files(target):
        if path.is_dir() and not path.is_symlink():
            raise SpecError(f"output {str(target)!r} cannot replace the folder {str(path)!r}")
        if not overwrite:
            raise SpecError(f"output {str(target)!r} exists; give --overwrite to replace it")


def existing_files(target: Path) -> Iterator[Path]:
    """Yield what is already there under an output's name or, for a numbered one, names.

    Raises
    ------
    SinkError
        When it cannot be found out.
    """
    numbered = NumberedFiles(target) if is_numbered(target) else None
    first = numbered.path(0) if numbered else target
    try:
        first.lstat()  # lstat: a broken link is there too
    except FileNotFoundError:
        pass
    except OSError as error:
        raise sink_error(target, error) from error
    else:
        yield first
    if numbered:
        yield from numbered.existing()


def _is_same(target: Path, path: str) -> bool:
    """Whether writing `target` would replace a file that is read, under whatever name."""
    if os.path.realpath(target) == os.path.realpath(path):
        return True
    written = {_identity(existing) for existing in existing_files(target)} - {None}
    return bool(written) and any(_identity(read) in written for read in _files_of(path))


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell a file from all others, also through links; None where it is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _files_of(source: str) -> Iterator[Path]:
    """Yield the files that an input may consist of: itself, a folder's, a printf pattern's or a glob's."""
    path = Path(source)
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from path.iterdir()
    else:
        if is_sequence_pattern(source):
            yield from NumberedFiles(path).existing()
        if glob.has_magic(source):
            yield from map(Path, glob.iglob(source))  # noqa: PTH207  (Path.glob takes no absolute pattern)

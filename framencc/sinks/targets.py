"""What may be written where, found out before any work is done."""

import contextlib
import fnmatch
import glob
import os
import stat
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from framencc.errors import SpecError
from framencc.fields import FIELD_SUFFIXES
from framencc.fields.exr import import_openexr
from framencc.sequences import matches_of, pattern_of, split_glob
from framencc.sinks.base import sink_error
from framencc.sinks.spelling import fold, one_spelling
from framencc.spec import (
    FIELD_OUTPUT_SUFFIXES,
    FRAME_NUMBER_PATTERN,
    PICTURE_OUTPUT_SUFFIXES,
    RunSpec,
    is_sequence_pattern,
)
from framencc.staging import Staged, sidecar_path


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
        """Yield every entry of the folder that is one of the files, in no order.

        On a disk that ignores case, or how an accent is written, an entry may be named otherwise.
        """
        if not self.folder.is_dir():
            return
        entries = set(os.listdir(self.folder))  # noqa: PTH208  (a path of each of 100,000 files takes its time)
        for name in entries:
            if self.names(name):
                yield self.folder / name
                continue
            index = self.folded_index(name)
            if index is not None and self.name(index) not in entries and os.path.lexists(self.path(index)):
                yield self.folder / name

    def names(self, name: str) -> bool:
        """Whether one of the files is called `name`."""
        digits = self._digits(name)
        return digits.isascii() and digits.isdigit() and self.name(int(digits)) == name

    def index(self, name: str) -> int:
        """Return the number of the frame whose file is called `name`, however the disk has it spelled."""
        index = int(self._digits(name)) if self.names(name) else self.folded_index(name)
        assert index is not None, f"{name!r} is not one of the files"
        return index

    def _digits(self, name: str) -> str:
        return name.removeprefix(self._before).removesuffix(self._after).strip(" ")

    def folded_index(self, name: str) -> int | None:
        """Return the number of the file that a disk could take `name` for; None where there is none."""
        folded, before, after = fold(name), fold(self._before), fold(self._after)
        digits = folded.removeprefix(before).removesuffix(after).strip(" ")
        if not (digits.isascii() and digits.isdigit()):
            return None
        index = int(digits)
        return index if fold(self.name(index)) == folded else None


def is_numbered(target: Path) -> bool:
    """Whether an output is one file a frame (a video's or array's own name may hold a ``%d`` as well)."""
    suffixes = PICTURE_OUTPUT_SUFFIXES + FIELD_OUTPUT_SUFFIXES
    return target.suffix.lower() in suffixes and is_sequence_pattern(str(target))


def partial_path(target: Path) -> Path:
    """Name what is kept of an output when its input is damaged."""
    return target.parent / f"{target.stem}.partial{target.suffix}"


def left_partial(output: Path) -> str | None:
    """Say what is there of an output whose run has left only a partial result; None where that is not so."""
    partial = partial_path(output)
    # Not Path.is_file: with the longer name the answer may be that there can be no such file.
    if os.path.isfile(sidecar_path(output)) or not os.path.isfile(sidecar_path(partial)):  # noqa: PTH113
        return None
    return (
        f"the run of {str(output)!r} left only a partial result: {str(partial)!r}, as its input is damaged; give that "
        f"name instead, or run it again with --tolerant --overwrite"
    )


def check_targets(spec: RunSpec, *, published: bool = False) -> None:
    """Find out, before any work, whether everything that a job may write may be written.

    That is its outputs, their sidecar, and what would be kept of them if the input turns out to be damaged.

    Parameters
    ----------
    spec
        The job.
    published
        Some of its outputs have their names already, from a run that was cut off as they took them.

    Raises
    ------
    SpecError
        When one exists and may not be replaced, is one of the job's own inputs, or two of them are the same.
    SinkError
        When a name can never be taken.
    MissingExtraError
        When an output needs a package that is not installed.
    """
    outputs = [(name, Path(path)) for name, path in spec.targets.items()]
    partial = partial_path(Path(spec.output))
    companions = [
        ("sidecar", sidecar_path(spec.output)),
        *((f"what a damaged input would leave of the {name},", partial_path(target)) for name, target in outputs),
        ("what a damaged input would leave of the sidecar,", sidecar_path(partial)),
    ]
    readings = (
        ("input", spec.input),
        ("reference", spec.reference),
        ("ncc.mask", spec.ncc.mask),
        ("warp.field", spec.warp.field),
        ("scores.regions", spec.scores.regions),
    )
    for name, target in outputs + companions:
        for role, path in readings:
            if isinstance(path, str) and _is_same(target, path):
                raise SpecError(f"{name} {str(target)!r} is the {role} itself; choose another name")
            if isinstance(path, str) and role != "reference" and _joins(target, path, role):
                raise SpecError(
                    f"{name} {str(target)!r} would belong to the {role} {path!r} from then on; choose another folder"
                )
        refuse_existing(target, overwrite=spec.overwrite or published, name=name)
    for (earlier, one), (later, other) in combinations(outputs, 2):
        if _clash(one, other):
            raise SpecError(f"{later} {str(other)!r} is the {earlier} itself; choose another name")
    if spec.fields is not None and Path(spec.fields).suffix.lower() == ".exr":
        import_openexr()


def check_names(spec: RunSpec) -> None:
    """Find out whether the names of everything that a job may write can exist at all.

    Raises
    ------
    SinkError
        When one is too long, or its parent is a file.
    """
    for path in map(Path, spec.targets.values()):
        for target in (path, partial_path(path)):
            for name in (target, sidecar_path(target)):
                next(existing_files(name), None)


def try_folders(spec: RunSpec) -> None:
    """Find out whether files can be made where a job's outputs are going to be; nothing is left behind.

    Raises
    ------
    SinkError
        When a folder cannot be made or written.
    """
    for path in map(Path, spec.targets.values()):
        try:
            Staged(path).discard()
        except OSError as error:
            raise sink_error(path, error) from error


def _clash(one: Path, other: Path) -> bool:
    """Whether two outputs would have a file in common."""
    if is_numbered(one) and is_numbered(other):
        first, second = NumberedFiles(one), NumberedFiles(other)
        # Numbers of different widths meet at the wider one's smallest full number.
        return any(_is_same(first.path(index), str(second.path(index))) for index in (0, 10**9))
    for numbered, single in ((one, other), (other, one)):
        if is_numbered(numbered) and not is_numbered(single):
            files = NumberedFiles(numbered)
            index = files.folded_index(single.name)
            return index is not None and _place(files.path(index)) == _place(single)
    return _is_same(one, str(other))


def refuse_existing(target: Path, *, overwrite: bool, name: str = "output") -> None:
    """Refuse an output that is already there; messages call it `name`.

    Raises
    ------
    SpecError
        When it exists and `overwrite` is not set, or is a folder.
    SinkError
        When it can never exist, because its name is too long or its parent is a file.
    """
    for path in existing_files(target):
        if not path.is_symlink() and path.is_dir():
            raise SpecError(f"{name} {str(target)!r} cannot replace the folder {str(path)!r}")
        if not overwrite:
            raise SpecError(f"{name} {str(target)!r} exists; give --overwrite to replace it")


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
        yield as_spelled(first)
    if numbered:
        try:
            yield from numbered.existing()
        except OSError as error:
            raise sink_error(target, error) from error


def as_spelled(path: Path) -> Path:
    """Name a file as its folder lists it, which on a disk that ignores case may be otherwise."""
    with contextlib.suppress(OSError):
        names = os.listdir(path.parent)  # noqa: PTH208  (nothing else is needed)
        if path.name not in names:
            return next((path.with_name(name) for name in names if fold(name) == fold(path.name)), path)
    return path


def _is_same(target: Path, path: str) -> bool:
    """Whether writing `target` would replace a file that is read, under whatever name."""
    if _place(target) == _place(path):
        return True
    written = {_identity(existing) for existing in existing_files(target)} - {None}
    return bool(written) and any(_identity(read) in written for read in _files_of(path))


def _joins(target: Path, path: str, role: str) -> bool:
    """Whether what is written would be read as a further file of a folder or glob when the job is run again."""
    read = Path(path)
    files = NumberedFiles(target) if is_numbered(target) else None
    written = [target.absolute()] if files is None else [files.path(index) for index in (0, 123456)]
    # What cannot be looked at is no folder here; reading it says why.
    if os.path.isdir(read):  # noqa: PTH112
        suffixes = FIELD_SUFFIXES if role == "warp.field" else PICTURE_OUTPUT_SUFFIXES
        return target.suffix.lower() in suffixes and _place(written[0].parent) == _place(read)
    if os.path.exists(read):  # noqa: PTH110
        return False
    with contextlib.suppress(ValueError):  # two frame numbers: reading it says so
        if (pattern := pattern_of(path)) is not None:
            files_of_four_digits = written if files is None else [files.path(index) for index in (0, 9999)]
            return _place(written[0].parent) == _place(read.absolute().parent) and any(
                pattern.number_of(file.name) is not None for file in files_of_four_digits
            )
    if not glob.has_magic(path):
        return False
    literal, patterns = split_glob(str(read.absolute()))
    folder = Path(os.path.realpath(literal))
    n_parts = len(folder.parts)
    for file in written:
        parts = Path(os.path.realpath(file)).parts
        if len(parts) == n_parts + len(patterns) and all(map(fnmatch.fnmatch, parts[n_parts:], patterns)):
            return _place(Path(*parts[:n_parts])) == _place(folder)
    return False


def _place(path: str | Path) -> Path:
    """Name a path in the one way in which all its spellings are equal, also where it does not exist yet."""
    real = Path(os.path.realpath(path))
    folder, exists, spelled = Path(real.anchor), True, [real.anchor]
    for part in real.parts[1:]:
        # What is made in a folder will be like it, however deep.
        spelled.append(one_spelling(folder, part))
        exists = exists and os.path.lexists(folder / part)
        folder = folder / part if exists else folder
    return Path(*spelled)


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell a file from all others, also through links; None where it is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _files_of(source: str) -> Iterator[Path]:
    """Yield the files that an input may consist of: itself, a folder's, a pattern's or a glob's."""
    path = Path(source)
    with contextlib.suppress(OSError, ValueError):  # reading the source says what is wrong with it
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from path.iterdir()
        else:
            yield from matches_of(source)

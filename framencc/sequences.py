"""Files that belong together: of a directory, glob or printf pattern, in natural order, one kind, one sequence.

And how any of them begins, by which its format is known.
"""

import glob
import itertools
import os
import re
import stat
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.lookup import is_file, is_folder, look_up, reading, require_file
from framencc.spec import FRAME_NUMBER_PATTERN


def list_files(path: str, suffixes: Sequence[str], *, what: str = "input", kind: str = "picture") -> list[Path]:
    """Return the files that a directory, glob, printf pattern or single file names, in natural order.

    Parameters
    ----------
    path
        What the user wrote.
    suffixes
        Which files count, in lower case and with their dots.
    what
        How messages name the role of `path`.
    kind
        How messages name one such file.

    Raises
    ------
    SpecError
        When there are none, or they are of more than one kind.
    """
    given, where = Path(path), f"{what} {path!r}"
    status = look_up(path, where)
    with reading(where):
        if status is not None and not stat.S_ISDIR(status.st_mode):
            require_file(path, where)
            files = [given]
        elif status is not None:
            files = [file for file in given.iterdir() if _is_wanted(file, suffixes, what)]
            if not files:
                raise SpecError(f"{what} directory {path!r} holds no {kind} ({', '.join(suffixes)})")
        elif FRAME_NUMBER_PATTERN.search(given.name):
            files = _matches_of_pattern(given, what)
        else:
            files = _matches_of_glob(path, where)
    if not files:
        raise SpecError(f"{what} {path!r} matches no file")
    files.sort(key=natural_key)
    _check_kinds(path, files, suffixes, what)
    return files


def _matches_of_glob(path: str, where: str) -> list[Path]:
    files = [Path(name) for name in glob.glob(path) if is_file(name, where)]  # noqa: PTH207  (may be absolute)
    if not files:  # `glob` does not tell a folder that holds nothing from one that may not be read
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), Path(path).parts)
        folder = Path(*parts)
        if is_folder(folder, where):
            next(folder.iterdir(), None)
    return files


def natural_key(file: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts ``frame_2`` before ``frame_10``."""
    parts = re.split(r"(\d+)", str(file))
    return [(1, int(part), part) if place % 2 else (0, 0, part) for place, part in enumerate(parts)]


def sequence_numbers(path: str, files: Sequence[Path], *, what: str = "input") -> list[int]:
    """Return the number that each file of one sequence has in its name; 0, 1, 2 ... where the names hold none.

    A name may hold other numbers (take2_0001.png); the frame's is the one that is not everywhere the same.

    Parameters
    ----------
    path
        What the user wrote, for messages.
    files
        In natural order.
    what
        How messages name the role of `path`.

    Raises
    ------
    SpecError
        When they are more than one sequence, or have one number twice.
    """
    names = [re.split(r"(\d+)", file.stem) for file in files]
    if all(len(name) == 1 for name in names):
        return list(range(len(files)))
    families = [(file.parent, name[::2]) for file, name in zip(files, names, strict=True)]
    for file, family in zip(files, families, strict=True):
        if family != families[0]:
            raise _more_than_one(path, files[0], file, what)
    columns = zip(*([int(part) for part in name[1::2]] for name in names), strict=True)
    varying = [list(column) for column in columns if len(set(column)) > 1]
    if len(varying) > 1:
        raise _more_than_one(path, files[0], files[-1], what)
    numbers = varying[0] if varying else [0] * len(files)
    for (before, file), (number_before, number) in zip(pairwise(files), pairwise(numbers), strict=True):
        if number == number_before:
            raise SpecError(f"{what} {path!r} has one number twice: {before.name!r} and {file.name!r}")
    return numbers


def _is_wanted(file: Path, suffixes: Sequence[str], what: str) -> bool:
    named = file.suffix.lower() in suffixes and not file.name.startswith(".")
    return named and is_file(file, f"{what} {str(file)!r}")


def _matches_of_pattern(pattern: Path, what: str) -> list[Path]:
    tokens = list(FRAME_NUMBER_PATTERN.finditer(pattern.name))
    if len(tokens) != 1:
        raise SpecError(f"{what} {str(pattern)!r} must hold one frame number, such as frame_%04d{pattern.suffix}")
    head, token, tail = pattern.name[: tokens[0].start()], tokens[0][0], pattern.name[tokens[0].end() :]
    files = []
    where = f"{what} {str(pattern)!r}"
    for file in pattern.parent.iterdir() if is_folder(pattern.parent, where) else ():
        number = file.name[len(head) : len(file.name) - len(tail)]
        # What printf would write for the number, and nothing else: %04d names frame_0007.png, but not frame_7.png.
        if number.strip().isdecimal() and file.name == head + token % int(number) + tail and is_file(file, where):
            files.append(file)
    return files


def _check_kinds(path: str, files: Sequence[Path], suffixes: Sequence[str], what: str) -> None:
    for file in files:
        suffix = file.suffix.lower()
        if suffix not in suffixes:
            raise SpecError(f"{what} {path!r}: {file.name!r} is no {', '.join(suffixes)} file")
        if suffix != files[0].suffix.lower():
            raise SpecError(
                f"{what} {path!r} mixes {files[0].name!r} and {file.name!r}; name one kind with a glob such as "
                f"'*{files[0].suffix}'"
            )


def _more_than_one(path: str, one: Path, other: Path, what: str) -> SpecError:
    return SpecError(
        f"{what} {path!r} holds more than one sequence ({one.name!r}, {other.name!r}); name one with a pattern such as "
        f"frame_%04d{one.suffix}"
    )


def start_of(path: Path, where: str) -> bytes:
    """Return the first eight bytes of a file, by which its format is known.

    Raises
    ------
    SourceError
        When it cannot be read.
    DamagedInputError
        When it is empty.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise SourceError(f"{where} cannot be read: {error.strerror or os.strerror(error.errno or 0)}") from None
    if not start:
        raise DamagedInputError(f"{where} is empty")
    return start

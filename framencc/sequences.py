"""Files that belong together: of a directory, glob or frame number pattern, in order, one kind, one sequence.

The one home of what names of frames look like: numbers with their signs, time stamps, and the notations for a frame
number. And how any of the files begins, by which its format is known.
"""

import glob
import os
import re
import stat
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.lookup import is_folder, is_listed_file, look_up, reading, require_file
from framencc.time_stamps import read_time_stamps

# Of names such as done_100%done.npy nothing is a number: %d stands alone, and %% is never half a number.
FRAME_NUMBER_PATTERN = re.compile(r"(?<!%)%(?:[0-9]{1,3}d|d(?![A-Za-z]))")
# What other programs write for it: #### and @@@@ (Nuke, RV, Blender), a lone sign between separators, $F4 (Houdini),
# <F4> (Maya, Arnold), and printf's %04i and %04u.
_OTHER_NOTATION = re.compile(
    r"(?P<signs>#{2,}|@{2,})|(?<![^._\- ])(?P<sign>[#@])(?![^._\- ])"
    r"|\$F(?P<houdini>\d?)(?![A-Za-z0-9])|\$\{F(?P<braces>\d?)\}|<(?:f|F|frame)(?P<maya>\d?)>"
    r"|(?<!%)%(?P<printf>\d{0,3})[iu](?![A-Za-z])"
)
_VIEW = re.compile(r"(?<!%)%[vV](?![A-Za-z0-9])")
# A minus is a sign only behind a separator or at the beginning of a name: take.-0001 is before 0, take-0001 is not.
_NUMBER = re.compile(r"((?:(?<![^._\-\s=])-)?\d+)")


def is_sequence_pattern(path: str) -> bool:
    """Whether the file name holds a printf frame number: ``%06d``, or ``%d`` where no letter follows."""
    return FRAME_NUMBER_PATTERN.search(Path(path).name) is not None


def refuse_other_notation(path: str, *, numbered: bool) -> None:
    """Refuse an output's name that holds another program's notation for a frame number.

    Parameters
    ----------
    path
        The output.
    numbered
        Whether such an output may be one file for each frame.

    Raises
    ------
    ValueError
        When it does; the text reads on from the output's name.
    """
    name = Path(path).name
    if view := _VIEW.search(name):
        raise ValueError(f"holds {view[0]}, which stands for a view in Nuke; write the view's name")
    if (other := _OTHER_NOTATION.search(name)) is None:
        return
    if not numbered:
        raise ValueError(f"holds {other[0]}, a frame number, but this output is a single file; leave {other[0]} out")
    printf = _printf_of(other) or "%04d"
    better = f"{name[: other.start()]}{printf}{name[other.end() :]}"
    raise ValueError(f"holds {other[0]}; write a frame number as {printf}: {better!r}")


def _printf_of(match: re.Match[str]) -> str:
    """Return the printf notation for what another program writes; empty for a number of any width."""
    if match["sign"]:
        return "" if match["sign"] == "#" else "%d"  # a single # has one digit in Nuke and four in RV
    if match["signs"]:
        return f"%0{len(match['signs'])}d"
    width = next(match[name] for name in ("houdini", "braces", "maya", "printf") if match[name] is not None)
    if match["printf"] is None and width:
        width = f"0{width}"
    return f"%{width}d"


class FramePattern(NamedTuple):
    """A file name with a frame number in it: what stands before and behind it, and how printf writes it.

    `token` is empty where the number may have any width.
    """

    before: str
    token: str
    after: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a file name; None where it holds no frame number, in any notation.

        Raises
        ------
        ValueError
            When it holds more than one.
        """
        tokens = list(FRAME_NUMBER_PATTERN.finditer(name))
        numbers = [token[0] for token in tokens]
        if not tokens:
            tokens = list(_OTHER_NOTATION.finditer(name))
            numbers = [_printf_of(token) for token in tokens]
        if len(tokens) > 1:
            raise ValueError(f"must hold one frame number, such as frame_%04d{Path(name).suffix}")
        if not tokens:
            return None
        return cls(name[: tokens[0].start()], numbers[0], name[tokens[0].end() :])

    def number_of(self, name: str) -> int | None:
        """Return the number of the frame whose file is called `name`; None where the pattern does not name it.

        A number counts as printf writes it, and no other: ``%04d`` names frame_0007.png, but not frame_7.png. Below 0
        the sign may count as one of the digits, as for printf (-001), or not, as for others (-0001).
        """
        if len(name) < len(self.before) + len(self.after) or not name.startswith(self.before):
            return None
        written = name[len(self.before) : len(name) - len(self.after)]
        if not name.endswith(self.after) or not re.fullmatch(r" *-?[0-9]+", written):
            return None
        number = int(written)
        if not self.token:
            return number
        forms = [self.token % number]
        if number < 0 and _NUMBER.search(f"{self.before}-1", len(self.before)):
            forms.append(f"-{self.token % -number}")
        return number if written in forms else None


def pattern_of(path: str) -> FramePattern | None:
    """Return the frame number pattern that a path is; None where it is another name, or a file or folder of that name.

    Raises
    ------
    ValueError
        When it holds more than one frame number.
    """
    return None if os.path.lexists(path) else FramePattern.parse(Path(path).name)


def is_frame_pattern(path: str) -> bool:
    """Whether the file name holds a frame number, in any notation."""
    return is_sequence_pattern(path) or _OTHER_NOTATION.search(Path(path).name) is not None


def is_pattern(path: str) -> bool:
    """Whether a path that does not exist as it is written names files by a frame number or a glob."""
    return is_frame_pattern(path) or glob.has_magic(path)


def split_glob(path: str) -> tuple[Path, tuple[str, ...]]:
    """Split a glob into the folder that exists as it is written, and the parts of the glob below it.

    Brackets in the file's name are meant literally where they match files only in that way.
    """
    *parents, name = Path(path).parts
    folder, n_literal = Path(), 0
    for part in parents:
        if glob.has_magic(part) and not os.path.isdir(folder / part):  # noqa: PTH112  (False, not an error)
            break
        folder, n_literal = folder / part, n_literal + 1
    below = (*parents[n_literal:], name)
    literal = (*below[:-1], name.replace("[", "[[]"))
    if "[" in name and not _glob_in(folder, below) and _glob_in(folder, literal):
        return folder, literal
    return folder, below


def matches_of(path: str) -> list[Path]:
    """Return what a frame number pattern or a glob names, in order of the numbers or in no order.

    Raises
    ------
    ValueError
        When it holds more than one frame number.
    """
    pattern = pattern_of(path)
    if pattern is None:
        return _glob_in(*split_glob(path)) if glob.has_magic(path) else []
    folder = Path(path).parent
    found = folder.iterdir() if folder.is_dir() else ()
    numbered = [(pattern.number_of(file.name), file) for file in found]
    return [file for _, file in sorted((number, file) for number, file in numbered if number is not None)]


def _glob_in(folder: Path, parts: tuple[str, ...]) -> list[Path]:
    return [folder / name for name in glob.glob(str(Path(*parts)), root_dir=folder)]  # noqa: PTH207  (hidden files)


def list_files(path: str, suffixes: Sequence[str], *, what: str = "input", kind: str = "picture") -> list[Path]:
    """Return the files that a directory, glob, frame number pattern or single file names, in the order of the frames.

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
    status, pattern = look_up(path, where), _pattern_of(path, what)
    with reading(where):
        if status is not None and not stat.S_ISDIR(status.st_mode):
            require_file(path, where)
            files = [given]
        elif status is not None:
            files = [file for file in given.iterdir() if _is_wanted(file, suffixes, what)]
            if not files:
                raise SpecError(f"{what} directory {path!r} holds no {kind} ({', '.join(suffixes)})")
        else:
            if pattern is not None:
                is_folder(given.parent, where)
            files = [file for file in matches_of(path) if is_listed_file(file, where)]
            if not files and pattern is None:  # `glob` does not tell an empty folder from one that may not be read
                folder, _ = split_glob(path)
                if is_folder(folder, where):
                    next(folder.iterdir(), None)
    if not files:
        raise SpecError(f"{what} {path!r} matches no file{_hint(path)}")
    if pattern is None:
        files.sort(key=natural_key)
        if (times := _times(files)) is not None:
            files = [file for _, file in sorted(zip(times, files, strict=True))]
    _check_kinds(path, files, suffixes, what)
    return files


def natural_key(file: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts ``frame_2`` before ``frame_10``, and ``frame.-2`` before ``frame.-1``."""
    key = []
    for name in file.parts:
        parts = _NUMBER.split(name)
        key += [(1, int(part), part) if place % 2 else (0, 0, part) for place, part in enumerate(parts)]
    return key


class Numbering(NamedTuple):
    """The numbers of the files of a sequence, in order; picoseconds where the names are time stamps."""

    numbers: list[int]
    are_times: bool = False


def sequence_numbers(path: str, files: Sequence[Path], *, what: str = "input") -> Numbering:
    """Return the number that each file of one sequence has in its name; 0, 1, 2 ... where the names hold none.

    A name may hold other numbers (take2_0001.png). The frame's is the one that is not everywhere the same, or of
    several such the one that counts the files, with gaps beside a time stamp; or all together are a time stamp.

    Parameters
    ----------
    path
        What the user wrote, for messages, and for the place of the number where it is a pattern.
    files
        As `list_files` returned them.
    what
        How messages name the role of `path`.

    Raises
    ------
    SpecError
        When they are more than one sequence, or have one number twice.
    """
    pattern = _pattern_of(path, what)
    numbers = [] if pattern is None else [pattern.number_of(file.name) for file in files]
    numbering = Numbering([number for number in numbers if number is not None])
    if len(numbering.numbers) != len(files):
        numbering = _numbers_in(path, files, what)
    for (before, file), (number_before, number) in zip(pairwise(files), pairwise(numbering.numbers), strict=True):
        if number == number_before:
            unit = "time" if numbering.are_times else "number"
            raise SpecError(f"{what} {path!r} has one {unit} twice: {before.name!r} and {file.name!r}")
    return numbering


def _numbers_in(path: str, files: Sequence[Path], what: str) -> Numbering:
    """Find the numbers in the names alone."""
    names = [_NUMBER.split(file.stem) for file in files]
    if all(len(name) == 1 for name in names):
        return Numbering(list(range(len(files))))
    if (times := _times(files)) is not None:
        return Numbering(times, are_times=True)
    columns = _columns(files)
    if columns is None:
        raise _more_than_one(path, files, what)
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) > 1:
        counting = [column for column in varying if _is_counting(column)] or [
            column for column in varying if _has_gaps(column) and _are_stamped(names, columns.index(column))
        ]
        if not counting or len(files) < 3:
            raise _more_than_one(path, files, what)
        varying = counting
    return Numbering(varying[0] if varying else [0] * len(files))


def _columns(files: Sequence[Path]) -> list[list[int]] | None:
    """Return the numbers of all names, place by place; None where the names differ in more than numbers."""
    names = [_NUMBER.split(file.stem) for file in files]
    families = [(file.parent, name[::2]) for file, name in zip(files, names, strict=True)]
    if any(family != families[0] for family in families):
        return None
    return [list(column) for column in zip(*([int(part) for part in name[1::2]] for name in names), strict=True)]


def _times(files: Sequence[Path]) -> list[int] | None:
    """Return the times of names that are time stamps; None where they are not, or plain numbers serve as well."""
    if len({file.parent for file in files}) > 1:
        return None
    columns = _columns(files)
    varying = [column for column in columns or [] if len(set(column)) > 1]
    if columns is not None and (not varying or (len(varying) == 1 and _is_counting(varying[0]))):
        return None
    times = read_time_stamps([file.stem for file in files])
    if times is not None and len(varying) == 1 and _has_gaps(varying[0]):
        return times if len({after - before for before, after in pairwise(times)}) == 1 else None
    return times


def _is_counting(numbers: Sequence[int]) -> bool:
    return all(number == before + 1 for before, number in pairwise(numbers))


def _are_stamped(names: Sequence[Sequence[str]], place: int) -> bool:
    """Whether what changes in names beside one of their numbers is a time stamp."""
    others = ["".join((*name[: 2 * place + 1], "#", *name[2 * place + 2 :])) for name in names]
    return read_time_stamps(others) is not None


def _has_gaps(numbers: Sequence[int]) -> bool:
    """Whether numbers rise, by one in at least half of their steps, so that the others are gaps."""
    steps = [after - before for before, after in pairwise(numbers)]
    return min(steps) > 0 and 2 * steps.count(1) >= len(steps)


def _pattern_of(path: str, what: str) -> FramePattern | None:
    try:
        return pattern_of(path)
    except ValueError as error:
        raise SpecError(f"{what} {path!r} {error}") from None


def _is_wanted(file: Path, suffixes: Sequence[str], what: str) -> bool:
    named = file.suffix.lower() in suffixes and not file.name.startswith(".")
    return named and is_listed_file(file, f"{what} {str(file)!r}")


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


def _hint(path: str) -> str:
    """Say what in a path that matches nothing may not mean what the user thinks."""
    if view := _VIEW.search(path):
        return f"; {view[0]} stands for a view in Nuke, which is not read: write the view's name"
    if "[" in path:
        return "; [ ] are part of a glob: write [[] for a bracket that is part of the name"
    return ""


def _more_than_one(path: str, files: Sequence[Path], what: str) -> SpecError:
    other = next((file for file in files if _columns((files[0], file)) is None), files[-1])
    problem = f"{what} {path!r} holds more than one sequence ({files[0].name!r}, {other.name!r})"
    return SpecError(f"{problem}; name one with a pattern such as frame_%04d{files[0].suffix}")


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

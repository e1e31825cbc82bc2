"""A sequence of picture files: a directory, a glob or a printf pattern, in natural order and without silent gaps."""

import glob
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Picture, StreamInfo
from framencc.sources.pictures import PICTURE_SUFFIXES, take_from_file
from framencc.sources.selection import DEFAULT_FRAME_RATE, EVERYTHING, IndexedSource, Selection, sample_bits
from framencc.sources.wanted import LUMA, Taken, Wanted
from framencc.spec import FRAME_NUMBER_PATTERN


class ImageSequenceSource(IndexedSource):
    """Picture files as the frames of a clip.

    A frame's index is its place in the sequence, its time is index / frame_rate. All pictures have the size, sample
    type and channels of the first selected one. Each is turned as its own orientation tag asks for.

    Parameters
    ----------
    path
        A directory, a glob, a printf pattern such as ``frame_%04d.png``, or one picture.
    selection
        The wanted frames.
    frame_rate
        Frames per second.
    allow_gaps
        Accept missing numbers; the frames then close ranks.
    wanted
        What to take out of each picture.

    Raises
    ------
    SpecError
        When the path names no pictures, or pictures that are no single, complete sequence.
    SourceError
        When the first selected picture cannot be read.
    """

    def __init__(
        self,
        path: str,
        *,
        selection: Selection = EVERYTHING,
        frame_rate: Fraction = DEFAULT_FRAME_RATE,
        allow_gaps: bool = False,
        wanted: Wanted = LUMA,
    ) -> None:
        self._wanted = wanted
        self.files: Sequence[Path] = list_pictures(path)
        missing = _check_numbers(path, self.files, allow_gaps=allow_gaps)
        super().__init__(path, selection, len(self.files), frame_rate)
        first = self._indices[0]
        try:
            taken = take_from_file(self.files[first], wanted)
        except DamagedInputError as error:
            # Nothing has been read before the damage, so there is no partial result to keep.
            raise SourceError(str(error)) from None
        self._first_name = self.files[first].name
        self.info = StreamInfo(
            height=taken.data.shape[-2],
            width=taken.data.shape[-1],
            dtype=taken.data.dtype,
            n_frames=len(self._indices),
            frame_rate=frame_rate,
            bits=sample_bits(taken.data.dtype),
            n_channels=1 if taken.data.ndim == 2 else len(taken.data),
            conversion=taken.conversion,
            details={
                "kind": "image sequence",
                "format": self.files[0].suffix.lower().removeprefix("."),
                "first_file": str(self.files[0]),
                "last_file": str(self.files[-1]),
                "files": len(self.files),
                "missing_numbers": missing,
            },
        )

    def _load(self, index: int) -> Taken:
        file = self.files[index]
        try:
            taken = take_from_file(file, self._wanted)
        except SpecError:
            raise SourceError(f"picture {str(file)!r} (frame {index}) is gone since the run began") from None
        except DamagedInputError as error:
            raise DamagedInputError(f"{error} (frame {index}, {float(index / self._frame_rate):.3f} s)") from None
        info, first = self.info, self._first_name
        n_channels = 1 if taken.data.ndim == 2 else len(taken.data)
        if taken.data.shape[-2:] != (info.height, info.width) or taken.data.dtype != info.dtype:
            raise SourceError(
                f"picture {str(file)!r} (frame {index}) is {_describe(taken.data)}, but the sequence is "
                f"{info.width} x {info.height} {info.dtype} as {first!r}"
            )
        if n_channels != info.n_channels:
            kinds = {1: "gray", 3: "in colour"}
            raise SourceError(
                f"picture {str(file)!r} (frame {index}) is {kinds[n_channels]}, but {first!r} is "
                f"{kinds[info.n_channels]}"
            )
        return taken


def list_pictures(path: str) -> list[Path]:
    """Return the files that a directory, glob, printf pattern or single picture names, in natural order.

    Raises
    ------
    SpecError
        When there are none, or they are of more than one kind.
    """
    given = Path(path)
    if given.is_file():
        files = [given]
    elif given.is_dir():
        files = [file for file in given.iterdir() if _is_picture(file)]
        if not files:
            raise SpecError(f"input directory {path!r} holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    elif FRAME_NUMBER_PATTERN.search(given.name):
        files = _matches_of_pattern(given)
    else:
        files = [Path(name) for name in glob.glob(path) if Path(name).is_file()]  # noqa: PTH207  (may be absolute)
    if not files:
        raise SpecError(f"input {path!r} matches no file")
    files.sort(key=natural_key)
    return _of_one_kind(path, files)


def natural_key(file: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts ``frame_2`` before ``frame_10``."""
    parts = re.split(r"(\d+)", str(file))
    return [(1, int(part), part) if place % 2 else (0, 0, part) for place, part in enumerate(parts)]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _matches_of_pattern(pattern: Path) -> list[Path]:
    tokens = list(FRAME_NUMBER_PATTERN.finditer(pattern.name))
    if len(tokens) != 1:
        raise SpecError(f"input {str(pattern)!r} must hold one frame number, such as frame_%04d.png")
    head, token, tail = pattern.name[: tokens[0].start()], tokens[0][0], pattern.name[tokens[0].end() :]
    files = []
    for file in pattern.parent.iterdir() if pattern.parent.is_dir() else ():
        number = file.name[len(head) : len(file.name) - len(tail)]
        # What printf would write for the number, and nothing else: %04d names frame_0007.png, but not frame_7.png.
        if number.strip().isdecimal() and file.name == head + token % int(number) + tail and file.is_file():
            files.append(file)
    return files


def _of_one_kind(path: str, files: list[Path]) -> list[Path]:
    for file in files:
        suffix = file.suffix.lower()
        if suffix not in PICTURE_SUFFIXES:
            raise SpecError(f"input {path!r}: {file.name!r} is no {', '.join(PICTURE_SUFFIXES)} file")
        if suffix != files[0].suffix.lower():
            raise SpecError(
                f"input {path!r} mixes {files[0].name!r} and {file.name!r}; name one kind with a glob such as "
                f"'*{files[0].suffix}'"
            )
    return files


def _check_numbers(path: str, files: Sequence[Path], *, allow_gaps: bool) -> int:
    """Raise unless the files are one numbered sequence without gaps (or have no numbers); return the missing count."""
    names = [re.split(r"(\d+)", file.stem) for file in files]
    if all(len(name) == 1 for name in names):
        return 0
    families = [(file.parent, name[::2]) for file, name in zip(files, names, strict=True)]
    for file, family in zip(files, families, strict=True):
        if family != families[0]:
            raise _more_than_one(path, files[0], file)
    # A name may hold other numbers (take2_0001.png); the frame's is the one that is not everywhere the same.
    columns = zip(*([int(part) for part in name[1::2]] for name in names), strict=True)
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) > 1:
        raise _more_than_one(path, files[0], files[-1])
    numbers = varying[0] if varying else [0] * len(files)
    missing = 0
    for (before, file), (number_before, number) in zip(pairwise(files), pairwise(numbers), strict=True):
        step = number - number_before
        if step == 0:
            raise SpecError(f"input {path!r} has one number twice: {before.name!r} and {file.name!r}")
        if step > 1 and not allow_gaps:
            raise SpecError(
                f"input {path!r} lacks number {number_before + 1}, between {before.name!r} and {file.name!r}; "
                f"allow_gaps accepts that"
            )
        missing += step - 1
    return missing


def _more_than_one(path: str, one: Path, other: Path) -> SpecError:
    return SpecError(
        f"input {path!r} holds more than one sequence ({one.name!r}, {other.name!r}); name one with a pattern such as "
        f"frame_%04d.png"
    )


def _describe(picture: Picture) -> str:
    return f"{picture.shape[-1]} x {picture.shape[-2]} {picture.dtype}"

"""A sequence of picture files: a directory, a glob or a frame number pattern, in order and without silent gaps."""

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Picture, StreamInfo
from framencc.lookup import look_up
from framencc.sequences import Numbering, list_files, sequence_numbers, start_of
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.pictures import PICTURE_SUFFIXES, take_from_file
from framencc.sources.selection import DEFAULT_FRAME_RATE, EVERYTHING, IndexedSource, Selection
from framencc.sources.significant import Codes, find_code_range, places_to_look
from framencc.sources.wanted import LUMA, Taken, Wanted


class ImageSequenceSource(IndexedSource):
    """Picture files as the frames of a clip.

    A frame's index is its place in the sequence, its time is index / frame_rate. All pictures have the size, sample
    type and channels of the first selected one. Each is turned as its own orientation tag asks for.

    Parameters
    ----------
    path
        A directory, a glob, a frame number pattern such as ``frame_%04d.png``, or one picture.
    selection
        The wanted frames.
    frame_rate
        Frames per second.
    allow_gaps
        Accept missing numbers; the frames then close ranks.
    wanted
        What to take out of each picture.
    tolerant
        Missing numbers, and pictures that cannot be read or are unlike the first one, are damaged frames.
    limits
        How much is read at most.
    bits
        How many bits of its codes are significant; by default as the files say, or else as few as hold them.

    Raises
    ------
    SpecError
        When the path names no pictures, or pictures that are no single, complete sequence, or whose codes do not fit
        `bits`.
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
        tolerant: bool = False,
        limits: SizeLimits = DEFAULT_LIMITS,
        bits: int | None = None,
    ) -> None:
        self._wanted = wanted
        self._tolerant = tolerant
        self.files: Sequence[Path] = list_pictures(path)
        numbering = sequence_numbers(path, self.files)
        numbers = numbering.numbers
        missing = 0
        if not numbering.are_times:
            missing = _check_numbers(path, self.files, numbers, allow_gaps=allow_gaps or tolerant)
        # The file of each frame; in the place of a missing number there is none.
        self._places = dict(enumerate(self.files))
        if missing and not allow_gaps:
            if missing > len(self.files):
                raise SpecError(f"input {path!r} has {len(self.files)} pictures and lacks {missing} between them")
            self._places = {number - numbers[0]: file for number, file in zip(numbers, self.files, strict=True)}
        super().__init__(path, selection, max(self._places) + 1, frame_rate, limits)
        self._first_name, taken = self._take_first(selection, limits.max_pixels)
        self._packed_bits = taken.packed_bits
        self.info = StreamInfo(
            height=taken.data.shape[-2],
            width=taken.data.shape[-1],
            dtype=taken.data.dtype,
            n_frames=selection.done + len(self._indices),
            frame_rate=frame_rate,
            code_range=find_code_range(taken.data.dtype, self._codes(taken), bits, "input"),
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
            warnings=_warnings(path, self.files, numbering, frame_rate),
        )
        self._check_length()

    def _take_first(self, selection: Selection, max_pixels: int) -> tuple[str, Taken]:
        """Read the first selected picture, or the first of them that can be read."""
        problem: SourceError | None = None
        for index in range(selection.origin, max(self._places) + 1, selection.step):
            if (file := self._places.get(index)) is None:
                continue
            try:
                return file.name, take_from_file(file, self._wanted, max_pixels=max_pixels)
            except SourceError as error:
                problem = problem or error
                if not self._tolerant:
                    break
        # Nothing has been read before the damage, so there is no partial result to keep.
        raise SourceError(str(problem or f"input {self._path!r} has no picture that is selected")) from None

    def _codes(self, first: Taken) -> Iterator[Codes | None]:
        """Look at the codes of pictures from all over the sequence, if they need it as those of the first do."""
        if first.data.dtype != np.uint16:
            return
        for place in places_to_look(len(self.files)):
            # One that cannot be read is found when its turn comes, if it is selected.
            with contextlib.suppress(SourceError, SpecError):
                file, most = self.files[place], self._limits.max_pixels
                yield take_from_file(file, self._wanted, max_pixels=most, look=True).codes

    def _file_name(self, index: int) -> str | None:
        file = self._places.get(index)
        return None if file is None else file.name

    def _load(self, index: int) -> Taken:
        file = self._places.get(index)
        if file is None:
            raise DamagedInputError(f"the picture of frame {index} is missing")
        if look_up(file, f"picture {str(file)!r} (frame {index})") is None:
            raise SourceError(f"picture {str(file)!r} (frame {index}) is gone since the run began")
        place = f"(frame {index}, {float(index / self._frame_rate):.3f} s)"
        start_of(file, f"picture {str(file)!r} {place}")
        try:
            taken = take_from_file(file, self._wanted, max_pixels=self._limits.max_pixels)
        except (SpecError, SourceError) as error:
            if isinstance(error.__cause__, (OSError, MemoryError)):  # the system's fault, not the file's
                raise SourceError(f"{error} {place}") from None
            # The first picture could be read: whatever is wrong with this one is damage to the sequence.
            raise DamagedInputError(f"{error} {place}") from None
        info, first = self.info, self._first_name
        n_channels = 1 if taken.data.ndim == 2 else len(taken.data)
        if taken.data.shape[-2:] != (info.height, info.width) or taken.data.dtype != info.dtype:
            raise DamagedInputError(
                f"picture {str(file)!r} {place} is {_describe(taken.data)}, but the sequence is "
                f"{info.width} x {info.height} {info.dtype} as {first!r}"
            )
        if taken.packed_bits != self._packed_bits:
            bits, expected = taken.packed_bits or 16, self._packed_bits or 16
            raise DamagedInputError(f"picture {str(file)!r} {place} has {bits} bits a sample, but {first!r} {expected}")
        if n_channels != info.n_channels:
            kinds = {1: "gray", 3: "in colour"}
            raise DamagedInputError(
                f"picture {str(file)!r} {place} is {kinds[n_channels]}, but {first!r} is {kinds[info.n_channels]}"
            )
        return taken


def list_pictures(path: str) -> list[Path]:
    """Return the files that a directory, glob, frame number pattern or single picture names, in order.

    Raises
    ------
    SpecError
        When there are none, or they are of more than one kind.
    """
    return list_files(path, PICTURE_SUFFIXES)


def _check_numbers(path: str, files: Sequence[Path], numbers: Sequence[int], *, allow_gaps: bool) -> int:
    """Raise unless the numbers are without gaps; return how many are missing."""
    missing = 0
    for (before, file), (number_before, number) in zip(pairwise(files), pairwise(numbers), strict=True):
        if number > number_before + 1 and not allow_gaps:
            raise SpecError(
                f"input {path!r} lacks number {number_before + 1}, between {before.name!r} and {file.name!r}; "
                f"allow_gaps accepts that"
            )
        missing += number - number_before - 1
    return missing


def _warnings(path: str, files: Sequence[Path], numbering: Numbering, frame_rate: Fraction) -> tuple[str, ...]:
    warnings = []
    if numbering.are_times:
        warnings.append(
            f"the names of input {path!r} are time stamps: a missing frame cannot be noticed, and times are counted at "
            f"{float(frame_rate):g} frames a second (frame_rate)"
        )
    elif numbering.numbers[0] < 0 and numbering.numbers[-1] < 0:
        warnings.append(
            f"the frame numbers of input {path!r} are read as negative: {files[0].name!r} is the first frame"
        )
    return tuple(warnings)


def _describe(picture: Picture) -> str:
    return f"{picture.shape[-1]} x {picture.shape[-2]} {picture.dtype}"

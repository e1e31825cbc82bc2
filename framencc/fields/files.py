"""Displacement fields from files and into files: .npy, Middlebury .flo, KITTI .png, OpenEXR, and STMaps.

A field is (H, W, 2) float32 (dx, dy) in pixels on the reference's grid, with y downwards and pixel centres at integers:
warped(x, y) = frame(x + dx, y + dy). NaN in both components marks a pixel without a displacement.
"""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from framencc import npy, png
from framencc.errors import DamagedInputError, FramenccError, SinkError, SourceError, SpecError
from framencc.fields.exr import EXR_START, read_exr, write_exr
from framencc.fields.formats import (
    FLO_START,
    FLO_UNKNOWN,
    Note,
    Size,
    Stored,
    check_shape,
    flo_content,
    from_kitti,
    npy_content,
    read_flo,
    read_float_header,
    read_npy,
    read_png,
)
from framencc.fields.stmap import displacement_of, rounding
from framencc.lookup import look_up, require_file
from framencc.sequences import list_files, sequence_numbers, start_of
from framencc.staging import write_all
from framencc.values import MAX_PIXELS

Convention = Literal["displacement", "stmap"]
Field = npt.NDArray[np.float32]

FIELD_SUFFIXES = (".npy", ".flo", ".png", ".exr")

_READERS: dict[bytes, Callable[..., Stored]] = {
    npy.START: read_npy,
    FLO_START: read_flo,
    png.SIGNATURE: read_png,
    EXR_START: read_exr,
}


def read_field(
    path: str | Path,
    size: Size,
    *,
    convention: Convention = "displacement",
    frame_size: Size | None = None,
    index: int | None = None,
) -> Field:
    """Read one displacement field; the content decides what the file is, not its name.

    Parameters
    ----------
    path
        - .npy: (H, W, 2) float16, float32 or float64;
        - Middlebury's .flo: a component that is NaN or beyond 1e9 means unknown;
        - KITTI's 16-bit RGB PNG: (R - 2^15) / 64, (G - 2^15) / 64, B = 0 means unknown; convention ``stmap`` reads
          R / 65535, G / 65535, of RGBA files too;
        - OpenEXR of half or float channels (x, y), (dx, dy), (u, v) or (R, G), in a layer or not, in capitals or not;
          outside the data window there is no displacement. The vertical channel counts downwards, unlike a motion layer
          of Nuke.
    size
        Height and width of the reference, which the file's must be.
    convention
        What the two numbers mean. ``displacement``: dx, dy in pixels. ``stmap``: a position in the frame as Nuke's
        STMap node takes it; "the values are normalized to be between 0 and 1, where 0 is the bottom left corner of the
        input image, and 1 is the top right corner" (Foundry, Nuke Reference Guide, STMap). Corners are half a pixel
        beyond the outer pixels' centres, so u = (x + 0.5) / W and v = (H - 0.5 - y) / H, whence x = u W - 0.5 and
        y = H - 0.5 - v H, with the frame's H and W. Positions beyond 0 and 1 are outside the frame. A number that is
        the nearest its type has to the pixel's own position means exactly no displacement; in half floats and 16-bit
        codes a position is uncertain by up to size / 4096 and size / 131070 pixels.
    frame_size
        Height and width of the frame, for ``stmap``; None: those of the reference.
    index
        Which field of an (N, H, W, 2) .npy file; None: the file holds one field.

    Returns
    -------
    ndarray
        (H, W, 2) float32 displacement in pixels, C-contiguous; NaN in both components where there is none.

    Raises
    ------
    SpecError
        When there is no such file, or an option is wrong.
    SourceError
        When it is no such file, of another size, of another type, or holds an infinite number.
    DamagedInputError
        When it is such a file, but broken.
    MissingExtraError
        When it is an EXR and OpenEXR is not installed.
    """
    return load_field(path, size, convention=convention, frame_size=frame_size, index=index).displacement


class LoadedField(NamedTuple):
    """A field and what a user should know of the file that it comes from."""

    displacement: Field
    notes: tuple[Note, ...]


def load_field(
    path: str | Path, size: Size, *, convention: Convention, frame_size: Size | None = None, index: int | None = None
) -> LoadedField:
    """Read one displacement field, and say what is to be known of its file; see `read_field`."""
    path = Path(path)
    where = f"field {str(path)!r}"
    size, frame_size = _checked_size(size, "size"), _checked_size(frame_size or size, "frame_size")
    if convention not in get_args(Convention):
        raise SpecError(f"convention must be one of {', '.join(get_args(Convention))}, not {convention!r}")
    require_file(path, where)
    notes: list[Note] = []
    try:
        stored = _read_stored(path, size, where, index, convention, notes)
    except (FramenccError, MemoryError):
        raise
    except OSError as error:
        if error.errno is None:
            raise DamagedInputError(f"{where} is damaged: {_one_line(error)}") from None
        raise SourceError(f"{where} cannot be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  (a damaged file makes the decoders raise nearly anything)
        raise DamagedInputError(f"{where} is damaged: {_one_line(error)}") from None
    notes += rounding(stored, frame_size, positions=convention == "stmap")
    if convention == "stmap":
        stored = displacement_of(stored, frame_size)
    elif stored.dtype == np.uint16:
        stored = from_kitti(stored, where)
    return LoadedField(_finished(stored, where), tuple(notes))


@dataclass(frozen=True, slots=True)
class FieldSequence:
    """The fields of a clip, one for each frame of the input.

    Parameters
    ----------
    path
        What the user wrote.
    files
        One file a frame, in order; or the one .npy that holds them all.
    n_fields
        How many fields there are.
    stacked
        Whether one .npy holds them all.
    indices
        The frame of each field.
    """

    path: str
    files: tuple[Path, ...]
    n_fields: int
    stacked: bool
    indices: Sequence[int]

    def __len__(self) -> int:
        return self.n_fields

    def __repr__(self) -> str:
        return f"FieldSequence({self.path!r}, n_fields={self.n_fields})"

    def read(
        self, index: int, size: Size, *, convention: Convention = "displacement", frame_size: Size | None = None
    ) -> Field:
        """Read the field of frame `index`, counted from 0 in the input; see `load`."""
        return self.load(index, size, convention=convention, frame_size=frame_size).displacement

    def load(
        self, index: int, size: Size, *, convention: Convention = "displacement", frame_size: Size | None = None
    ) -> LoadedField:
        """Read the field of frame `index`, counted from 0 in the input; see `load_field`, whose errors name the frame.

        Raises
        ------
        SourceError
            Also when the file is gone, or there is no such frame.
        """
        place = self._place(index)
        if place is None:
            raise SourceError(
                f"fields {self.path!r} are {self.n_fields}, of the frames {self.indices[0]} to {self.indices[-1]}: "
                f"there is none for frame {index}"
            )
        file = self.files[0 if self.stacked else place]
        if look_up(file, f"field {str(file)!r} (frame {index})") is None:
            raise SourceError(f"field {str(file)!r} (frame {index}) is gone since the run began")
        try:
            return load_field(
                file, size, convention=convention, frame_size=frame_size, index=place if self.stacked else None
            )
        except DamagedInputError as error:
            raise DamagedInputError(f"{error} (frame {index})") from None
        except SourceError as error:
            raise SourceError(f"{error} (frame {index})") from None

    def _place(self, index: int) -> int | None:
        place = bisect.bisect_left(self.indices, index)
        return place if place < self.n_fields and self.indices[place] == index else None


def list_fields(
    path: str | Path, n_frames: int | None, selected: Sequence[int] | None = None, *, allow_gaps: bool = False
) -> FieldSequence:
    """Find the fields of a clip.

    A field belongs to the frame of its number. Only where there are as many fields as the whole input has frames they
    may begin to count anywhere; and one .npy of as many fields as frames are selected belongs to those.

    Parameters
    ----------
    path
        A directory, a glob, a frame pattern, or one file: a field for a clip of one frame, or an (N, H, W, 2) .npy.
    n_frames
        Number of frames in the input, those included that are not selected; None where only reading tells.
    selected
        The numbers of the frames that need a field; None: all of them, or not known.
    allow_gaps
        Whether frames may lack a field all the same, if it is certain to which frames the others belong.

    Raises
    ------
    SpecError
        When there are none, of more than one kind or sequence, or a frame has none.
    SourceError, DamagedInputError
        When a single .npy file cannot be read.
    """
    path = str(path)
    files = list_files(path, FIELD_SUFFIXES, what="fields", kind="displacement field")
    stacked = len(files) == 1 and _is_stacked(files[0])  # which refuses an array that holds no field
    if stacked:
        n_fields = read_float_header(files[0], f"fields {path!r}").shape[0]
        if n_fields == 0:
            raise SpecError(f"fields {path!r} is an array of none")
        of_selection = selected is not None and n_fields == len(selected) and n_fields != n_frames
        indices: Sequence[int] = list(selected) if of_selection and selected is not None else range(n_fields)
    else:
        n_fields = len(files)
        indices, are_times = sequence_numbers(path, files, what="fields")
        n_numbers = indices[-1] - indices[0] + 1
        if are_times:
            indices = range(n_fields)
        elif n_numbers == n_frames and (allow_gaps or n_numbers == n_fields):
            indices = [number - indices[0] for number in indices]
        if selected is None and not allow_gaps:
            _refuse_gaps(path, files, indices)
        if selected is None and allow_gaps and indices[0] != 0:
            # Frame 0 may have none, or the last one and all count from 1.
            raise SpecError(
                f"fields {path!r} have the numbers {indices[0]} to {indices[-1]}, so it is not certain to which frames "
                f"they belong; number them from 0, as frames are"
            )
    fields = FieldSequence(path, tuple(files), n_fields, stacked, indices)
    if selected is None and n_frames is not None and n_fields != n_frames and not (allow_gaps and n_fields < n_frames):
        _is_stacked(files[0])  # what is no field has no right number either
        raise SpecError(_wrong_count(path, files, n_fields, n_frames))
    missing = sorted(set(selected or ()) - set(indices))
    if missing and not allow_gaps:
        raise SpecError(
            f"fields {path!r} are {n_fields}, of the frames {indices[0]} to {indices[-1]}; frame {missing[0]} has none"
        )
    return fields


def _refuse_gaps(path: str, files: Sequence[Path], numbers: Sequence[int]) -> None:
    for (before, file), (number_before, number) in zip(pairwise(files), pairwise(numbers), strict=True):
        if number != number_before + 1:
            raise SpecError(
                f"fields {path!r} lack number {number_before + 1}, between {before.name!r} and {file.name!r}; each "
                f"frame needs its own"
            )


def _is_stacked(file: Path) -> bool:
    """Tell whether a file is a .npy of four axes.

    Raises
    ------
    SourceError, DamagedInputError
        When it cannot be read, or is a .npy of another shape than one field's or several fields'.
    """
    where = f"field {str(file)!r}"
    if not start_of(file, where).startswith(npy.START):
        return False
    shape = read_float_header(file, where).shape
    check_shape(shape, where)
    return len(shape) == 4


def write_field(path: str | Path, field: npt.NDArray[np.floating]) -> None:
    """Write a displacement field as .npy, .flo or .exr, by the name's ending; `read_field` gives back the same bits.

    The file is written in place: a caller who wants it whole or not at all writes it under a hidden name. A NaN's own
    bits are not kept in .flo, where a number beyond 1e9 stands for it, in both components.

    Parameters
    ----------
    path
        Its folder exists. An .exr gets float channels ``dx`` and ``dy``.
    field
        (H, W, 2) in pixels; converted to float32.

    Raises
    ------
    SpecError
        When the ending is another, or the field is not of that shape, not float, or has numbers that cannot be told
        from unknown.
    SinkError
        When the file cannot be written.
    MissingExtraError
        When it is to be an EXR and OpenEXR is not installed.
    """
    path = Path(path)
    where = f"field {str(path)!r}"
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".flo", ".exr"):
        raise SpecError(f"{where} must end in .npy, .flo or .exr")
    field = np.asarray(field)
    if field.ndim != 3 or field.shape[2] != 2 or 0 in field.shape or field.dtype.kind != "f":
        raise SpecError(f"{where}: a field is (H, W, 2) of floats, not {field.shape} {field.dtype}")
    with np.errstate(over="ignore"):
        data = field.astype(np.float32, copy=False)
    limit = np.float32(FLO_UNKNOWN) if suffix == ".flo" else np.finfo(np.float32).max
    if np.any(np.abs(data) > limit):
        raise SpecError(f"{where}: a displacement beyond {limit:g} pixels cannot be written; NaN marks an unknown one")
    if suffix == ".exr":
        write_exr(path, data)
        return
    content = npy_content(data) if suffix == ".npy" else flo_content(data)
    try:
        with path.open("wb", buffering=0) as file:
            write_all(file, content)
    except OSError as error:
        raise SinkError(f"{where} cannot be written: {error.strerror or error}") from None


def _read_stored(
    path: Path, size: Size, where: str, index: int | None, convention: Convention, notes: list[Note]
) -> Stored:
    start = start_of(path, where)
    for magic, reader in _READERS.items():
        if start.startswith(magic):
            if reader is read_flo and convention == "stmap":
                raise SourceError(f"{where} is a .flo file, which holds displacements; an STMap is .exr, .png or .npy")
            if index is None and reader is read_exr:
                return read_exr(path, size, where, notes)
            if index is None:
                return reader(path, size, where)
            if reader is read_npy:
                return read_npy(path, size, where, index)
            raise SourceError(f"{where} holds one field, not one for each frame")
    raise SourceError(f"{where} is no .npy, .flo, PNG or EXR file")


def _finished(displacement: Stored, where: str) -> Field:
    """Convert to float32, refuse infinities, and mark what is half unknown as wholly unknown."""
    with np.errstate(over="ignore"):
        field = np.ascontiguousarray(displacement, dtype=np.float32)
    if np.isinf(field).any():
        y, x, _ = np.argwhere(np.isinf(field))[0]
        raise SourceError(f"{where} is infinite at x = {x}, y = {y}; NaN marks a pixel without a displacement")
    half_unknown = np.isnan(field[..., 0]) != np.isnan(field[..., 1])
    field[half_unknown] = np.nan
    return field


def _checked_size(size: Size, name: str) -> Size:
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise SpecError(f"{name} (height, width) must be of 1 to {MAX_PIXELS} pixels, not {size}")
    return int(height), int(width)


def _wrong_count(path: str, files: list[Path], n_fields: int, n_frames: int) -> str:
    counts = f"fields {path!r} are {n_fields}, the input's frames {n_frames}; each frame needs its own: "
    if len(files) != n_fields:
        return f"{counts}there is none for frame {n_fields}" if n_fields < n_frames else f"{counts}there are too many"
    if n_fields < n_frames:
        return f"{counts}none follows {files[-1].name!r} for frame {n_fields}"
    return f"{counts}{files[n_frames].name!r} has no frame"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

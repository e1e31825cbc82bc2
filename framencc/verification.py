"""Whether an output holds what was written to it: maps are compared by their digests or imprints, and their times."""

import hashlib
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from framencc.errors import FramenccError, SourceError, UnreadableNowError
from framencc.fields import read_field
from framencc.frames import Picture
from framencc.lookup import require_file
from framencc.sidecar import read_sidecar
from framencc.sinks.base import Imprint
from framencc.sinks.targets import NumberedFiles, is_numbered, left_partial
from framencc.sources import VideoSource, read_picture
from framencc.sources.limits import SizeLimits
from framencc.spec import VIDEO_OUTPUT_SUFFIXES, LimitsSpec
from framencc.staging import sidecar_path
from framencc.stored_packets import stored_imprints
from framencc.values import MAX_PIXELS

Row = Mapping[str, Any]
READING_ERRORS = (FramenccError, OSError, MemoryError)
_DIGEST_LETTERS = 32
_MILLISECOND, _MICROSECOND = 0.0005 + 1e-9, 1e-6
_SHOWN_PROBLEMS = 10
_NO_LIMITS = SizeLimits(MAX_PIXELS, sys.maxsize, math.inf)


class StoredMap(NamedTuple):
    """One map as it is read from an output; what is not known is None."""

    digest: str | None
    pts_seconds: float | None
    imprint: Imprint | None = None


def digest(data: Picture) -> str:
    """Return the first 128 bits of the SHA-256 of a picture's dtype, shape and samples, in hexadecimal.

    Samples count in C order and little-endian; of a displacement field, NaN counts as one value whatever its bits.
    """
    if data.ndim == 3 and data.dtype.kind == "f" and np.isnan(data).any():
        data = data.copy()
        # One component after the other: a reduction over the last axis takes a hundred times as long.
        data[np.logical_or.reduce([np.isnan(data[..., part]) for part in range(data.shape[2])])] = np.nan
    data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
    total = hashlib.sha256(f"{data.dtype.kind}{data.dtype.itemsize}{data.shape}".encode())
    total.update(data.data.cast("B"))
    return total.hexdigest()[:_DIGEST_LETTERS]


def open_stored(path: Path, *, stall_seconds: float) -> VideoSource:
    """Open a video that we have written ourselves, however long it is."""
    return VideoSource(str(path), stall_seconds=stall_seconds, limits=_NO_LIMITS)


def stored_maps(
    path: Path, indices: Iterable[int], *, size: tuple[int, int] | None = None, stall_seconds: float
) -> Iterator[StoredMap]:
    """Read an output map by map.

    Parameters
    ----------
    path
        A video, an array, or a printf pattern.
    indices
        The frames' numbers, by which the files of a pattern are named.
    size
        (H, W) of displacement fields, None where the output holds maps.
    stall_seconds
        A decoder without progress for this long is killed.

    Raises
    ------
    FramenccError
        When it cannot be read, or is damaged.
    """
    if path.suffix.lower() in VIDEO_OUTPUT_SUFFIXES:
        with open_stored(path, stall_seconds=stall_seconds) as video:
            for frame in video.frames():
                yield StoredMap(digest(frame.data), frame.pts_seconds)
    elif is_numbered(path):
        files = NumberedFiles(path)
        for index in indices:
            file = files.path(index)
            yield StoredMap(digest(read_picture(file) if size is None else read_field(file, size)), None)
    else:
        for data in _array(path):
            yield StoredMap(digest(data), None)


def with_imprints(decoded: Iterator[StoredMap], path: Path) -> Iterator[StoredMap]:
    """Add the imprints of a video's packets to its decoded maps."""
    for one, packet in zip_longest(decoded, stored_imprints(path, ())):
        if one is None or packet is None:
            raise SourceError(f"{str(path)!r} decodes to another number of maps than it has packets")
        yield one._replace(imprint=packet[0])


def find_problems(stored: Iterator[StoredMap], rows: Iterator[Row], name: str, path: Path) -> Iterator[str]:
    """Compare an output with what was written; yield one line for everything that differs.

    Parameters
    ----------
    stored
        The maps that are read from it.
    rows
        The sidecar's rows; one that has neither a digest nor an imprint is compared by its time alone.
    name
        The output's name in the spec, by which rows hold its digests and imprints.
    path
        The output.

    Raises
    ------
    UnreadableNowError
        When reading was cut short, which tells nothing of the output.
    """
    where = f"{name} {str(path)!r}"
    tolerance = _MILLISECOND if path.suffix.lower() == ".mkv" else _MICROSECOND
    n_stored = n_rows = 0
    try:
        for row, got in zip_longest(rows, stored):
            n_rows += row is not None
            n_stored += got is not None
            if row is None or got is None:
                continue
            frame = f"{where}: frame {row['index']} ({row['pts_seconds']:.3f} s)"
            if _differs(row, "digests", name, got.digest) or _differs(row, "imprints", name, got.imprint):
                yield f"{frame} does not hold what was written"
            if got.pts_seconds is not None and abs(got.pts_seconds - row["pts_seconds"]) > tolerance:
                yield f"{frame} has time {got.pts_seconds:.6f} s"
    except READING_ERRORS as error:
        yield problem_of(error, where, n_stored)
        return
    if n_stored != n_rows:
        yield f"{where} holds {n_stored} maps, {n_rows} were written"


def find_changed_frames(digests: Iterator[str], rows: Iterator[Row], name: str, path: Path) -> Iterator[str]:
    """Compare a few frames of a lossless output with their rows; as `find_problems`."""
    where = f"{name} {str(path)!r}"
    try:
        for row, got in zip_longest(rows, digests):
            if row is None or got is None:
                yield f"{where} decodes to another number of maps than were written"
            elif row["digests"][name] != got:
                yield f"{where}: frame {row['index']} ({row['pts_seconds']:.3f} s) does not hold what was written"
    except READING_ERRORS as error:
        yield problem_of(error, where)


def problem_of(error: BaseException, where: str, n_read: int | None = None) -> str:
    """Return the line that says that an output cannot be read.

    Parameters
    ----------
    error
        One of `READING_ERRORS`.
    where
        What the line calls the output.
    n_read
        How many maps could be read; None where they were not read in turn.

    Raises
    ------
    UnreadableNowError
        When the error is none of the output.
    """
    since = "" if n_read is None else f" from map {n_read} on"
    if _tells_nothing(error):
        reason = "memory is short" if isinstance(error, MemoryError) else error
        raise UnreadableNowError(f"{where} could not be read back now{',' if since else ''}{since}: {reason}") from None
    return f"{where} cannot be read{since}: {error}"


def _differs(row: Row, kind: str, name: str, got: object) -> bool:
    return got is not None and row.get(kind, {}).get(name) not in (None, got)


def _tells_nothing(error: BaseException) -> bool:
    """Whether a failure to read is one of the system, not of what is read."""
    if isinstance(error, FramenccError):
        # A plain one is that of a child that cannot be started.
        return isinstance(error, UnreadableNowError) or type(error) is FramenccError
    return not isinstance(error, FileNotFoundError)


def changes_of_file(path: Path, name: str, written: Mapping[str, Any]) -> Iterator[str]:
    """Compare a file that is no sequence of maps with what was written, byte for byte.

    Parameters
    ----------
    path
        The file.
    name
        What messages call it.
    written
        What the sidecar's ``results`` say of it.
    """
    try:
        require_file(path, f"{name} {str(path)!r}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != written["sha256"]:
                yield f"{name} {str(path)!r} does not hold what was written"
    except FramenccError as error:
        yield str(error)
    except OSError as error:
        yield f"{name} {str(path)!r} cannot be read: {error.strerror or error}"


@dataclass(frozen=True)
class Verification:
    """What comparing a finished output with its sidecar has found.

    Parameters
    ----------
    n_frames
        How many frames the sidecar describes.
    outputs
        The outputs that were compared, by their names in the spec.
    problems
        One line for everything that differs; empty where all is as it was written.
    uncompared
        Outputs whose maps could not be compared, only counted: lossy ones of earlier versions that did not verify.
    """

    n_frames: int
    outputs: Mapping[str, Path]
    problems: Sequence[str]
    uncompared: Sequence[str] = ()


def verify(output: str | Path) -> Verification:
    """Decode a finished output, and the other outputs of its run, and compare them with the sidecar.

    Parameters
    ----------
    output
        The maps, as named when they were made: a video, an array, or a printf pattern.

    Raises
    ------
    SourceError
        When there is no sidecar beside it, or none that can be read, or an output could not be read to its end now.
        Where its run has left a partial result, that is named.
    """
    output = Path(output)
    path = sidecar_path(output)
    if (instead := left_partial(output)) is not None:
        raise SourceError(instead)
    content = read_sidecar(path)
    try:
        return _verify(output, path, content)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FramenccError):
            raise
        raise SourceError(f"sidecar {str(path)!r} does not say what was written: {error!r} in it") from None


def _verify(output: Path, path: Path, content: Mapping[str, Any]) -> Verification:
    rows: list[Row] = content["frames"]
    recorded = content.get("outputs")
    if not isinstance(recorded, dict) or "output" not in recorded:
        raise SourceError(f"sidecar {str(path)!r} does not say what was written; it is of an earlier framencc")
    problems, uncompared = [], []
    if content.get("complete") is not True:
        problems.append(f"output {str(output)!r} is what was kept of a damaged input: {content.get('error')}")
    folder = Path(os.path.realpath(path.parent))
    outputs = {name: output if name == "output" else folder / file for name, file in recorded.items()}
    stream = content["stream"]
    results = content.get("results", {})
    for name, target in outputs.items():
        if name in results:
            problems += changes_of_file(target, name, results[name])
            continue
        by_digests = all(row.get("digests", {}).get(name) for row in rows)
        is_lossy = name == "preview" or (name == "output" and content["encoding"].get("codec") == "h264")
        # A run that was resumed with another `verify` has some rows of either kind.
        known_by = ("digests", "imprints") if is_lossy else ("digests",)
        if not all(any(row.get(kind, {}).get(name) for kind in known_by) for row in rows):
            uncompared.append(name)
            if not is_lossy:
                problems.append(f"{name} {str(target)!r}: the sidecar lacks digests to compare it with")
        size = (int(stream["height"]), int(stream["width"])) if name == "fields" else None
        indices = (int(row["index"]) for row in rows)
        stored = stored_maps(target, indices, size=size, stall_seconds=LimitsSpec().stall_seconds)
        if is_lossy and not by_digests:
            stored = with_imprints(stored, target)
        problems += _bounded(find_problems(stored, iter(rows), name, target), f"{name} {str(target)!r}")
        if is_numbered(target):
            problems += _strangers(target, name, rows)
    return Verification(len(rows), outputs, problems, uncompared)


def _bounded(problems: Iterator[str], where: str) -> list[str]:
    shown = list(islice(problems, _SHOWN_PROBLEMS))
    n_more = sum(1 for _ in problems)
    return [*shown, f"{where}: {n_more} more of its maps differ"] if n_more else shown


def _strangers(pattern: Path, name: str, rows: Sequence[Row]) -> Iterator[str]:
    """Name the files that are called like an output's, but were not written by its run."""
    files, written = NumberedFiles(pattern), {int(row["index"]) for row in rows}
    for file in sorted(files.existing()):
        if files.index(file.name) not in written:
            yield f"{name} {str(pattern)!r}: {file.name!r} is none of its maps"


def _array(path: Path) -> Iterator[Picture]:
    require_file(path, repr(str(path)))
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        kind = SourceError if isinstance(error, FileNotFoundError) else UnreadableNowError
        raise kind(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise SourceError(f"{str(path)!r} cannot be read as .npy: {' '.join(str(error).split())}") from None
    if array.ndim < 3 or path.stat().st_size != array.offset + array.nbytes:
        raise SourceError(f"{str(path)!r} is none of our arrays: {array.shape}, {path.stat().st_size} bytes")
    yield from array

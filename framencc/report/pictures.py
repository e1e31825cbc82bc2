"""Single frames of a run's files, found without reading what lies before them."""

import contextlib
import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from framencc.errors import FramenccError, SourceError
from framencc.ffmpeg import FRAME_STAMPS, FfmpegChild
from framencc.frames import Picture
from framencc.lookup import look_up, require_file
from framencc.npy import map_npy, read_npy_header
from framencc.report.runs import Run, section
from framencc.sinks.base import summary
from framencc.sinks.targets import NumberedFiles, is_numbered
from framencc.sources import Selection, read_picture
from framencc.sources.kinds import kind_of, open_kind
from framencc.sources.probe import input_arguments, probe_video
from framencc.sources.wanted import LUMA
from framencc.spec import VIDEO_OUTPUT_SUFFIXES, LimitsSpec
from framencc.stored_packets import stored_imprints
from framencc.verification import changes_of_file, digest

_STALL_SECONDS = LimitsSpec().stall_seconds
_TOLERANCE = 0.0015  # Matroska rounds times to milliseconds


class Pictures(ABC):
    """The pictures of one file, or of files of one name, one by one."""

    @abstractmethod
    def take(self, place: int, index: int, seconds: float) -> Picture:
        """Read one picture's stored samples.

        Parameters
        ----------
        place
            Its place among the run's rows.
        index
            The number of its frame in the input.
        seconds
            The frame's time.

        Raises
        ------
        FramenccError
            When it is not there, or cannot be read.
        """


class VideoPictures(Pictures):
    """Pictures of a video. Decoding begins at the key frame before the one that is wanted.

    Parameters
    ----------
    path
        The video.

    Raises
    ------
    FramenccError
        When it cannot be read as one.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._probe = probe_video(self._path, _STALL_SECONDS, LUMA)

    def take(self, place: int, index: int, seconds: float) -> Picture:  # noqa: ARG002  (found by its time)
        """Read the picture with a time; see `Pictures.take`."""
        layout, info = self._probe.layout, self._probe.info
        if self._probe.timeless:
            raise SourceError(f"{self._path!r} holds no times by which a frame could be found")
        filters = () if layout.filter is None else ("-vf", layout.filter)
        seek = ("-noaccurate_seek", "-seek_timestamp", "1", "-ss", f"{seconds - _TOLERANCE:.6f}")
        opening = input_arguments(self._path, options=self._probe.decoder)
        arguments = (*(seek if seconds > _TOLERANCE else ()), *opening, *FRAME_STAMPS, *filters)
        raw = np.empty((len(layout.planes), info.height, info.width), layout.dtype)
        data = np.empty((info.height, info.width), info.dtype)
        use = np.empty(data.shape, np.bool_) if self._probe.planes.has_alpha else None
        pipe = ("-pix_fmt", layout.output_format, "-f", "rawvideo", "pipe:1")
        with FfmpegChild([*arguments, *pipe], stdout=True, stall_seconds=_STALL_SECONDS) as child:
            while (stamp := child.next_stamp()) is not None and stamp.estimated_seconds is not None and stamp.clean:
                buffer = memoryview(raw).cast("B")  # type: ignore[arg-type]
                found = float(stamp.estimated_seconds)
                if child.readinto(buffer) != len(buffer) or found > seconds + _TOLERANCE:
                    break
                if found > seconds - _TOLERANCE:
                    self._probe.planes.fill(raw, data, use)
                    return data
        raise SourceError(f"{self._path!r} has no frame at {seconds:.3f} s that could be read")


class InputPictures(Pictures):
    """Frames of an image sequence or array, found by their number.

    Parameters
    ----------
    path
        A directory, a glob, a pattern, a picture or an array.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def take(self, place: int, index: int, seconds: float) -> Picture:  # noqa: ARG002  (found by its number)
        """Read the frame with a number; see `Pictures.take`."""
        selection = Selection.single(index, f"frame {index}")
        with open_kind(self._path, selection=selection, allow_gaps=True, stall_seconds=_STALL_SECONDS) as source:
            return next(source.frames()).data


class NumberedPictures(Pictures):
    """Outputs of one file a frame.

    Parameters
    ----------
    pattern
        Their common name.
    """

    def __init__(self, pattern: Path) -> None:
        self._files = NumberedFiles(pattern)

    def take(self, place: int, index: int, seconds: float) -> Picture:  # noqa: ARG002  (found by its number)
        """Read the file of a frame; see `Pictures.take`."""
        return read_picture(self._files.path(index))


class ArrayPictures(Pictures):
    """An output that is one array, which holds the rows' maps in their order.

    Parameters
    ----------
    path
        The .npy file.

    Raises
    ------
    SourceError
        When it is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        where = f"output {str(path)!r}"
        require_file(path, where)
        try:
            self._array: Any = map_npy(path, read_npy_header(path, where))
        except (OSError, ValueError) as error:
            if isinstance(error, FramenccError):
                raise
            raise SourceError(f"{where} cannot be read: {error}") from None

    def take(self, place: int, index: int, seconds: float) -> Picture:  # noqa: ARG002  (found by its place)
        """Read the map in a place; see `Pictures.take`."""
        if self._array.ndim != 3 or place >= len(self._array):
            raise SourceError(f"output {str(self._path)!r} holds no map {place}")
        return np.array(self._array[place])


def open_input(path: Path) -> Pictures:
    """Open an input to take single frames from it.

    Raises
    ------
    FramenccError
        When it does not exist, or cannot be read.
    """
    return VideoPictures(path) if kind_of(str(path)) == "video" else InputPictures(path)


def open_output(path: Path) -> Pictures:
    """Open an output to take single maps from it; errors as of `open_input`."""
    with reading_output(path):
        if path.suffix.lower() in VIDEO_OUTPUT_SUFFIXES:
            return VideoPictures(path)
        return NumberedPictures(path) if is_numbered(path) else ArrayPictures(path)


@contextlib.contextmanager
def reading_output(path: Path) -> Iterator[None]:
    """Call what cannot be read an output: it is read as an input is, but is none."""
    if not is_numbered(path) and look_up(path, f"output {str(path)!r}") is None:
        raise SourceError(f"output {str(path)!r} is gone")
    try:
        yield
    except SourceError as error:
        raise SourceError(re.sub("^input ", "output ", str(error))) from None


def require_genuine(run: Run, name: str, place: int, picture: Picture) -> None:
    """Refuse a picture of an output that is not the one that the run has written.

    Parameters
    ----------
    run, name, place
        The run, its output's name, and the frame's place among the rows.
    picture
        The samples as they were read.

    Raises
    ------
    SourceError
        When their digest, or what the sidecar has of the file's packets in its place, is not that of the sidecar.
    """
    path, digests = run.output(name), run.digests.get(name)
    if digests is not None and digests[place] is not None:
        is_genuine = digests[place] == digest(picture)
    elif path is not None and name in run.imprints:
        status = path.stat()
        is_genuine = _summary_of_file(path, status.st_size, status.st_mtime_ns) == run.imprints[name]
    else:
        is_genuine = True
    if not is_genuine:
        raise SourceError(f"output {str(path)!r} does not hold what the run has written; framencc verify says more")


@functools.lru_cache(maxsize=8)
def _summary_of_file(path: Path, size: int, modified: int) -> dict[str, int]:  # noqa: ARG001  (by which it is known)
    """Read a file's packets, once for all its frames."""
    return summary([one for one, _ in stored_imprints(path, ())])


def read_result(run: Run, name: str, path: Path) -> Picture:
    """Read a map of the whole clip, if it is the one that the run has written.

    Raises
    ------
    SourceError
        When it is another by now, or cannot be read.
    """
    what = name.replace("_", " ")
    picture = read_picture(path, what=what)
    written = section(run.section("results"), name)
    for problem in changes_of_file(path, what, written) if "sha256" in written else ():
        raise SourceError(f"{problem}; framencc verify says more")
    return picture

"""Maps as video: FFV1 for the archive, H.264 for viewing, each map with its own time."""

import errno
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from framencc.errors import SinkError, SpecError
from framencc.ffmpeg import PACKET_STAMPS, FfmpegChild, executable, file_url, thread_options
from framencc.frames import Picture
from framencc.sinks import matroska
from framencc.sinks.base import MapFormat
from framencc.sinks.staged import StagedSink
from framencc.spec import Codec

_MUXERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}
# An mp4 sample may last 2^31 units at most: 3.5 minutes at this one, 2 seconds with nanoseconds.
_FINEST_MP4_UNIT = Fraction(1, 10_000_000)
# FFV1 knows only grids of rows and columns; these are nearly square, and those of 720p and 1080p ffmpeg 9's own choice.
_SLICES = (6, 9, 12, 16, 20, 25, 30, 36, 42, 49, 56, 64)
_SLICE_PIXELS = 100_000
_SLICED_FROM = 64  # pixels of the shorter side
_FINEST_ASPECT = 65535  # numbers of an H.264 stream


class VideoClock:
    """Turns the times of maps into whole units, and refuses those that a video would not hold.

    Times are exact in .mp4 and .mov (to 0.1 microseconds where the input's own unit is finer) and rounded to the
    millisecond in .mkv, which ffmpeg writes no finer.

    Parameters
    ----------
    shown
        How messages call the output.
    map_format
        Its frame rate and the input's unit.
    codec
        ffv1 or h264.
    """

    def __init__(self, shown: Path, map_format: MapFormat, codec: Codec) -> None:
        self._shown = shown
        self._codec = codec
        self._instead = "write one file a frame instead" if map_format.components == 1 else "leave it out"
        unit = map_format.time_base or 1 / map_format.frame_rate
        self.unit = max(unit, _FINEST_MP4_UNIT) if codec == "h264" else unit
        self._last: int | None = None

    def nanoseconds(self, index: int, pts_seconds: float) -> int:
        """Return the next map's time, from 0.

        Raises
        ------
        SinkError
            When it is before 0 s or earlier than the map before it; with H.264 also when it is the same.
        """
        tick = round(Fraction(pts_seconds) / self.unit) if math.isfinite(pts_seconds) else -1
        last, self._last = self._last, tick
        problem = None
        if tick < 0:
            # An mp4 shows nothing from before 0, ffmpeg reads no such time from Matroska, and x264 changes it.
            problem = "a video has only times from 0 on"
        elif last is not None and tick < last:
            problem = "it is earlier than the map before it"
        elif tick == last and self._codec == "h264":
            problem = "H.264 has no two maps at one time"  # x264 changes the second, FFV1 keeps both
        if problem:
            where = f"output {str(self._shown)!r} cannot hold map {index} at {pts_seconds:g} s"
            raise SinkError(f"{where}: {problem}; {self._instead}")
        return round(tick * self.unit * 1_000_000_000)


def ffv1_slices(height: int, width: int) -> int | None:
    """Return into how many slices a picture is cut, each of which one thread can encode; None: as ffmpeg does, 4.

    They change the bytes, so they follow from the size alone: never from the cores, nor from ffmpeg's version. At 4K,
    64 instead of 4 cost 2 % of time and 0.2 % of size, whatever the number of threads.
    """
    if width == 1:
        return 1  # ffmpeg 9 finds no number for such a picture
    most = height * width // _SLICE_PIXELS
    return max((n for n in _SLICES if n <= most), default=None) if min(height, width) >= _SLICED_FROM else None


def muxing_arguments(map_format: MapFormat, unit: Fraction, path: Path) -> list[str]:
    """Return the part of a command line that writes a container: the kind is the name's, the times are in `unit`."""
    arguments = []
    if path.suffix.lower() != ".mkv":
        # The movie's unit is the edit list's, which says when the first picture is shown.
        units = str(unit.denominator)
        arguments = ["-video_track_timescale", units, "-movie_timescale", units, "-movflags", "use_metadata_tags"]
    return [
        *arguments,
        # Two runs of one job give the same bytes: no random numbers, no versions.
        *("-fflags", "+bitexact"),
        *(part for name, value in map_format.metadata.items() for part in ("-metadata", f"{name}={value}")),
        *("-f", _MUXERS[path.suffix.lower()], "-y", file_url(path)),
    ]


def require_written(child: FfmpegChild, n_maps: int, shown: Path) -> None:
    """Wait for the end of a child that writes a video.

    Raises
    ------
    SinkError
        When it failed, or wrote another number of maps than `n_maps`.
    """
    status = child.finish()
    if status != 0 or child.stalled or child.errors:
        raise failure(child, shown)
    if child.n_written not in (None, n_maps):
        raise SinkError(f"output {str(shown)!r}: ffmpeg wrote {child.n_written} of {n_maps} maps")


def failure(child: FfmpegChild, shown: Path) -> SinkError:
    """Build the error that says why a child could not write a video."""
    full = os.strerror(errno.ENOSPC)
    reason = full if any(full in line for line in child.errors) else child.fault_of_program() or child.explain()
    return SinkError(f"output {str(shown)!r} cannot be written: {reason}")


class VideoSink(StagedSink):
    """A video file, encoded by an ffmpeg child.

    FFV1 holds every code exactly. H.264 is for viewing: it shows code 0 as black and the greatest as white, and adds
    a black line to an odd width or height. Only H.264 holds colour.

    Which times it holds, `VideoClock` says.

    Parameters
    ----------
    target
        The file, .mkv, .mp4 or .mov.
    map_format
        What the sink is going to be given: uint8, or uint16 for FFV1; gray, or RGB for H.264.
    codec
        ffv1 or h264.
    quality
        H.264's constant rate factor.
    overwrite
        Whether an existing file may be replaced.
    stall_seconds
        The encoder is killed when it makes no progress for this long.
    threads
        How many threads FFV1 may use; see `framencc.ffmpeg.thread_options`. H.264 always uses four.
    clock
        That of the video of which this one is a part, to be joined with others: its own times do not count then.
    shown
        What messages call the target; its own name if omitted.
    """

    def __init__(
        self,
        target: Path,
        map_format: MapFormat,
        *,
        codec: Codec,
        quality: int = 18,
        overwrite: bool = False,
        stall_seconds: float = 60.0,
        threads: int | None = None,
        clock: VideoClock | None = None,
        shown: Path | None = None,
    ) -> None:
        held = (np.uint8, np.uint16) if codec == "ffv1" else (np.uint8,)
        in_colour = map_format.components == 3 and codec == "h264"
        if map_format.dtype not in held or (map_format.components != 1 and not in_colour):
            raise SpecError(f"output {str(shown or target)!r} with codec {codec} cannot hold {map_format.dtype} maps")
        super().__init__(target, map_format, overwrite=overwrite, shown=shown)
        self._codec = codec
        self._quality = quality
        self._stall_seconds = stall_seconds
        self._threads = threads
        self._is_part = clock is not None
        self._clock = clock or VideoClock(self._shown, map_format, codec)
        self._child: FfmpegChild | None = None
        given = map_format
        # What the encoder has to read before the first picture.
        self._header = matroska.stream_header(
            given.height, given.width, given.dtype, given.frame_rate, given.components
        )
        try:
            with self._explained():
                executable()  # a missing encoder is told before the first map
        except BaseException:
            self.abort()
            raise

    @property
    def encoder_pid(self) -> int | None:
        """Process number of the encoder, which starts with the first map or with `begin`."""
        return None if self._child is None else self._child.pid

    def begin(self) -> None:
        """Start the encoder before there is a map: it takes a tenth of a second."""
        with self._lock:
            self._require("open")
            with self._explained():
                self._start()

    def _write(self, data: Picture, index: int, pts_seconds: float) -> None:
        nanoseconds = self._clock.nanoseconds(index, pts_seconds)
        child = self._child or self._start()
        pixels = np.ascontiguousarray(data, data.dtype.newbyteorder("<")).data.cast("B")
        header, self._header = self._header, b""
        try:
            child.write(header + matroska.picture_header(nanoseconds, len(pixels)))
            child.write(pixels)
        except OSError:
            child.finish()  # it has ended; now everything it said is known
            raise self._failure() from None

    def _finish(self) -> None:
        assert self._child is not None, "commit needs a map"
        require_written(self._child, self.n_written, self._shown)

    def _close(self) -> None:
        self._interrupt()

    def _interrupt(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _start(self) -> FfmpegChild:
        self._child = FfmpegChild(self._arguments(), stdin=True, stall_seconds=self._stall_seconds)
        return self._child

    def _arguments(self) -> list[str]:
        encoding = self._ffv1() if self._codec == "ffv1" else self._h264()
        return [
            *("-f", "matroska", "-i", "pipe:0", "-map", "0:v:0", "-map_metadata", "-1"),
            # Every picture once, at the time it came with.
            *("-fps_mode", "passthrough", "-copyts"),
            *("-enc_time_base", f"{self._clock.unit.numerator}/{self._clock.unit.denominator}"),
            *encoding,
            *PACKET_STAMPS,
            *("-flags:v", "+bitexact"),
            *muxing_arguments(self.format, self._clock.unit, self._staged.path),
        ]

    def _ffv1(self) -> list[str]:
        # -g 1: every picture stands alone; -slicecrc 1: damage is noticed when it is read.
        arguments = [*_filtered(self._aspect()), "-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1"]
        slices = ffv1_slices(self.format.height, self.format.width)
        arguments += [] if slices is None else ["-slices", str(slices)]
        return [*arguments, *thread_options(self._threads)]

    def _h264(self) -> list[str]:
        in_colour = self.format.components == 3
        filters = (
            "pad=ceil(iw/2)*2:ceil(ih/2)*2",
            # ffmpeg's own choice for RGB would be BT.601. Of gray pictures no matrix changes anything but the rounding.
            "scale=in_range=full:out_range=limited" + (":out_color_matrix=bt709" if in_colour else ""),
            "format=yuv420p",
            "setparams=range=limited:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
            *self._aspect(),
        )
        # In colour come only pictures for people, made beside the maps, and they are not to hold the maps up: ultrafast
        # takes a third of veryfast's time.
        preset = "ultrafast" if in_colour else "veryfast"
        arguments = [*_filtered(filters), "-c:v", "libx264", "-preset", preset, "-crf", str(self._quality)]
        # What x264 writes depends on the number of its threads, so that must be neither the machine's nor the job's.
        arguments += ["-threads", "4"]
        # Without B-frames pictures lie in the file in the order in which they are shown.
        arguments += ["-bf", "0"]
        # One picture a second: Matroska's milliseconds could bring two to one time. What counts is the clock.
        return [*arguments, "-bsf:v", "setts=ts=N/TB"] if self._is_part else arguments

    def _aspect(self) -> tuple[str, ...]:
        """Return the filter that says how wide a pixel is shown; no pixel changes."""
        aspect = self.format.pixel_aspect
        return () if aspect == 1 else (f"setsar=sar={aspect.numerator}/{aspect.denominator}:max={_FINEST_ASPECT}",)

    def _failure(self) -> SinkError:
        assert self._child is not None
        if self._cancelled:
            return SinkError(f"output {str(self._shown)!r} cannot be written: the run was aborted")
        return failure(self._child, self._shown)


def _filtered(filters: Sequence[str]) -> list[str]:
    return ["-vf", ",".join(filters)] if filters else []

"""Maps as video: FFV1 for the archive, H.264 for viewing, each map with its own time."""

import errno
import math
import os
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from framencc.errors import SinkError, SpecError
from framencc.ffmpeg import PACKET_STAMPS, FfmpegChild, executable, file_url
from framencc.frames import Picture
from framencc.sinks import matroska
from framencc.sinks.base import MapFormat
from framencc.sinks.staged import StagedSink
from framencc.spec import Codec

_MUXERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}
# An mp4 sample may last 2^31 units at most: 3.5 minutes at this one, 2 seconds with nanoseconds.
_FINEST_MP4_UNIT = Fraction(1, 10_000_000)
_FRAMES_WRITTEN = re.compile(r"\] frame=\s*(\d+) fps=")


class VideoSink(StagedSink):
    """A video file, encoded by an ffmpeg child.

    FFV1 holds every code exactly. H.264 is for viewing: it shows code 0 as black and the greatest as white, and adds
    a black line to an odd width or height.

    Times are exact in .mp4 and .mov (to 0.1 microseconds where the input's own unit is finer) and rounded to the
    millisecond in .mkv, which ffmpeg writes no finer. A map before 0 s, or earlier than the map before it, is refused;
    with H.264 also one of the same time.

    Parameters
    ----------
    target
        The file, .mkv, .mp4 or .mov.
    map_format
        What the sink is going to be given: uint8, or uint16 for FFV1.
    codec
        ffv1 or h264.
    quality
        H.264's constant rate factor.
    overwrite
        Whether an existing file may be replaced.
    stall_seconds
        The encoder is killed when it makes no progress for this long.
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
    ) -> None:
        held = (np.uint8, np.uint16) if codec == "ffv1" else (np.uint8,)
        if map_format.dtype not in held:
            raise SpecError(f"output {str(target)!r} with codec {codec} cannot hold {map_format.dtype} maps")
        super().__init__(target, map_format, overwrite=overwrite)
        self._codec = codec
        self._quality = quality
        self._stall_seconds = stall_seconds
        unit = map_format.time_base or 1 / map_format.frame_rate
        self._unit = max(unit, _FINEST_MP4_UNIT) if codec == "h264" else unit
        self._last_tick: int | None = None
        self._child: FfmpegChild | None = None
        try:
            with self._explained():
                executable()  # a missing encoder is told before the first map
        except BaseException:
            self.abort()
            raise

    @property
    def encoder_pid(self) -> int | None:
        """Process number of the encoder, which starts with the first map."""
        return None if self._child is None else self._child.pid

    def _write(self, data: Picture, index: int, pts_seconds: float) -> None:
        tick = self._tick(index, pts_seconds)
        header = self._start() if self._child is None else b""
        pixels = np.ascontiguousarray(data, data.dtype.newbyteorder("<")).data.cast("B")
        nanoseconds = round(tick * self._unit * 1_000_000_000)
        assert self._child is not None
        try:
            self._child.write(header + matroska.picture_header(nanoseconds, len(pixels)))
            self._child.write(pixels)
        except OSError:
            self._child.finish()  # it has ended; now everything it said is known
            raise self._failure() from None

    def _finish(self) -> None:
        assert self._child is not None, "commit needs a map"
        status = self._child.finish()
        if status != 0 or self._child.stalled or self._child.errors:
            raise self._failure()
        counts = [int(count) for line in self._child.lines for count in _FRAMES_WRITTEN.findall(line)]
        if counts and counts[-1] != self.n_written:
            raise SinkError(f"output {str(self._target)!r}: ffmpeg wrote {counts[-1]} of {self.n_written} maps")

    def _close(self) -> None:
        self._interrupt()

    def _interrupt(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _tick(self, index: int, pts_seconds: float) -> int:
        """Turn a time into whole units, and refuse one that the file would not hold."""
        tick = round(Fraction(pts_seconds) / self._unit) if math.isfinite(pts_seconds) else -1
        last, self._last_tick = self._last_tick, tick
        problem = None
        if tick < 0:
            # An mp4 shows nothing from before 0, ffmpeg reads no such time from Matroska, and x264 changes it.
            problem = "a video has only times from 0 on"
        elif last is not None and tick < last:
            problem = "it is earlier than the map before it"
        elif tick == last and self._codec == "h264":
            problem = "H.264 has no two maps at one time"  # x264 changes the second, FFV1 keeps both
        if problem:
            where = f"output {str(self._target)!r} cannot hold map {index} at {pts_seconds:g} s"
            raise SinkError(f"{where}: {problem}; write one file a frame instead")
        return tick

    def _start(self) -> bytes:
        """Start the encoder; return what it has to read before the first picture."""
        self._child = FfmpegChild(self._arguments(), stdin=True, stall_seconds=self._stall_seconds)
        size = (self.format.height, self.format.width)
        return matroska.stream_header(*size, self.format.dtype, self.format.frame_rate)

    def _arguments(self) -> list[str]:
        encoding = self._ffv1() if self._codec == "ffv1" else self._h264()
        return [
            *("-f", "matroska", "-i", "pipe:0", "-map", "0:v:0", "-map_metadata", "-1"),
            # Every picture once, at the time it came with.
            *("-fps_mode", "passthrough", "-copyts"),
            *("-enc_time_base", f"{self._unit.numerator}/{self._unit.denominator}"),
            *encoding,
            *PACKET_STAMPS,
            # Two runs of one job give the same bytes: no random numbers, no versions.
            *("-fflags", "+bitexact", "-flags:v", "+bitexact"),
            *(part for name, value in self.format.metadata.items() for part in ("-metadata", f"{name}={value}")),
            *("-f", _MUXERS[self._target.suffix.lower()], "-y", file_url(self._staged.path)),
        ]

    def _ffv1(self) -> list[str]:
        # -g 1: every picture stands alone; -slicecrc 1: damage is noticed when it is read.
        arguments = ["-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1"]
        # ffmpeg 9 finds no number of slices for a picture one pixel wide.
        return [*arguments, "-slices", "1"] if self.format.width == 1 else arguments

    def _h264(self) -> list[str]:
        filters = (
            "pad=ceil(iw/2)*2:ceil(ih/2)*2",
            "scale=in_range=full:out_range=limited",
            "format=yuv420p",
            "setparams=range=limited:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
        )
        arguments = ["-vf", ",".join(filters), "-c:v", "libx264", "-preset", "veryfast", "-crf", str(self._quality)]
        if self._target.suffix.lower() == ".mkv":
            return arguments
        units = str(self._unit.denominator)
        # The movie's unit is the edit list's, which says when the first picture is shown.
        arguments += ["-video_track_timescale", units, "-movie_timescale", units]
        return [*arguments, "-movflags", "use_metadata_tags"]

    def _failure(self) -> SinkError:
        assert self._child is not None
        reason = "the run was aborted" if self._cancelled else self._child.explain()
        full = os.strerror(errno.ENOSPC)
        if any(full in line for line in self._child.errors):
            reason = full
        return SinkError(f"output {str(self._target)!r} cannot be written: {reason}")

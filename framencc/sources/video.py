"""A video file, decoded by an ffmpeg child through a raw pipe: exact samples, exact times, and no frame in silence."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from framencc.children import ChildGroup
from framencc.errors import DamagedInputError, SourceError, UnreadableNowError
from framencc.ffmpeg import FRAME_STAMPS, FfmpegChild, thread_options
from framencc.frames import Frame, Picture, Use
from framencc.lookup import require_file
from framencc.sources.base import Allocate
from framencc.sources.beginning import Beginning, find_beginning, find_untimed
from framencc.sources.clock import FrameClock, Untimed
from framencc.sources.complaints import Complaints
from framencc.sources.extent import Extent, find_extent
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.orientation import CHANGED, Orientation
from framencc.sources.probe import VideoProbe, input_arguments, probe_video
from framencc.sources.selection import EVERYTHING, SeekPoint, SelectedSource, Selection
from framencc.sources.significant import LOOKED_AT, Codes, find_code_range
from framencc.sources.wanted import LUMA, Wanted, WantedChannels

logger = logging.getLogger(__name__)


class VideoSource(SelectedSource):
    """A video's first video stream.

    Frames are turned as the file asks for (phones film sideways and say so). A frame is yielded only when ffmpeg had
    complained about nothing by the time the frame left its decoder. As the decoder reads ahead, the frames
    withheld may include some good ones before the damage, never a bad one after it. At the end there have to be as many
    frames as the container promises, where its promise can be relied on. What neither notices is not noticed here: an
    MPEG transport stream that was cut between two packets just ends.

    A recording that begins without a key frame is read from the first frame that can be decoded. Where another
    recording follows in the same file, the first one is read, and then there is damage.

    Parameters
    ----------
    path
        The file.
    selection
        The wanted frames. Those before it are decoded and dropped, those after it are not decoded.
    stall_seconds
        The decoder is killed when it makes no progress for this long.
    memory_mib
        How much memory the decoder may have, or None.
    wanted
        What to take out of each frame.
    probe
        What is known of the file already; it is asked otherwise.
    points
        Frames that have been read before. Decoding may begin at one of them, if that finds the same frame with the same
        time there; otherwise it begins at the beginning.
    limits
        How much is read at most; a file that turns out to be longer is an error when it does.
    beginning, untimed
        Where it can be read from, and which of its frames have no times, if that is known already.
    bits
        How many bits of its codes are significant; by default all that its pixel format has, of 16-bit gray as few as
        hold those of the first frames.
    threads
        How many threads the decoder may use; see `framencc.ffmpeg.thread_options`.

    Raises
    ------
    SpecError
        When there is no such file, or its codes have fewer than `bits`.
    SourceError
        When it holds no video that can be decoded.
    """

    def __init__(
        self,
        path: str,
        *,
        selection: Selection = EVERYTHING,
        stall_seconds: float = 60.0,
        memory_mib: int | None = None,
        wanted: Wanted = LUMA,
        probe: VideoProbe | None = None,
        points: Sequence[SeekPoint] = (),
        limits: SizeLimits = DEFAULT_LIMITS,
        beginning: Beginning | None = None,
        untimed: Untimed | None = None,
        bits: int | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(path, selection)
        self.wanted, self._threads = wanted, threads
        self._stall_seconds = stall_seconds
        self._points = points
        self._memory_mib = memory_mib
        self._limits = limits
        self._child: FfmpegChild | None = None
        self._helpers = ChildGroup()  # other children that are started while frames are read
        self._orientation: Orientation | None = None
        if require_file(path, f"input {path!r}").st_size == 0:
            raise SourceError(f"input {path!r} is empty")
        self._probe = probe or probe_video(path, stall_seconds, wanted, memory_mib=memory_mib, limits=limits, bits=bits)
        self._beginning = beginning or find_beginning(path, self._probe, wanted, limits, **self._child_options)
        self._complaints = Complaints(self._probe, wanted)
        self._take = self._beginning.take
        self._untimed = untimed
        if untimed is None and self._probe.info.time_base is None and not self._probe.timeless:
            self._untimed = find_untimed(self._input_arguments(), **self._child_options)
        self._found: dict[str, None] = {}
        if probe is None and bits is None:
            self._probe = self._look_at_codes()
        details = dict(self._probe.info.details or {})
        estimate, promised = details.get("estimated_frames"), self._probe.promise.n_frames
        promised = None if promised is None else max(0, promised - self._beginning.n_left_out)
        if isinstance(estimate, int):
            details["estimated_frames"] = selection.done + len(selection.indices(estimate))
        self.n_input_frames = promised
        n_frames = None if promised is None else selection.done + len(selection.indices(promised))
        warnings = (*self._probe.info.warnings, *self._beginning.warnings(path, self._probe.info.frame_rate))
        unit = self._probe.info.time_base if self._untimed is None else self._untimed.unit
        self.info = replace(self._probe.info, details=details, n_frames=n_frames, warnings=warnings, time_base=unit)
        self._clock = FrameClock(self.info.frame_rate)  # until a child is started

    def _look_at_codes(self) -> VideoProbe:
        """Find how many bits of 16-bit gray are significant: its pixel format is the file's, not the camera's."""
        info = self._probe.info
        if info.bits != 16 or not self._probe.layout.is_gray or not isinstance(self.wanted, WantedChannels):
            return self._probe
        seen: list[Codes | None] = []
        # Where its first frames cannot be read, that is found when their turn comes.
        with contextlib.suppress(SourceError), self.again(Selection(0, LOOKED_AT)) as first:
            seen.extend(Codes.of(frame.data) for frame in first.frames())
        return replace(self._probe, info=replace(info, code_range=find_code_range(info.dtype, seen, None, "input")))

    def again(self, selection: Selection) -> "VideoSource":
        """Open the same file for other frames of it."""
        return VideoSource(
            self._path,
            selection=selection,
            stall_seconds=self._stall_seconds,
            memory_mib=self._memory_mib,
            wanted=self.wanted,
            probe=self._probe,
            limits=self._limits,
            beginning=self._beginning,
            untimed=self._untimed,
            threads=self._threads,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the video; see `Source.warnings`."""
        self._note_harmless()
        return tuple(dict.fromkeys([*super().warnings, *self._found]))

    def _note_harmless(self) -> None:
        found = [f"input {self._path!r} has {matter}; no frame is affected" for matter in self._complaints.harmless]
        self._found |= dict.fromkeys([*found, *self._clock.warnings(self._path)])

    @property
    def _child_options(self) -> dict[str, Any]:
        return {"stall_seconds": self._stall_seconds, "memory_mib": self._memory_mib}

    def close(self) -> None:
        """End the child, if it runs; see `Source.close`."""
        super().close()
        self._helpers.end()
        if self._child is not None:
            self._child.kill()
        self._end_orientation()

    def _end_orientation(self) -> None:
        orientation, self._orientation = self._orientation, None
        if orientation is not None:
            orientation.close()

    def read_ahead(self) -> None:
        """Start the decoder, which works until its pipe is full; see `Source.read_ahead`."""
        self._refuse_closed()
        if self._child is None:
            self._start(self._known_frame())

    def _known_frame(self) -> SeekPoint | None:
        """Return the last known frame before all that have to be read."""
        if self._probe.timeless:
            return None  # it could not be found by its time
        known = (point for point in self._points if point.index < self._selection.first_read)
        return max(known, key=lambda point: point.index, default=None)

    def _read_frames(self, allocate: Allocate) -> Iterator[Frame]:
        self.read_ahead()
        child, point = self._child, self._known_frame()
        assert child is not None
        try:
            if point is not None:
                with child:
                    if self._find(child, point):
                        yield from self._yield_frames(child, point.index + 1, allocate)
                        return
                logger.info("frame %d is not found by its time; decoding begins at frame 0", point.index)
                child = self._start()
            with child:
                yield from self._yield_frames(child, 0, allocate)
        finally:
            self._end_orientation()

    def _start(self, point: SeekPoint | None = None) -> FfmpegChild:
        self._note_harmless()
        self._complaints = Complaints(self._probe, self.wanted, self._take)
        self._clock = FrameClock(
            self.info.frame_rate,
            is_timeless=self._probe.timeless,
            trusts_estimates=self.info.time_base is not None,
            n_before=self._beginning.n_left_out,
            untimed=self._untimed,
            unit=self.info.time_base,
        )
        if point is not None:
            self._clock.resume(point.index, point.pts_seconds)
        self._end_orientation()
        if self._child is not None:
            self._child.kill()
        self._given = self._arguments(point)
        options = {"is_complaint": self._complaints.is_damage, **self._child_options}
        self._child = FfmpegChild(self._given, stdout=True, **options)
        return self._child

    def _input_arguments(self, *, whole: bool = False) -> tuple[str, ...]:
        options = self._take.options if self._take and not whole else ()
        given = (*self._probe.decoder, *thread_options(self._threads), *options)
        return input_arguments(self._path, self._limits, given)

    def _find(self, child: FfmpegChild, point: SeekPoint) -> bool:
        """Read up to a frame that is known; whether it is found, the same as before, and nothing complained about."""
        raw = self._raw_buffer()
        shape, planes = (self.info.height, self.info.width), self._probe.planes
        while (stamp := child.next_stamp()) is not None and stamp.pts_seconds is not None and stamp.clean:
            self._refuse_closed()
            if not self._fill(child, raw) or float(stamp.pts_seconds) > point.pts_seconds:
                return False
            if float(stamp.pts_seconds) == point.pts_seconds:
                data = np.empty(shape if planes.n_channels == 1 else (planes.n_channels, *shape), self.info.dtype)
                if self._is_stored:
                    np.copyto(data, raw[0])
                else:
                    self._extract(raw, data, np.empty(shape, np.bool_) if planes.has_alpha else None, point.index)
                return Frame(data, point.index, point.pts_seconds).digest() == point.digest
        return False

    def _raw_buffer(self) -> Picture:
        layout = self._probe.layout
        return np.empty((len(layout.planes), self.info.height, self.info.width), layout.dtype)

    def _yield_frames(self, child: FfmpegChild, index: int, allocate: Allocate) -> Iterator[Frame]:
        self._refuse_closed()
        raw, end, clock = self._raw_buffer(), self._selection.end, self._clock
        extent: Extent | None = None
        while index != end and (stamp := child.next_stamp()) is not None:
            self._limits.check_length(index + 1, raw.nbytes, f"input {self._path!r}")
            seconds = clock.seconds(stamp)
            if not stamp.clean:
                raise self._damage(child, index, seconds)
            if extent is None and (self._complaints.suspects or clock.jump is not None):
                extent = self._find_extent()
            place, is_over = index + self._beginning.n_left_out, clock.jump is not None
            if extent is not None and not extent.holds(place, stamp.pts_seconds, is_over=is_over):
                raise self._damaged(index, seconds, extent.why)
            if self._is_beyond_cut(index, seconds):
                raise self._damaged(index, seconds, str(self._probe.promise.cut))
            if index == self.n_input_frames:
                raise self._damaged(index, seconds, f"its index promises only {index} frames")
            needed = self._selection.reads(index)
            data, use = self._buffers(allocate) if needed else (raw, None)
            # A plane that needs no work goes straight into the consumer's buffer.
            direct = needed and self._is_stored
            if not self._fill(child, data if direct else raw):
                raise self._damage(child, index, seconds)
            if not self._is_turned_alike(stamp.index, data if direct else raw[0]):
                raise self._damaged(index, seconds, CHANGED)
            if needed:
                if not direct:
                    self._extract(raw, data, use, index)
                yield Frame(data, index, seconds, use, wanted=index in self._selection)
                self._refuse_closed()
            index += 1
        if index != end:
            self._check_end(child, index, clock.following)

    def _is_turned_alike(self, number: int, picture: Picture) -> bool:
        """Whether the decoder's frame `number` is turned as the first one, whatever it says."""
        if not self._complaints.turns:
            return True
        orientation = self._orientation  # another thread may end it
        if orientation is None:
            with self._helpers.gathering():
                orientation = self._orientation = Orientation(self._start_another, self._raw_buffer(), number)
        is_alike = orientation.holds(number, picture)
        self._refuse_closed()
        return is_alike

    def _start_another(self, options: tuple[str, ...]) -> FfmpegChild:
        return FfmpegChild([*options, *self._given], stdout=True, **self._child_options)

    def _find_extent(self) -> Extent:
        """List all packets, to find out which of them are doubtful, and whether another recording follows."""
        opening, suspects = input_arguments(self._path, self._limits), self._complaints.suspects
        with self._helpers.gathering():
            extent = find_extent(opening, self.info, self._take, suspects=suspects, **self._child_options)
        self._refuse_closed()
        return extent

    def _is_beyond_cut(self, index: int, seconds: float) -> bool:
        """Whether the file is cut so that this frame may be a later one, shown in place of one that is not there."""
        promise = self._probe.promise
        if promise.good_seconds is not None:
            return seconds > promise.good_seconds - 1e-6
        if not self._probe.timeless or promise.n_good is None:
            return False
        return index + self._beginning.n_left_out >= promise.n_good

    @property
    def _is_stored(self) -> bool:
        """Whether the child writes just what is wanted."""
        return self._probe.layout.planes == "y" and isinstance(self.wanted, WantedChannels)

    def _buffers(self, allocate: Allocate) -> tuple[Picture, Use | None]:
        shape, planes = (self.info.height, self.info.width), self._probe.planes
        data = allocate(shape if planes.n_channels == 1 else (planes.n_channels, *shape), self.info.dtype)
        return data, allocate(shape, np.dtype(np.bool_)) if planes.has_alpha else None

    def _extract(self, raw: Picture, data: Picture, use: Use | None, index: int) -> None:
        try:
            self._probe.planes.fill(raw, data, use)
        except ValueError as error:
            raise SourceError(f"input {self._path!r}, frame {index}, {error}") from None

    def _arguments(self, point: SeekPoint | None) -> list[str]:
        layout = self._probe.layout
        # Everything from the key frame before it on, so that what is dropped is decided by its time, and here.
        seek = [] if point is None else ["-noaccurate_seek", "-seek_timestamp", "1", "-ss", f"{point.pts_seconds:.6f}"]
        arguments = [*seek, *self._input_arguments(whole=point is not None), *FRAME_STAMPS]
        if layout.filter is not None:
            arguments += ["-vf", layout.filter]
        if self._selection.end is not None and point is None:
            arguments += ["-frames:v", str(self._selection.end)]
        return [*arguments, "-pix_fmt", layout.output_format, "-f", "rawvideo", "pipe:1"]

    def _fill(self, child: FfmpegChild, data: Picture) -> bool:
        buffer = memoryview(data).cast("B")  # type: ignore[arg-type]
        return child.readinto(buffer) == len(buffer)

    def _check_end(self, child: FfmpegChild, n_frames: int, following: float) -> None:
        """Raise unless the child ended well after `n_frames` frames and there was something to yield."""
        status = child.finish()
        self._refuse_closed()
        if status != 0 or child.errors or child.stalled:
            raise self._damage(child, n_frames, following)
        if self._complaints.suspects and (extent := self._find_extent()).times is not None:
            raise self._damaged(n_frames, following, extent.why)
        promise = self._probe.promise
        if promise.cut is not None:
            raise self._damaged(n_frames, following, promise.cut)
        if self.n_input_frames is not None and n_frames != self.n_input_frames:
            raise self._too_few(n_frames, following)
        if not self._selection.indices(n_frames) and not self._selection.done:
            raise self._selection.nothing_selected(self._path, n_frames)

    def _too_few(self, n_frames: int, seconds: float) -> DamagedInputError:
        return DamagedInputError(
            f"input {self._path!r} is damaged: it ends at {_where(n_frames, seconds)}, but its index promises "
            f"{self.n_input_frames} frames; which are missing is not known"
        )

    def _damaged(self, index: int, seconds: float, reason: str) -> DamagedInputError:
        return DamagedInputError(
            f"input {self._path!r} is damaged at {_where(index, seconds)} or soon after: {reason}; the frames before "
            f"it are good"
        )

    def _damage(self, child: FfmpegChild, index: int, seconds: float) -> SourceError:
        """Build the error that says why there is no good frame `index`."""
        where = _where(index, seconds)
        # When the child has not complained, its end tells more; the complaint may also still be on its way.
        status = 0 if child.errors else child.finish()
        if self._closed:
            return SourceError(f"input {self._path!r} was closed while it was being read")
        reason = child.explain().rstrip(".")
        if child.stalled or child.short_of_memory or (status < 0 and not child.errors):
            return UnreadableNowError(f"input {self._path!r} cannot be read on from {where}: {reason}")
        if self._complaints.change is not None and reason.startswith("Reconfiguring filter graph"):
            reason = self._complaints.change
        return self._damaged(index, seconds, reason)


def _where(index: int, seconds: float) -> str:
    return f"frame {index} ({seconds:.3f} s)"

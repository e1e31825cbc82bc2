"""A video that is read in spite of its damage."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from framencc.errors import SourceError, SpecError, UnreadableNowError
from framencc.ffmpeg import FfmpegChild
from framencc.frames import Frame
from framencc.sources.base import Allocate
from framencc.sources.orientation import CHANGED
from framencc.sources.packets import LONGEST_PAUSE, Take, find_takes, list_packets
from framencc.sources.probe import input_arguments, probe_video
from framencc.sources.selection import SeekPoint, damaged_frame
from framencc.sources.timeline import Place, Places, make_timeline
from framencc.sources.video import VideoSource

# Codecs, by ffmpeg's names, each of whose packets is one frame.
_ONE_FRAME_A_PACKET = (
    *("h264", "hevc", "av1", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "prores", "dnxhd", "ffv1", "mjpeg", "png"),
    *("huffyuv", "ffvhuff", "utvideo", "rawvideo", "v210", "cfhd", "magicyuv"),
)
# Containers whose packets keep their times when others are lost; an AVI's are counted, a transport stream's guessed.
_WITH_TIMES = ("mov,mp4", "matroska")
_END = re.compile("ended prematurely|[Tt]runcat|partial file")


class TolerantVideoSource(VideoSource):
    """A video whose damaged and missing frames are yielded in their places, marked as such.

    Which frames are damaged is decided by `Places`, never in their favour. The decoder uses one thread, so that its
    complaints come close to what they are about. Just where it complains still depends a little on the machine's load,
    so the first frames of a damaged part may be marked in one run and not in another.

    Where another recording follows in the same file, each has a decoder of its own, so that nothing of one touches the
    other, and its times go on behind those of the one before.
    """

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options | {"threads": 1})

    def _read_frames(self, allocate: Allocate) -> Iterator[Frame]:
        self._n_good = n_placed = 0
        for place in self._all_places():
            if self._selection.end is not None and place.index >= self._selection.end:
                return
            self._limits.check_length(place.index + 1, self._raw.nbytes, f"input {self._path!r}")
            n_placed = place.index + 1
            if not self._selection.reads(place.index):
                continue
            wanted = place.index in self._selection
            if place.damaged is None:
                data, use = self._buffers(allocate)
                if self._is_stored:
                    np.copyto(data, self._raw[0])
                else:
                    self._extract(self._raw, data, use, place.index)
                yield Frame(data, place.index, place.seconds, use, wanted=wanted)
            else:
                yield damaged_frame(self.info, place.index, place.seconds, place.damaged, allocate, wanted=wanted)
            self._refuse_closed()
        if not self._selection.indices(n_placed) and not self._selection.done:
            raise self._selection.nothing_selected(self._path, n_placed)
        if not self._n_good:
            raise SourceError(f"input {self._path!r} holds no frame that is certainly good")

    def _known_frame(self) -> SeekPoint | None:
        return None  # damage before it may have its effect behind it

    def _all_places(self) -> Iterator[Place]:
        """Tell which frame comes next, in all takes; a good one's samples are then in `_raw`."""
        self._raw = self._raw_buffer()
        with self._helpers.gathering():
            self._packets = list_packets(input_arguments(self._path, self._limits), **self._child_options)
        self._refuse_closed()
        step = 1 / self.info.frame_rate
        takes = find_takes(self._packets, step, (self.info.details or {}).get("container"))
        n_placed, latest = 0, Fraction(-1)
        for number, take in enumerate(takes):
            if number == 0:
                shift, places = Fraction(0), self._places_of_first(take)
            else:
                begin = self._begin_of(take, latest)
                goes_on = latest < begin <= latest + LONGEST_PAUSE
                shift = Fraction(0) if goes_on else self._in_units(latest + step) - begin
                places = self._places_of_next(take)
            for place in places:
                seconds = float(Fraction(place.seconds) + shift) if shift else place.seconds
                yield replace(place, index=place.index + n_placed, seconds=seconds)
                latest, n_after = Fraction(seconds), n_placed + place.index + 1
            n_placed = n_after
        if len(takes) > 1:
            self._found[
                f"input {self._path!r} holds {len(takes)} recordings, one behind the other; the times of each go on "
                f"from the one before"
            ] = None

    def _in_units(self, seconds: Fraction) -> Fraction:
        unit = self.info.time_base
        return seconds if unit is None else round(seconds / unit) * unit

    def _begin_of(self, take: Take, default: Fraction) -> Fraction:
        """Return when the first frame of a take is shown."""
        left_out = set(take.left_out(self._packets)) if take.first is not None else set()
        times = [self._packets.seconds(k) for k in self._range(take) if k not in left_out]
        return min((time for time in times if time is not None), default=default)

    def _range(self, take: Take) -> range:
        return range(take.begin, len(self._packets) if take.end is None else take.end)

    def _places_of_first(self, take: Take) -> Iterator[Place]:
        numbers: Iterable[int] = self._range(take)
        begins = self._beginning
        if begins.take is not None:
            numbers = [k for k in numbers if not begins.take.is_left_out(self._packets, k)]
            first, earliest = begins.take.first, begins.take.earliest
        else:
            first, earliest = take.begin, None
            if begins.n_left_out and begins.seconds is not None:
                times = {k: self._packets.seconds(k) for k in numbers}
                numbers = [k for k, time in times.items() if time is None or time >= begins.seconds]
        if take.end is not None:
            self._take = replace(take, first=first, earliest=earliest)
            self._child = self._start()
        self.read_ahead()
        yield from self._decode(list(numbers), promised=True)

    def _places_of_next(self, take: Take) -> Iterator[Place]:
        """Decode a take that is not the first one."""
        why = "none of its key frames is certainly good" if take.first is None else self._change_to(take)
        lost = [k for k in self._range(take) if why is not None or take.is_left_out(self._packets, k)]
        key = next((k for k in self._range(take) if self._packets.is_key(k)), take.begin)
        if why is None and key == take.first:
            if lost:
                self._found[
                    f"input {self._path!r}: {len(lost)} frames before the first key frame of a later recording cannot "
                    f"be decoded and are left out"
                ] = None
            n_lost = 0
        else:
            n_lost = len(lost)
            shown = make_timeline(self._packets, lost, self.info.frame_rate, fill=False)
            first = min((t for t in map(self._packets.seconds, lost) if t is not None), default=Fraction(0))
            for index, time in enumerate(shown.times):
                seconds = time if shown.is_complete else first + index / self.info.frame_rate
                yield Place(index, float(seconds), why or "corrupt input packet")
        if why is None:
            self._take = take
            self._start()
            kept = [k for k in self._range(take) if not take.is_left_out(self._packets, k)]
            for place in self._decode(kept, promised=False):
                yield replace(place, index=place.index + n_lost)

    def _change_to(self, take: Take) -> str | None:
        """Say how a take's pictures differ from those of the first take; None where they do not."""
        try:
            with self._helpers.gathering():
                other = probe_video(
                    self._path, wanted=self.wanted, limits=self._limits, options=take.options, **self._child_options
                )
        except UnreadableNowError:
            self._refuse_closed()
            raise
        except (SourceError, SpecError) as error:
            self._refuse_closed()
            return str(error)
        info, given = other.info, self.info
        details, known = info.details or {}, given.details or {}
        names = ("rotation_degrees", "colour_range", "colour_space")
        if (info.height, info.width, info.dtype, other.layout) == (
            given.height,
            given.width,
            given.dtype,
            self._probe.layout,
        ) and all(details[name] == known[name] for name in names):
            return None
        return f"the picture changes to {info.width} x {info.height}, {details['pixel_format']}"

    def _decode(self, numbers: list[int], *, promised: bool) -> Iterator[Place]:
        """Decode what the running child is given, and place its frames."""
        promise, details = self._probe.promise, self._probe.info.details or {}
        rate = self.info.frame_rate
        timeline = make_timeline(self._packets, numbers, rate, fill=promise.n_stored is None)
        recovers = (
            details.get("codec") in _ONE_FRAME_A_PACKET
            and not details.get("interlaced")
            and str(details.get("container")).startswith(_WITH_TIMES)
        )
        doubtful = next((k for k in numbers if self._packets.is_suspect(k)), None)
        self._doubtful = (
            {} if doubtful is None else dict.fromkeys(self._packets.seconds(k) for k in numbers if k >= doubtful)
        )
        places = Places(timeline, recovers=recovers, rate=rate, n_frames=self.n_input_frames if promised else None)
        assert self._child is not None
        try:
            with self._child as child:
                yield from self._places_of(child, places)
        finally:
            self._end_orientation()

    def _doubts(self, exact: Fraction | None) -> str | None:
        """Say why a frame may have lost something, although no decoder has complained."""
        unconfirmed = self._complaints.suspects and not any(map(self._packets.is_suspect, range(len(self._packets))))
        return "corrupt input packet" if exact in self._doubtful or unconfirmed else None

    def _places_of(self, child: FfmpegChild, places: Places) -> Iterator[Place]:
        """Decode to the end, and tell which frame comes next; a good one's samples are then in `_raw`."""
        n_complaints, index = 0, 0
        while (stamp := child.next_stamp()) is not None and self._fill(child, self._raw):
            self._refuse_closed()
            last = False
            seconds = self._clock.seconds(stamp)
            why = self._doubts(stamp.pts_seconds)
            if stamp.n_complaints > n_complaints:
                n_complaints = stamp.n_complaints
                why = self._complaints.change or child.latest_complaint.rstrip(".")
                last = self._complaints.change is not None or any(_END.search(text) for text in child.errors)
            if self._is_beyond_cut(index, seconds):
                why, last = str(self._probe.promise.cut), True
            turned = None if self._is_turned_alike(stamp.index, self._raw[0]) else CHANGED
            for place in places.arrive(seconds, stamp.pts_seconds, why, last=last):
                if place.damaged is None and turned is not None:
                    place = replace(place, damaged=turned)  # noqa: PLW2901
                self._n_good += place.damaged is None
                yield place
                index = place.index + 1
        yield from self._places_at_end(child, places, n_complaints)

    def _places_at_end(self, child: FfmpegChild, places: Places, n_complaints: int) -> Iterator[Place]:
        status = child.finish()
        self._refuse_closed()
        if child.stalled or child.short_of_memory or (status < 0 and not child.errors):
            raise SourceError(f"input {self._path!r} cannot be read to its end: {child.explain()}")
        promise, why = self._probe.promise, None
        if child.n_complaints > n_complaints or status != 0:
            why = child.latest_complaint.rstrip(".") or child.explain()
        why = promise.cut or why or ("corrupt input packet" if self._doubtful else None)
        if why is None and places.lost_unseen:
            raise self._too_few(places.n_placed, self._clock.following)
        n_beyond = 0
        if promise.cut is not None and promise.n_stored is not None:
            n_beyond = max(0, promise.n_stored - len(self._packets))
        yield from places.end(why, n_beyond)

    def _arguments(self, point: SeekPoint | None) -> list[str]:
        arguments = super()._arguments(point)
        if "-frames:v" in arguments:  # frames are counted here, as some may be missing
            place = arguments.index("-frames:v")
            del arguments[place : place + 2]
        return arguments

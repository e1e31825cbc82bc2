"""A video that is read in spite of its damage."""

import re
from collections.abc import Iterator

import numpy as np

from framencc.errors import SourceError
from framencc.ffmpeg import FfmpegChild
from framencc.frames import Frame
from framencc.sources.base import Allocate
from framencc.sources.probe import input_arguments
from framencc.sources.selection import SeekPoint, damaged_frame
from framencc.sources.timeline import Place, Places, read_timeline
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
    """

    def _read_frames(self, allocate: Allocate) -> Iterator[Frame]:
        places = self._open_places()
        self.read_ahead()
        assert self._child is not None
        with self._child as child:
            for place in self._places_of(child, places):
                if self._selection.end is not None and place.index >= self._selection.end:
                    return
                self._limits.check_length(place.index + 1, self._raw.nbytes, f"input {self._path!r}")
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
            if not self._selection.indices(places.n_placed) and not self._selection.done:
                raise self._selection.nothing_selected(self._path, places.n_placed)
            if not self._n_good:
                raise SourceError(f"input {self._path!r} holds no frame that is certainly good")

    def _known_frame(self) -> SeekPoint | None:
        return None  # damage before it may have its effect behind it

    def _open_places(self) -> Places:
        promise, details = self._probe.promise, self._probe.info.details or {}
        with self._helpers.gathering():
            self._timeline = read_timeline(
                input_arguments(self._path, self._limits, self._probe.decoder),
                self.info.frame_rate,
                fill=promise.n_stored is None,
                stall_seconds=self._stall_seconds,
                memory_mib=self._memory_mib,
            )
        self._refuse_closed()
        recovers = (
            details.get("codec") in _ONE_FRAME_A_PACKET
            and not details.get("interlaced")
            and str(details.get("container")).startswith(_WITH_TIMES)
        )
        rate = self.info.frame_rate
        return Places(self._timeline, recovers=recovers, rate=rate, n_frames=promise.n_frames)

    def _places_of(self, child: FfmpegChild, places: Places) -> Iterator[Place]:
        """Decode to the end, and tell which frame comes next; a good one's samples are then in `_raw`."""
        self._raw = self._raw_buffer()
        self._n_good = 0
        n_complaints, following, index = 0, 0.0, 0
        while (stamp := child.next_stamp()) is not None and self._fill(child, self._raw):
            self._refuse_closed()
            why, last = None, False
            seconds = self._seconds(stamp, index, following)
            following = seconds + float(1 / self.info.frame_rate)
            if stamp.n_complaints > n_complaints:
                n_complaints = stamp.n_complaints
                why = child.latest_complaint.rstrip(".")
                last = self._change is not None or any(_END.search(text) for text in child.errors)
            if self._is_beyond_cut(index, seconds):
                why, last = str(self._probe.promise.cut), True
            for place in places.arrive(seconds, stamp.pts_seconds, why, last=last):
                self._n_good += place.damaged is None
                yield place
                index = place.index + 1
        yield from self._places_at_end(child, places, n_complaints, following)

    def _places_at_end(
        self, child: FfmpegChild, places: Places, n_complaints: int, following: float
    ) -> Iterator[Place]:
        status = child.finish()
        self._refuse_closed()
        if child.stalled or child.short_of_memory or (status < 0 and not child.errors):
            raise SourceError(f"input {self._path!r} cannot be read to its end: {child.explain()}")
        promise, why = self._probe.promise, None
        if child.n_complaints > n_complaints or status != 0:
            why = child.latest_complaint.rstrip(".") or child.explain()
        why = promise.cut or why
        if why is None and places.lost_unseen:
            raise self._too_few(places.n_placed, following)
        n_beyond = 0
        if promise.cut is not None and promise.n_stored is not None:
            n_beyond = max(0, promise.n_stored - self._timeline.n_packets)
        yield from places.end(why, n_beyond)

    def _arguments(self, point: SeekPoint | None) -> list[str]:
        arguments = super()._arguments(point)
        if "-frames:v" in arguments:  # frames are counted here, as some may be missing
            place = arguments.index("-frames:v")
            del arguments[place : place + 2]
        return ["-threads", "1", *arguments]

"""A video file, decoded by an ffmpeg child through a raw pipe: exact samples, exact times, and no frame in silence."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.ffmpeg import FRAME_STAMPS, FfmpegChild, FrameStamp, is_error
from framencc.frames import Frame, Picture, Use
from framencc.sources.base import Allocate
from framencc.sources.probe import VideoProbe, input_arguments, probe_video, wanted_layout
from framencc.sources.selection import EVERYTHING, SelectedSource, Selection
from framencc.sources.wanted import LUMA, Wanted, WantedChannels

_RECONFIGURED = re.compile(
    r"Reconfiguring filter graph because video parameters changed to (?P<format>\w+)\((?P<colour>.*)\), "
    r"(?P<width>\d+)x(?P<height>\d+)"
)


class VideoSource(SelectedSource):
    """A video's first video stream.

    Frames are turned as the file asks for (phones film sideways and say so). A frame is yielded only when ffmpeg had
    complained about nothing by the time the frame left its decoder. As the decoder reads ahead, the frames
    withheld may include some good ones before the damage, never a bad one after it. What ffmpeg does not notice is not
    noticed here: an MPEG transport stream or an AVI that was cut between two packets just ends.

    Parameters
    ----------
    path
        The file.
    selection
        The wanted frames. Those before it are decoded and dropped, those after it are not decoded.
    stall_seconds
        The decoder is killed when it makes no progress for this long.
    wanted
        What to take out of each frame.
    probe
        What is known of the file already; it is asked otherwise.

    Raises
    ------
    SpecError
        When there is no such file.
    SourceError
        When it holds no video that can be decoded.
    """

    def __init__(
        self,
        path: str,
        *,
        selection: Selection = EVERYTHING,
        stall_seconds: float = 60.0,
        wanted: Wanted = LUMA,
        probe: VideoProbe | None = None,
    ) -> None:
        super().__init__(path, selection)
        self.wanted = wanted
        self._stall_seconds = stall_seconds
        self._child: FfmpegChild | None = None
        self._change: str | None = None
        if not Path(path).exists():
            raise SpecError(f"input {path!r} does not exist")
        if Path(path).stat().st_size == 0:
            raise SourceError(f"input {path!r} is empty")
        self._probe = probe or probe_video(path, stall_seconds, wanted)
        details = dict(self._probe.info.details or {})
        estimate = details.get("estimated_frames")
        if isinstance(estimate, int):
            details["estimated_frames"] = len(selection.indices(estimate))
        self.info = replace(self._probe.info, details=details)

    def again(self, selection: Selection) -> "VideoSource":
        """Open the same file for other frames of it."""
        return VideoSource(
            self._path,
            selection=selection,
            stall_seconds=self._stall_seconds,
            wanted=self.wanted,
            probe=self._probe,
        )

    def close(self) -> None:
        """End the child, if it runs; see `Source.close`."""
        super().close()
        if self._child is not None:
            self._child.kill()

    def read_ahead(self) -> None:
        """Start the decoder, which works until its pipe is full; see `Source.read_ahead`."""
        self._refuse_closed()
        if self._child is None:
            self._child = FfmpegChild(
                self._arguments(), stdout=True, stall_seconds=self._stall_seconds, is_complaint=self._is_complaint
            )

    def _read_frames(self, allocate: Allocate) -> Iterator[Frame]:
        self.read_ahead()
        assert self._child is not None
        with self._child as child:
            self._refuse_closed()
            layout, shape = self._probe.layout, (self.info.height, self.info.width)
            raw = np.empty((len(layout.planes), *shape), layout.dtype)
            index, end = 0, self._selection.end
            following = 0.0
            while index != end and (stamp := child.next_stamp()) is not None:
                seconds = self._seconds(stamp, index)
                if not stamp.clean:
                    raise self._damage(child, index, seconds)
                needed = self._selection.reads(index)
                data, use = self._buffers(allocate) if needed else (raw, None)
                # A plane that needs no work goes straight into the consumer's buffer.
                direct = needed and self._is_stored
                if not self._fill(child, data if direct else raw):
                    raise self._damage(child, index, seconds)
                if needed:
                    if not direct:
                        self._extract(raw, data, use, index)
                    yield Frame(data, index, seconds, use, wanted=index in self._selection)
                    self._refuse_closed()
                following = seconds + float(1 / self.info.frame_rate)
                index += 1
            if index != end:
                self._check_end(child, index, following)

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

    def _arguments(self) -> list[str]:
        layout = self._probe.layout
        arguments = [*input_arguments(self._path), *FRAME_STAMPS]
        if layout.filter is not None:
            arguments += ["-vf", layout.filter]
        if self._selection.end is not None:
            arguments += ["-frames:v", str(self._selection.end)]
        return [*arguments, "-pix_fmt", layout.output_format, "-f", "rawvideo", "pipe:1"]

    def _fill(self, child: FfmpegChild, data: Picture) -> bool:
        buffer = memoryview(data).cast("B")  # type: ignore[arg-type]
        return child.readinto(buffer) == len(buffer)

    def _seconds(self, stamp: FrameStamp, index: int) -> float:
        exact = stamp.pts_seconds
        return float(index / self.info.frame_rate if exact is None else exact)

    def _is_complaint(self, level: str, text: str) -> bool:
        """Tell what must not pass in silence: ffmpeg conceals damage and scales to the first size without an error."""
        if is_error(level, text):
            return True
        if level == "warning":
            return text.startswith(("corrupt decoded frame", "corrupt input packet"))
        match = _RECONFIGURED.match(text)
        if match is None:
            return False
        size = (int(match["width"]), int(match["height"]))
        layout = wanted_layout(match["format"], self.wanted)
        if (
            size == self._probe.decoded_size
            and layout == self._probe.layout
            and not self._other_colour(match["colour"])
        ):
            return False
        self._change = self._change or f"the picture changes to {size[0]} x {size[1]}, {match['format']}"
        return True

    def _other_colour(self, named: str) -> bool:
        """Whether codes mean other colours from here on, where that matters: ``tv, bt709/...`` as ffmpeg names it."""
        conversion = self._probe.info.conversion
        if conversion is None or conversion.kind != "RGB from YUV":
            return False
        details = self._probe.info.details or {}
        words = [word.strip() for word in named.replace("/", ",").split(",")]
        return words[:2] != [details["colour_range"], details["colour_space"]]

    def _check_end(self, child: FfmpegChild, n_frames: int, following: float) -> None:
        """Raise unless the child ended well after `n_frames` frames and there was something to yield."""
        status = child.finish()
        self._refuse_closed()
        if status != 0 or child.errors or child.stalled:
            raise self._damage(child, n_frames, following)
        if not self._selection.indices(n_frames):
            raise self._selection.nothing_selected(self._path, n_frames)

    def _damage(self, child: FfmpegChild, index: int, seconds: float) -> SourceError:
        """Build the error that says why there is no good frame `index`."""
        where = f"frame {index} ({seconds:.3f} s)"
        # When the child has not complained, its end tells more; the complaint may also still be on its way.
        status = 0 if child.errors else child.finish()
        if self._closed:
            return SourceError(f"input {self._path!r} was closed while it was being read")
        reason = child.explain().rstrip(".")
        if child.stalled or (status < 0 and not child.errors):
            return SourceError(f"input {self._path!r} cannot be read on from {where}: {reason}")
        if self._change is not None and _RECONFIGURED.match(reason):
            reason = self._change
        return DamagedInputError(
            f"input {self._path!r} is damaged at {where} or soon after: {reason}; the frames before it are good"
        )

"""What ffmpeg says of a video while a probe runs, read line by line as it arrives.

Nothing is looked up afterwards among lines that have been kept, so no fact depends on how many lines a file's metadata
fills. And no line of a file's metadata is taken for ffmpeg's own: `framencc.ffmpeg.messages` says what cannot be
imitated. All facts come from behind the last line ``Stream mapping:``, where a probe has its streams described again,
without their metadata (`DESCRIBE`), or bear the mark of this process. Two exceptions: the container, whose line is the
first of the description, so nothing of the file stands before it; and the duration, which is dropped when the
description holds more than one.
"""

import re
from dataclasses import dataclass, field

from framencc.ffmpeg import MARK

# Metadata of an input is printed once more for each output that inherits it.
NO_METADATA = ("-map_metadata", "-1", "-map_chapters", "-1")
# An output of a probe that holds nothing and has all video streams described. `framecrc` takes streams whose size is
# not known yet, as when no key frame comes for long; others refuse them, and with them the whole command fails.
DESCRIBE = ("-map", "0:v", "-c", "copy", *NO_METADATA, "-t", "0", "-f", "framecrc", "-")
# What a file says of itself could look like any message. A filter's messages bear its name, and no file can know it.
SHOWINFO = f"showinfo{MARK}"

_CONTAINER = re.compile(r"^\[info\] Input #0, (?P<container>[\w,]+), from ")
_DURATION = re.compile(
    r"^\[info\]   Duration: (?:N/A|(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d\.\d+)), "
    r"(?:start: -?\d+\.\d+, )?bitrate: (?:N/A|\d+ kb/s)$"
)
_WORK = "[info] Stream mapping:"
_DECODED = re.compile(r"^\[info\]   Stream #0:(?P<number>\d+) -> #0:0 \((?P<codec>\w+)")
_COPIED = re.compile(r"^\[info\]   Stream #0:(?P<number>\d+) -> #(?P<output>\d+):(?P<place>\d+) \(copy\)$")
_OUTPUT = re.compile(r"^\[info\] Output #(?P<output>\d+), ")
_STREAM = re.compile(r"^\[info\]   Stream #(?P<output>\d+):(?P<place>\d+)[^:]*: Video: (?P<text>.*)$")
_ROTATION = re.compile(r"^\[info\] +(?:Display Matrix|displaymatrix): rotation of (?P<degrees>[-\d.]+) degrees")
_FILTER = rf"^\[{SHOWINFO} @ [^\]]*\] \[info\] "
_CONFIG = re.compile(_FILTER + r"config in .*frame_rate: (?P<rate>\d+/\d+)")
_FRAME = re.compile(
    _FILTER + r"n: *0 .*\bfmt:(?P<format>\w+) .*\bsar:(?P<sar>\d+/\d+) s:(?P<width>\d+)x(?P<height>\d+) i:(?P<field>\w)"
)
_COLOUR = re.compile(
    _FILTER + r"color_range:(?P<range>\S+) color_space:(?P<space>\S+) color_primaries:(?P<primaries>\S+) "
    r"color_trc:(?P<transfer>\S+)"
)
_FOURCC = re.compile(r"\((?P<text>\S[^()]*?) / 0x(?P<code>[0-9A-Fa-f]+)\)")
_MOST_STREAMS = 1000  # ffmpeg reads no more
_SIZE = re.compile(r", (?P<width>\d+)x(?P<height>\d+)\b")


@dataclass
class StreamFacts:
    """One video stream, as ffmpeg describes it.

    Parameters
    ----------
    number
        As ffmpeg counts the streams of a file, from 0.
    text
        The description: codec, fourcc, pixel format, size, rates, and what the stream is there for.
    rotation
        By how many degrees players turn it.
    """

    number: int
    text: str = ""
    rotation: float = 0.0

    @property
    def codec(self) -> str:
        """Name of the codec, ffmpeg's; ``none`` where it knows none."""
        match = re.match(r"\w+", self.text)
        return match[0] if match else "none"

    @property
    def fourcc(self) -> str | None:
        """The four letters by which the file names the codec, others than letters as ``[16]``."""
        match = _FOURCC.search(self.text)
        return match["text"].ljust(4) if match else None

    @property
    def size(self) -> str:
        """Width and height as they are stored."""
        match = _SIZE.search(self.text)
        return f"{match['width']} x {match['height']}" if match else "size unknown"

    @property
    def is_cover(self) -> bool:
        """Whether it is a still image about the file, not a video."""
        return "(attached pic)" in self.text or "(timed thumbnails)" in self.text

    @property
    def is_part(self) -> bool:
        """Whether it is nothing by itself, as a tile of a still image."""
        return "(dependent)" in self.text


@dataclass
class VideoFacts:
    """What is known of a video so far; `hear` takes in the next line of ffmpeg's messages.

    Attributes
    ----------
    container
        ffmpeg's names of it.
    codec, number
        The codec that is decoded and the number of its stream.
    frame, colour
        What is known of the first frame, by the names in the patterns above.
    rate
        Nominal frames per second, as a fraction.
    """

    container: str | None = None
    codec: str | None = None
    number: int | None = None
    frame: dict[str, str] | None = None
    colour: dict[str, str] | None = None
    rate: str | None = None
    _durations: list[float | None] = field(default_factory=list)
    _copies: dict[tuple[str, str], StreamFacts] = field(default_factory=dict)
    _described: StreamFacts | None = None
    _is_at_work: bool = False

    def hear(self, line: str) -> None:
        """Take in a line."""
        if line.startswith("[" + SHOWINFO):
            self._hear_filter(line)
        elif line.startswith(_WORK):
            # What stood behind an earlier such line was the file's text.
            self._is_at_work = True
            self.codec = self.number = self._described = None
            self._copies.clear()
        elif self._is_at_work:
            self._hear_work(line)
        elif self.container is None and (match := _CONTAINER.match(line)):
            self.container = match["container"]
        if len(self._durations) < 2 and (match := _DURATION.match(line)):
            self._durations.append(_seconds(match) if match["hours"] else None)

    def _hear_filter(self, line: str) -> None:
        if self.rate is None and (match := _CONFIG.match(line)):
            self.rate = match["rate"]
        elif self.frame is None and (match := _FRAME.match(line)):
            self.frame = match.groupdict()
        elif self.colour is None and (match := _COLOUR.match(line)):
            self.colour = match.groupdict()

    def _hear_work(self, line: str) -> None:
        if match := _COPIED.match(line):
            if len(self._copies) < _MOST_STREAMS:
                self._copies[match["output"], match["place"]] = StreamFacts(int(match["number"]))
        elif match := _DECODED.match(line):
            self.number, self.codec = int(match["number"]), match["codec"]
        elif _OUTPUT.match(line):
            self._described = None
        elif match := _STREAM.match(line):
            self._described = self._copies.get((match["output"], match["place"]))
            if self._described is not None:
                self._described.text = match["text"]
        elif self._described is not None and (match := _ROTATION.match(line)):
            self._described.rotation = float(match["degrees"])

    @property
    def streams(self) -> list[StreamFacts]:
        """All video streams in the file's order, images about it included."""
        return list(self._copies.values())

    @property
    def stream(self) -> StreamFacts | None:
        """The stream that is decoded; None where none is."""
        return next((stream for stream in self.streams if stream.number == self.number), None)

    @property
    def duration(self) -> float | None:
        """How many seconds the file lasts; None where that is not known for certain."""
        return self._durations[0] if len(self._durations) == 1 else None


def _seconds(match: re.Match[str]) -> float:
    return int(match["hours"]) * 3600 + int(match["minutes"]) * 60 + float(match["seconds"])

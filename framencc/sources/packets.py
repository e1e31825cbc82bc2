"""The packets of a video, listed without decoding: where it can be decoded from, and where another recording begins."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from framencc.ffmpeg import FfmpegChild

_PACKET = re.compile(
    rb"^0, +-?\d+, +(?P<pts>NOPTS|-?\d+), +(?P<dts>-?\d+), .*?(?:, F=0x(?P<flags>[0-9A-Fa-f]+))?(?:, S=.*)?$"
)
_TIME_BASE = re.compile(rb"^#tb 0: (?P<numerator>\d+)/(?P<denominator>\d+)$")
_NO_PTS = (b"NOPTS", b"-9223372036854775808")
_KEY, _CORRUPT, _HIDDEN = 1, 2, 4
# Times of decoding would be mended where they go back, and the times of display with them. So numbers stand in for
# them, and they themselves for the duration, which has to be positive.
_RAISED = 1_000_000_000_000
_AS_STORED = ("-bsf:v", f"setts=pts=PTS:dts=N-1000000000000000:duration=DTS+{_RAISED}")
# Codecs, by ffmpeg's names, in which every frame stands alone need no key frame to begin with. These do.
NEEDS_KEY_FRAMES = (
    *("h264", "hevc", "vvc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3"),
    *("h263", "flv1", "vc1", "wmv1", "wmv2", "wmv3", "theora", "cavs"),
)
# Containers, by ffmpeg's names, of which one can follow another in a file, and which store when packets are decoded.
_CAN_BE_JOINED = (None, "mpegts", "mpeg")
_LONGEST_LEAD = 10_000
# What is shown before a key frame and follows it, comes soon after it: decoders hold a few frames back at most.
_LONGEST_BEHIND = 250
LONGEST_PAUSE = 12 * 3600
"""Between two recordings in one file, in seconds. A clock that seems to have run on for longer has been set back."""


@dataclass(frozen=True)
class Packets:
    """What a container says of each packet, in the order of decoding.

    Parameters
    ----------
    unit
        Unit of the times in seconds.
    pts, dts
        When each is shown and decoded; None where nothing is known.
    flags
        ffmpeg's flags of each.
    """

    unit: Fraction
    pts: Sequence[int | None]
    dts: Sequence[int | None]
    flags: Sequence[int]

    def __len__(self) -> int:
        return len(self.pts)

    def is_key(self, number: int) -> bool:
        """Whether decoding can begin here."""
        return bool(self.flags[number] & _KEY)

    def is_hidden(self, number: int) -> bool:
        """Whether it is decoded and not shown, as an edit list can ask for."""
        return bool(self.flags[number] & _HIDDEN)

    def is_suspect(self, number: int) -> bool:
        """Whether it may have lost something: the mark can be on it or, where packets are parsed, on the one before."""
        return any(self.flags[place] & _CORRUPT for place in (number - 1, number) if place >= 0)

    def seconds(self, number: int) -> Fraction | None:
        """Return when it is shown."""
        ticks = self.pts[number]
        return None if ticks is None else ticks * self.unit


def list_packets(
    arguments: Sequence[str],
    *,
    beginning: bool = False,
    **options: Any,
) -> Packets:
    """List the packets of a video, which takes no decoding.

    Parameters
    ----------
    arguments
        What opens the input and chooses the stream.
    beginning
        Stop where it is known which packets need others from before the first one, or where no key frame comes for
        long.
    options
        As of `FfmpegChild`.
    """
    command = [*arguments, "-c:v", "copy", "-copyinkf", *_AS_STORED, "-f", "framecrc", "pipe:1"]
    pts: list[int | None] = []
    dts: list[int | None] = []
    flags = bytearray()
    unit, n_up_to_first = Fraction(1), 0
    with FfmpegChild(command, stdout=True, **options) as child:
        for line in _lines(child):
            if (match := _TIME_BASE.match(line)) is not None and int(match["denominator"]):
                unit = Fraction(int(match["numerator"]), int(match["denominator"]))
            if (match := _PACKET.match(line)) is None:
                continue
            pts.append(None if match["pts"] in _NO_PTS else int(match["pts"]))
            raised = int(match["dts"])
            dts.append(raised - _RAISED if raised > _RAISED // 2 else None)
            flags.append(int(match["flags"], 16) & 0xFF if match["flags"] else _KEY)
            is_key, is_suspect = flags[-1] & _KEY, any(flag & _CORRUPT for flag in flags[-2:])
            if not n_up_to_first:
                n_up_to_first = len(flags) if is_key and not is_suspect else 0
            elif beginning and (is_key or len(flags) - n_up_to_first == _LONGEST_BEHIND):
                break
            if beginning and len(flags) == _LONGEST_LEAD:
                break
    return Packets(unit, pts, dts, flags)


def _lines(child: FfmpegChild) -> Iterator[bytes]:
    buffer, rest = bytearray(1 << 16), b""
    while count := child.readinto(memoryview(buffer)):
        *lines, rest = (rest + buffer[:count]).split(b"\n")
        yield from lines
        rest = rest[-4096:]


@dataclass(frozen=True, slots=True)
class Take:
    """A recording: packets that follow each other, of which the first that are decoded begin with a key frame.

    Parameters
    ----------
    begin, end
        Its packets; end = None: to the end of the input.
    first
        The first that is decoded, a key frame; None where there is none that can be relied on.
    following
        The next key frame, or one past the last packet: up to there a packet may need one from before `first`.
    earliest
        When `first` is shown, in seconds. What is shown before it and follows it needs frames from before it.
    """

    begin: int
    end: int | None
    first: int | None
    following: int
    earliest: Fraction | None

    def is_left_out(self, packets: Packets, number: int) -> bool:
        """Whether a packet cannot be decoded, as it needs others that are not there."""
        if self.first is None or number < self.first:
            return True
        seconds = packets.seconds(number)
        is_behind = self.first < number < self.following
        return is_behind and None not in (seconds, self.earliest) and seconds < self.earliest  # type: ignore[operator]

    def left_out(self, packets: Packets) -> list[int]:
        """Return the packets that cannot be decoded and would be shown."""
        up_to = self.following if self.end is None else min(self.end, self.following)
        numbers = range(self.begin, up_to)
        return [k for k in numbers if self.is_left_out(packets, k) and not packets.is_hidden(k)]

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the input with which a decoder is given this and nothing else."""
        assert self.first is not None
        drop = f"lt(n,{self.first})"
        if self.end is not None:
            drop += f"+gte(n,{self.end})"
        if self.earliest is not None and self.following > self.first + 1:
            # A packet without a time has the least one of all.
            shown_before = f"lt(pts*tb,{float(self.earliest) - 1e-7:.9f})*gt(pts,-9e18)"
            drop += f"+between(n,{self.first},{self.following - 1})*{shown_before}"
        return ("-bsf:v", "noise=drop=" + drop.replace(",", "\\,"))


def take_from(packets: Packets, begin: int, end: int | None) -> Take:
    """Return the recording that these packets hold."""
    keys = [k for k in range(begin, len(packets) if end is None else end) if packets.is_key(k)]
    first = next((k for k in keys if not packets.is_suspect(k)), None)
    if first is None:
        return Take(begin, end, None, len(packets) if end is None else end, None)
    following = next((k for k in keys if k > first), len(packets) if end is None else end)
    return Take(begin, end, first, following, packets.seconds(first))


def find_takes(packets: Packets, step: Fraction, container: object) -> list[Take]:
    """Find where one recording ends and another begins, with a clock of its own.

    Parameters
    ----------
    packets
        All packets.
    step
        Time between two frames in seconds.
    container
        What ffmpeg calls the container; None where it is not known.
    """
    if container not in _CAN_BE_JOINED:
        return [take_from(packets, 0, None)]
    begins, latest = [0], None
    for number, ticks in enumerate(packets.dts):
        if ticks is None:
            continue
        if latest is not None and _is_new_clock(packets, number, latest, step):
            begins.append(number)
            latest = None
        latest = ticks if latest is None else max(latest, ticks)
    ends: list[int | None] = [*begins[1:], None]
    return [take_from(packets, begin, end) for begin, end in zip(begins, ends, strict=True)]


def _is_new_clock(packets: Packets, number: int, latest: int, step: Fraction) -> bool:
    """Whether the times of decoding go back for good here, or jump where something is lost as well."""

    def ahead(place: int) -> Fraction:
        ticks = packets.dts[place]
        return Fraction(0) if ticks is None else (ticks - latest) * packets.unit

    if ahead(number) < -step / 2:
        # A time that is wrong once, as cameras write some, is followed by one that goes on.
        return number + 1 == len(packets) or ahead(number + 1) < -step / 2
    lost = any(packets.is_suspect(k) for k in range(max(0, number - 2), number + 1))
    return lost and packets.is_key(number) and ahead(number) > max(Fraction(1), 10 * step)

"""How far the first recording of a file goes, and which of its packets are doubtful."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from framencc.frames import StreamInfo
from framencc.sources.containers.promise import MOST_REORDERED
from framencc.sources.packets import LONGEST_PAUSE, Packets, Take, find_takes, list_packets


@dataclass(frozen=True)
class Extent:
    """What can be relied on in spite of what the demuxer doubts.

    Parameters
    ----------
    why
        What follows, as the end of a sentence.
    times
        When the frames are shown that can be relied on; None: that depends on nothing here.
    is_joint
        Whether another recording follows, whose frames can have the same times.
    n_good
        How many frames can be relied on where no times are stored.
    """

    why: str
    times: frozenset[Fraction] | None
    is_joint: bool = False
    n_good: int = 0

    def holds(self, index: int, seconds: Fraction | None, *, is_over: bool) -> bool:
        """Whether a frame can be relied on, by its place in the file, its stored time, and whether times went back."""
        if self.times is None:
            return True
        if self.is_joint and is_over:
            return False
        return index < self.n_good if seconds is None else seconds in self.times


def find_extent(
    arguments: Sequence[str], info: StreamInfo, take: Take | None, *, suspects: bool, **options: Any
) -> Extent:
    """List the packets of a video and find the first that is doubtful, or begins another recording.

    Parameters
    ----------
    arguments
        What opens the input and chooses the stream.
    info
        What is known of the video.
    take
        What of it is decoded; None: all of it.
    suspects
        Whether the demuxer has called a packet corrupt.
    options
        As of `FfmpegChild`.
    """
    details = info.details or {}
    packets = list_packets(arguments, **options)
    takes = find_takes(packets, 1 / info.frame_rate, details.get("container"))
    joint = takes[0].end
    suspect = [k for k in range(len(packets)) if packets.is_suspect(k)]
    doubtful = next((k for k in suspect if take is None or not take.is_left_out(packets, k)), None)
    if joint is None and doubtful is None:
        # Doubts that no list confirms are doubts about everything; times that go back for a moment are none.
        return Extent("corrupt input packet", frozenset() if suspects and not suspect else None)
    end = min(k for k in (joint, doubtful) if k is not None)
    times = frozenset(time for time in map(packets.seconds, range(end)) if time is not None)
    # Each of an interlaced frame's two fields may be a packet by itself.
    n_good = max(0, (end // 2 if details.get("interlaced") else end) - MOST_REORDERED)
    if joint is not None and joint - end <= 2:
        return Extent(_another_recording(packets, joint), times, is_joint=True, n_good=n_good)
    return Extent("corrupt input packet", times, n_good=n_good)


def _another_recording(packets: Packets, joint: int) -> str:
    ends = max((time for time in map(packets.seconds, range(joint)) if time is not None), default=None)
    begins = packets.seconds(joint)
    clock = ""
    if ends is not None and begins is not None:
        if begins - ends > LONGEST_PAUSE:
            begins -= (1 << 33) * packets.unit  # a clock of 33 bits that goes back seems to have gone round
        clock = f", and the clock goes from {float(ends):.3f} s to {float(begins):.3f} s"
    return (
        f"another recording follows in the same file{clock}; read each recording by itself, or join them with "
        f"ffmpeg's concat demuxer"
    )

"""How far the first recording of a file goes, and which of its packets are doubtful."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from framencc.sources.packets import LONGEST_PAUSE, Packets, find_takes, list_packets


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
    """

    why: str
    times: frozenset[Fraction] | None
    is_joint: bool = False

    def holds(self, seconds: Fraction | None) -> bool:
        """Whether a frame with this stored time is one that can be relied on."""
        return self.times is None or seconds in self.times


def find_extent(
    arguments: Sequence[str], rate: Fraction, container: object, *, suspects: bool, **options: Any
) -> Extent:
    """List the packets of a video and find the first that is doubtful, or begins another recording.

    Parameters
    ----------
    arguments
        What opens the input and chooses the stream.
    rate
        Frames per second.
    container
        What ffmpeg calls the container.
    suspects
        Whether the demuxer has called a packet corrupt.
    options
        As of `FfmpegChild`.
    """
    packets = list_packets(arguments, **options)
    takes = find_takes(packets, 1 / rate, container)
    joint = takes[0].end
    doubtful = next((k for k in range(len(packets)) if packets.is_suspect(k)), None)
    if joint is None and doubtful is None:
        # Doubts that no list confirms are doubts about everything; times that go back for a moment are none.
        return Extent("corrupt input packet", frozenset() if suspects else None)
    end = min(k for k in (joint, doubtful) if k is not None)
    times = frozenset(time for time in map(packets.seconds, range(end)) if time is not None)
    if joint is not None and joint - end <= 2:
        return Extent(_another_recording(packets, joint), times, is_joint=True)
    return Extent("corrupt input packet", times)


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

"""Where a video can be read from: a recording that begins in the middle has frames that nobody can decode."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from framencc.ffmpeg import FRAME_STAMPS, FfmpegChild
from framencc.sources.clock import Untimed
from framencc.sources.complaints import Complaints
from framencc.sources.limits import SizeLimits
from framencc.sources.packets import NEEDS_KEY_FRAMES, Packets, Take, list_packets, take_from
from framencc.sources.probe import VideoProbe, input_arguments
from framencc.sources.wanted import Wanted

_LONGEST_UNTIMED = 10_000


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known of a video's first packets.

    Parameters
    ----------
    take
        What to decode; None: everything, as nothing before the first frame disturbs it.
    n_left_out
        How many frames cannot be decoded, as they need others from before the beginning of the file.
    seconds
        When the first frame that can be decoded is shown, where that is stored.
    """

    take: Take | None = None
    n_left_out: int = 0
    seconds: Fraction | None = None

    def warnings(self, path: str, rate: Fraction) -> tuple[str, ...]:
        """Say which frames are left out, if any are."""
        if not self.n_left_out:
            return ()
        first, are = ("frame", "is") if self.n_left_out == 1 else (f"{self.n_left_out} frames", "are")
        begin = float(self.n_left_out / rate if self.seconds is None else self.seconds)
        why = f"its first {first} cannot be decoded, as no intact key frame comes before, and {are} left out"
        return (f"input {path!r}: {why}; it is read from {begin:.3f} s on",)


WHOLE = Beginning()


def find_beginning(path: str, probe: VideoProbe, wanted: Wanted, limits: SizeLimits, **options: Any) -> Beginning:
    """Find the frames at the beginning that need others which are not there.

    Parameters
    ----------
    path, probe, wanted, limits
        The video, what is known of it, what is taken out of it, and how much of it is read.
    options
        As of `FfmpegChild`.
    """
    if (probe.info.details or {}).get("codec") not in (None, *NEEDS_KEY_FRAMES):
        return WHOLE
    packets = list_packets(input_arguments(path, limits), beginning=True, **options)
    take = take_from(packets, 0, None)
    left_out = take.left_out(packets)
    if take.first is None or not left_out:
        return WHOLE
    if any(packets.is_key(k) for k in left_out):
        return WHOLE  # a key frame that is there and not intact is damage, and the frames behind it keep their numbers
    complaints = Complaints(probe, wanted)
    command = [*input_arguments(path, limits, probe.decoder), *FRAME_STAMPS, "-frames:v", "1", "-f", "null", "-"]
    with FfmpegChild(command, is_complaint=complaints.is_damage, **options) as child:
        stamp = child.next_stamp()
    if stamp is None or not stamp.clean:
        return Beginning(take, len(left_out), take.earliest)
    if probe.timeless:
        # Only a parser's marks are right for certain; an AVI's index can be wrong, and nothing has complained.
        return WHOLE if (probe.info.details or {}).get("container") == "avi" else Beginning(take, len(left_out))
    first = stamp.pts_seconds if stamp.estimated_seconds is None else stamp.estimated_seconds
    skipped = _count_skipped(packets, left_out, first)
    return Beginning(None, skipped, first) if skipped else WHOLE


def _count_skipped(packets: Packets, left_out: list[int], first: Fraction | None) -> int:
    """Return how many frames the decoder itself leaves out before the first one, without a complaint."""
    times = [time for time in map(packets.seconds, left_out) if time is not None]
    if first is None or not times:
        return 0
    return len(left_out) if max(times) < first else sum(time < first for time in times)


def find_untimed(arguments: tuple[str, ...], **options: float | None) -> Untimed | None:
    """Count the frames before the first one with a stored time.

    Parameters
    ----------
    arguments
        What opens the input and chooses the stream.
    options
        As of `FfmpegChild`.
    """
    with FfmpegChild([*arguments, *FRAME_STAMPS, "-f", "null", "-"], **options) as child:  # type: ignore[arg-type]
        for number in range(_LONGEST_UNTIMED):
            stamp = child.next_stamp()
            if stamp is None:
                return None
            if stamp.pts_seconds is not None:
                return Untimed(number, stamp.pts_seconds, stamp.time_base)
    return None

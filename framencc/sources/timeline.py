"""Where the frames of a damaged video belong: the places that its packets name, and which of them have a good frame."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from framencc.sources.packets import Packets

# What ffmpeg complains of may belong to a frame that it has not written yet. Between its decoder and its output, and in
# a decoder that shows pictures in another order, there are never as many.
AHEAD = 32


@dataclass(frozen=True)
class Timeline:
    """The places of a video's frames, in the order in which they are shown.

    Parameters
    ----------
    times
        When each is shown, in seconds.
    keys
        Which of them have a key frame.
    n_packets
        How many packets there are, hidden ones included.
    is_complete
        Whether every frame has a place of its own, and an exact time.
    """

    times: Sequence[Fraction]
    keys: Sequence[bool]
    n_packets: int
    is_complete: bool


def make_timeline(packets: Packets, numbers: Iterable[int], rate: Fraction, *, fill: bool) -> Timeline:
    """Put packets into the order in which they are shown.

    Parameters
    ----------
    packets
        All packets of the input.
    numbers
        Those that count.
    rate
        Frames per second.
    fill
        Whether packets may be lost altogether: their places then follow from the rate, if it is constant.
    """
    given = list(numbers)
    shown = [k for k in given if not packets.is_hidden(k)]
    pts = [packets.pts[k] for k in shown]
    exact = None not in pts
    ticks = [0 if value is None else value for value in pts]
    order = sorted(range(len(ticks)), key=ticks.__getitem__)
    times, keys = [ticks[place] * packets.unit for place in order], [packets.is_key(shown[place]) for place in order]
    exact = exact and len(set(times)) == len(times)
    if exact and fill:
        filled = _fill(times, keys, 1 / rate)
        exact = filled is not None
        times, keys = filled or (times, keys)
    return Timeline(times, keys, len(given), exact)


def _fill(times: list[Fraction], keys: list[bool], step: Fraction) -> tuple[list[Fraction], list[bool]] | None:
    """Add places where some are left out; None where the rate is not constant, so that nobody can know."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if sum(abs(gap - step) > step / 4 for gap in gaps) > len(gaps) / 10:
        return None
    all_times, all_keys = times[:1], keys[:1]
    for gap, time, key in zip(gaps, times[1:], keys[1:], strict=True):
        n_missing = max(0, round(gap / step) - 1)
        if n_missing > 10 * len(times):
            return None
        start = all_times[-1]
        all_times += [start + step * (place + 1) for place in range(n_missing)]
        all_keys += [False] * n_missing
        all_times.append(time)
        all_keys.append(key)
    return all_times, all_keys


@dataclass(frozen=True)
class Place:
    """A frame of the input, good or damaged.

    Parameters
    ----------
    index
        Its number.
    seconds
        Its time.
    damaged
        Why it has no picture that can be relied on; None: the frame that has just arrived is its own.
    """

    index: int
    seconds: float
    damaged: str | None = None


class Places:
    """Gives each decoded frame its place, and damaged frames the places between.

    As long as nobody complains, a frame's place is the next one, as in a run that tolerates nothing. With a complaint
    the frame at hand is damaged, and so is all that follows, up to a key frame at least `AHEAD` places further: what
    comes after a key frame does not depend on what came before it. Where frames have no places of their own (no times,
    two fields a frame, lost packets at a variable rate) nothing after the first damage is taken for good.

    Parameters
    ----------
    timeline
        The places.
    recovers
        Whether frames can be recognised by their times.
    rate
        Frames per second.
    n_frames
        How many frames there have to be; None where nobody knows.
    """

    def __init__(self, timeline: Timeline, *, recovers: bool, rate: Fraction, n_frames: int | None) -> None:
        self._timeline = timeline
        self._recovers = recovers and timeline.is_complete
        self._rate = rate
        self._n_frames = n_frames
        self._index = 0
        self._seconds = -float(1 / rate)
        self._slot = -1  # of the next frame, once the first has arrived
        self._why: str | None = None
        self._resume: float = math.inf
        self._is_over = False

    def arrive(
        self, seconds: float, exact: Fraction | None, why: str | None = None, *, last: bool = False
    ) -> list[Place]:
        """Place a decoded frame.

        Parameters
        ----------
        seconds, exact
            Its time, and what its stamp says.
        why
            What was complained of since the frame before.
        last
            Whether nothing after this complaint can be good.
        """
        slot = self._find(exact)
        if self._slot < 0:
            begin = bisect_left(self._timeline.times, 0)
            self._slot = slot if slot is not None and why is None else begin
        counted = why is None and self._why is None and self._n_frames is not None
        if counted and slot is not None and slot > self._slot:
            why = f"no picture was decoded at {float(self._timeline.times[self._slot]):.3f} s"
        if why is not None:
            self._damage(why, slot, last=last)
        if self._why is None:
            if self._index == self._n_frames:
                return []
            self._slot = self._slot + 1 if slot is None else slot + 1
            return [self._next(seconds)]
        if slot is None or slot < self._resume:
            return []
        if slot > self._resume and not self._timeline.keys[slot]:
            self._resume = self._key_after(slot)
            return []
        missing = self._damaged_up_to(slot)
        self._why = None
        self._slot = slot + 1
        return [*missing, self._next(seconds)]

    def end(self, why: str | None, n_beyond: int = 0) -> Iterator[Place]:
        """Place what did not arrive.

        Parameters
        ----------
        why
            What is wrong with the end; None: nothing.
        n_beyond
            How many frames are known to lie beyond the last packet.
        """
        if why is not None:
            self._why = self._why or why
        if self._why is not None:
            if self._slot < 0:
                self._slot = bisect_left(self._timeline.times, 0)
            # Where some are beyond the end, the times of those before it have gaps.
            if self._recovers and not n_beyond:
                yield from self._damaged_up_to(len(self._timeline.times))
            else:
                begin = self._slot if self._recovers else self._index
                n_beyond += max(0, len(self._timeline.times) - begin)
        total = self._index + n_beyond if self._n_frames is None else self._n_frames
        while (self._why is not None or self._n_frames is not None) and self._index < total:
            yield self._next(self._seconds + float(1 / self._rate), self._why or "the video ends before it")

    @property
    def n_placed(self) -> int:
        """How many frames have a place by now."""
        return self._index

    @property
    def lost_unseen(self) -> bool:
        """Whether frames are missing, nobody has complained, and no time tells which they are."""
        return not self._recovers and self._why is None and self._n_frames is not None and self._index < self._n_frames

    def _find(self, exact: Fraction | None) -> int | None:
        if exact is None or not self._recovers:
            return None
        slot = bisect_left(self._timeline.times, exact)
        return slot if slot < len(self._timeline.times) and self._timeline.times[slot] == exact else None

    def _damage(self, why: str, slot: int | None, *, last: bool) -> None:
        self._why = self._why or why
        self._is_over |= last or not self._recovers
        self._resume = self._key_after(max(self._slot, slot or 0) + AHEAD)

    def _key_after(self, slot: int) -> float:
        keys = () if self._is_over else self._timeline.keys
        return next((place for place in range(slot + 1, len(keys)) if keys[place]), math.inf)

    def _damaged_up_to(self, slot: int) -> list[Place]:
        return [self._next(float(self._timeline.times[place]), self._why) for place in range(self._slot, slot)]

    def _next(self, seconds: float, damaged: str | None = None) -> Place:
        place = Place(self._index, seconds, damaged)
        self._index += 1
        self._seconds = seconds
        return place

"""When each frame of a video is shown: its stored time, or the best that can be said, and never before the last one."""

from fractions import Fraction
from typing import NamedTuple

from framencc.ffmpeg import FrameStamp


class Untimed(NamedTuple):
    """How many frames come before the first one with a stored time, that time, and the unit of stored times."""

    n_frames: int
    seconds: Fraction
    unit: Fraction | None


class FrameClock:
    """Gives the frames of a video their times in seconds, in the order in which they are shown.

    A stored time is kept. Frames without one are a frame's duration apart: those at the beginning are counted back
    from the first stored time, and where that leads to before 0, all times are later by as much. A stored time that is
    earlier than the one before it is not kept: the frame follows the last one, and so do those behind it until the
    stored times have caught up.

    Parameters
    ----------
    rate
        Frames per second.
    is_timeless
        Whether frames have no times but their places.
    trusts_estimates
        Whether ffmpeg's own estimate counts where no time is stored.
    n_before
        How many frames come before the first one that is given a time here.
    untimed
        Of the frames before the first stored time, where there are any.
    unit
        Unit of the stored times in seconds, in which all others are given as well; None where it is not known.

    Attributes
    ----------
    following
        When the next frame should come.
    jump
        The latest two stored times that went back, in seconds; None where none did.
    """

    def __init__(
        self,
        rate: Fraction,
        *,
        is_timeless: bool = False,
        trusts_estimates: bool = True,
        n_before: int = 0,
        untimed: Untimed | None = None,
        unit: Fraction | None = None,
    ) -> None:
        self._step = 1 / rate
        self._is_timeless = is_timeless
        self._trusts_estimates = trusts_estimates
        self._index = n_before
        self._unit = unit
        self._n_shown = self._n_untimed = 0
        self._first_untimed = self._shift = Fraction(0)
        if untimed is not None:
            self._n_untimed = untimed.n_frames
            self._first_untimed = untimed.seconds - untimed.n_frames * self._step
            self._shift = -self._in_units(min(Fraction(0), self._first_untimed))
        self._detour = self._shift
        self._latest: Fraction | None = None
        self._stored: Fraction | None = None
        self.following = 0.0
        self.jump: tuple[Fraction, Fraction] | None = None

    def resume(self, index: int, seconds: float) -> None:
        """Go on behind a frame whose time is known, and stored."""
        self._index = index + 1
        self._n_shown = self._n_untimed
        self._latest = self._stored = Fraction(seconds)
        self.following = float(self._latest + self._step)

    def seconds(self, stamp: FrameStamp) -> float:
        """Return the time of the next frame."""
        # What ffmpeg says of some frames without times is when they were decoded.
        time = self._index * self._step if self._is_timeless else self._place(stamp)
        self._index += 1
        self._n_shown += 1
        self._latest = time
        self.following = float(time + self._step)
        return float(time)

    def warnings(self, path: str) -> tuple[str, ...]:
        """Say that times went back, if any did."""
        if self.jump is None:
            return ()
        # No number: a resumed run sees only its own part.
        return (f"input {path!r}: stored times go back; the frames there follow each other at the frame rate",)

    def _in_units(self, seconds: Fraction) -> Fraction:
        return seconds if self._unit is None else round(seconds / self._unit) * self._unit

    def _place(self, stamp: FrameStamp) -> Fraction:
        """Return a frame's time on the clock of the rows."""
        stored = stamp.pts_seconds
        if stored is None and self._n_shown < self._n_untimed:
            return self._in_units(self._first_untimed + self._n_shown * self._step) + self._shift
        known = stamp.estimated_seconds if self._trusts_estimates else stored
        latest = self._latest
        following = Fraction(0) if latest is None else self._in_units(latest + self._step)
        if known is None:
            return following
        goes_back = stored is not None and self._goes_back(stored)
        if latest is None or known + self._shift >= latest:
            self._detour = self._shift
        elif known + self._detour < latest:
            if not goes_back:
                return self._in_units(latest + self._step / 2)  # ffmpeg had put the frames before it too late
            self._detour = following - known
        return known + self._detour

    def _goes_back(self, stored: Fraction) -> bool:
        before, self._stored = self._stored, stored
        if before is None or stored >= before:
            return False
        self.jump = (before, stored)
        return True

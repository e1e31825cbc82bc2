"""When each frame of a video is shown: its stored time, or the best that can be said, and never before the last one."""

from collections.abc import Callable
from fractions import Fraction

from framencc.ffmpeg import FrameStamp

Untimed = tuple[int, Fraction]
"""How many frames come before the first one with a stored time, and that time."""


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
    find_untimed
        Looks ahead for the first stored time when the first frame has none; None where there is none at all.

    Attributes
    ----------
    following
        When the next frame should come.
    n_back
        How many stored times went back.
    jump
        The latest two stored times that went back, in seconds.
    """

    def __init__(
        self,
        rate: Fraction,
        *,
        is_timeless: bool = False,
        trusts_estimates: bool = True,
        n_before: int = 0,
        find_untimed: Callable[[], Untimed | None] | None = None,
    ) -> None:
        self._step = 1 / rate
        self._is_timeless = is_timeless
        self._trusts_estimates = trusts_estimates
        self._index = n_before
        self._find_untimed = find_untimed
        self._n_untimed = 0
        self._is_first = True
        self._next_untimed: Fraction | None = None
        self._shift = Fraction(0)
        self._detour = Fraction(0)
        self._latest: Fraction | None = None
        self._stored: Fraction | None = None
        self.following = 0.0
        self.n_back = 0
        self.jump: tuple[Fraction, Fraction] | None = None

    def resume(self, index: int, seconds: float) -> None:
        """Go on behind a frame whose time is known, and stored."""
        self._index, self._is_first = index + 1, False
        self._latest = self._stored = Fraction(seconds)
        self.following = float(self._latest + self._step)

    def seconds(self, stamp: FrameStamp) -> float:
        """Return the time of the next frame."""
        if self._is_timeless:
            # What ffmpeg says of some of them is when they were decoded.
            time = self._index * self._step
        else:
            if self._is_first:
                self._look_ahead(stamp)
            time = self._place(stamp)
        self._is_first = False
        self._index += 1
        self._latest = time
        self.following = float(time + self._step)
        return float(time)

    def _look_ahead(self, stamp: FrameStamp) -> None:
        if stamp.pts_seconds is None and self._find_untimed is not None:
            untimed = self._find_untimed()
            if untimed is not None:
                self._n_untimed, stored = untimed
                self._next_untimed = stored - self._n_untimed * self._step
                self._shift = max(Fraction(0), -self._next_untimed)
        self._detour = self._shift

    def _place(self, stamp: FrameStamp) -> Fraction:
        """Return a frame's time on the clock of the rows."""
        stored = stamp.pts_seconds
        if self._n_untimed and stored is None and self._next_untimed is not None:
            self._n_untimed -= 1
            time, self._next_untimed = self._next_untimed, self._next_untimed + self._step
            return time + self._shift
        known = stamp.estimated_seconds if self._trusts_estimates else stored
        latest = self._latest
        following = Fraction(0) if latest is None else latest + self._step
        if known is None:
            return following
        goes_back = stored is not None and self._goes_back(stored)
        if latest is None or known + self._shift >= latest:
            self._detour = self._shift
        elif known + self._detour < latest:
            if not goes_back:
                return latest + self._step / 2  # ffmpeg had put the frames before it too late
            self._detour = following - known
        return known + self._detour

    def _goes_back(self, stored: Fraction) -> bool:
        before, self._stored = self._stored, stored
        if before is None or stored >= before:
            return False
        self.n_back += 1
        self.jump = (before, stored)
        return True

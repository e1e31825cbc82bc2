"""Whether frames are still turned as the first ones were, where what they say of it changes.

ffmpeg says only that the words change, not whether the picture does: a matrix can be in each frame, in key frames
alone, or in the container, and mean the same. So the frames are decoded once more, as they are stored, and compared.
"""

from collections.abc import Callable

import numpy as np

from framencc.ffmpeg import FfmpegChild
from framencc.frames import Picture

# As an option of the input: leave the frames as they are stored.
AS_STORED = ("-noautorotate",)
CHANGED = "the picture changes its orientation"
_Turn = Callable[[Picture], Picture]


def _turns() -> list[_Turn]:
    turns: list[_Turn] = []
    for quarters in range(4):
        turns.append(lambda picture, k=quarters: np.rot90(picture, k))  # type: ignore[misc]
        turns.append(lambda picture, k=quarters: np.rot90(picture, k)[:, ::-1])  # type: ignore[misc]
    return turns


class Orientation:
    """Compares frames with those of a second decoder, which does not turn them.

    Parameters
    ----------
    start
        Starts a decoder of the same frames with further options of the input.
    planes
        A buffer for the planes of one frame.
    n_before
        How many frames the decoder has written of which none says anything else than the first one.
    """

    def __init__(self, start: Callable[[tuple[str, ...]], FfmpegChild], planes: Picture, n_before: int) -> None:
        self._stored = np.empty_like(planes)
        self._n_read = 0
        self._turns = _turns()
        self._child = start(AS_STORED)
        with start(()) as first:
            while self._n_read < n_before and len(self._turns) > 1 and _fill(first, planes):
                self._is_turned_alike(planes[0])

    def close(self) -> None:
        """End the second decoder."""
        self._child.kill()

    def holds(self, number: int, picture: Picture) -> bool:
        """Tell whether a frame is turned as those before it: the first plane of the decoder's frame `number`."""
        while self._n_read < number:
            if not self._read():
                return False
        return self._is_turned_alike(picture)

    def _read(self) -> bool:
        self._n_read += 1
        return _fill(self._child, self._stored)

    def _is_turned_alike(self, picture: Picture) -> bool:
        """Read the same frame as it is stored; keep the turns that explain this frame, if there are any."""
        if not self._read():
            return False
        stored = self._stored[0]
        across = stored.reshape(stored.shape[::-1])  # where a frame is turned to its side, it is stored so
        fitting = [turn for turn in self._turns if any(np.array_equal(turn(p), picture) for p in (stored, across))]
        self._turns = fitting or self._turns
        return bool(fitting)


def _fill(child: FfmpegChild, picture: Picture) -> bool:
    buffer = memoryview(picture).cast("B")  # type: ignore[arg-type]
    return child.readinto(buffer) == len(buffer)

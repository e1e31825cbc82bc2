"""What pictures for people show as black, as white, and as not measured."""

from dataclasses import dataclass

import numpy as np

from framencc.frames import CodeRange, Picture

UNMEASURED = (58, 84, 138)
"""Red, green and blue of what was not measured, beside grays: it is none, so it is no value of a gray map."""

_TAIL = 0.1  # percent of a float reference's pixels that may be brighter than white, or darker than black


def maximum_code(bits: int) -> int:
    """Return the largest code M of a depth: 255 for 8 bits, 65535 for 16."""
    return (1 << bits) - 1


@dataclass(frozen=True, slots=True)
class Shades:
    """Which values are shown as black and white: one choice for the whole clip, made from the reference.

    Parameters
    ----------
    black, white
        Values of a picture's samples.
    """

    black: float
    white: float

    @classmethod
    def of(cls, reference: Picture, code_range: CodeRange | None) -> "Shades":
        """Choose for a reference.

        Integers are shown from their black to their white: a picture of 12 bits in a file of 16 is not shown black.
        Floats are shown from 0, or their least value below it, to their greatest value, each but
        for one pixel in a thousand.

        Parameters
        ----------
        reference
            (H, W) or (3, H, W).
        code_range
            Which of its codes are black and white, None for floats.
        """
        if code_range is not None:
            return cls(float(code_range.black), float(code_range.white))
        finite = reference[np.isfinite(reference)]
        if not finite.size:
            return cls(0.0, 1.0)
        low, high = np.percentile(finite, (_TAIL, 100 - _TAIL))
        black = min(0.0, float(low))
        return cls(black, float(high) if high > black else black + 1.0)

    def for_frames(self, code_range: CodeRange | None, frames: CodeRange | None, gain: int) -> "Shades":
        """Say the same of frames, whose codes have another range and come multiplied by `gain`."""
        if frames is not None:
            return Shades(float(gain * frames.black), float(gain * frames.white))
        # Integers beside floats: which float is a code's white, only convention tells.
        return self if code_range is None else Shades(0.0, 1.0)

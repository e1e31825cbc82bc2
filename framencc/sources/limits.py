"""How much of an input is read: what its own headers claim is judged before memory is taken for it."""

from dataclasses import dataclass
from typing import Self

from framencc.errors import SourceError
from framencc.spec import LimitsSpec

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The limits of a job that concern sizes.

    Parameters
    ----------
    max_pixels, max_frames, max_decoded_gib
        As of the spec.
    """

    max_pixels: int
    max_frames: int
    max_decoded_gib: float

    @classmethod
    def of(cls, limits: LimitsSpec) -> Self:
        """Return those of a job."""
        return cls(limits.max_pixels, limits.max_frames, limits.max_decoded_gib)

    def check_pixels(self, height: int, width: int, where: str) -> None:
        """Refuse a picture that is too large, or none.

        Raises
        ------
        SourceError
            With the limit's name.
        """
        if not 0 < height * width <= self.max_pixels:
            raise SourceError(
                f"{where} says it is {width} x {height}; pictures of 1 to {self.max_pixels} pixels are read "
                f"(limits.max_pixels)"
            )

    def check_length(self, n_frames: int, frame_bytes: int, where: str) -> None:
        """Refuse more frames, or more bytes of them, than are to be read.

        Parameters
        ----------
        n_frames
            How many frames are read, those included that are dropped.
        frame_bytes
            The size of each.
        where
            How messages name the input.

        Raises
        ------
        SourceError
            With the limit's name.
        """
        if n_frames > self.max_frames:
            raise SourceError(
                f"{where} has more frames than limits.max_frames = {self.max_frames}; raise that, or choose fewer with "
                f"frames"
            )
        if n_frames * frame_bytes > self.max_decoded_gib * _GIB:
            raise SourceError(
                f"{where} unpacks to more than limits.max_decoded_gib = {self.max_decoded_gib:g}; raise that, or "
                f"choose fewer with frames"
            )


DEFAULT_LIMITS = SizeLimits.of(LimitsSpec())

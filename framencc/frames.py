"""The values that pass between stages: one frame, and what is known of a whole stream."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[Any]
Use = npt.NDArray[np.bool_]

PICTURE_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


def frozen(picture: Picture) -> Picture:
    """Return a C-contiguous read-only view: kernels are compiled for one kind of input, and cannot write to it."""
    view = np.ascontiguousarray(picture).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a source.

    Parameters
    ----------
    data
        (H, W) for one channel or (3, H, W) for red, green and blue; uint8, uint16 or float32. It may be a view of a
        reused buffer: it is the consumer's until the consumer hands it back to the allocator it gave the source.
    index
        Number of the frame in the input, from 0, also when a selection skips frames.
    pts_seconds
        Presentation time in seconds on the input's own clock.
    use
        (H, W) bool, False for the pixels that are masked; None where all are used. A reused buffer like `data`.
    file_name
        Name of the picture in a sequence, whose own number may differ from `index`; None for all else.
    wanted
        False for a frame that is not asked for, but leads to one that is: its warp is where the next one's begins.
    damaged
        Why there is no picture in the frame's place: `data` then means nothing. None for a good frame.
    """

    data: Picture
    index: int
    pts_seconds: float
    use: Use | None = None
    file_name: str | None = None
    wanted: bool = True
    damaged: str | None = None

    def digest(self) -> str:
        """Return the SHA-256 of the samples, in hexadecimal."""
        return hashlib.sha256(np.ascontiguousarray(self.data).data.cast("B")).hexdigest()

    def __repr__(self) -> str:
        return (
            f"Frame(index={self.index}, pts_seconds={self.pts_seconds:.6f}, shape={self.data.shape}, "
            f"dtype={self.data.dtype})"
        )


@dataclass(frozen=True, slots=True)
class Regions:
    """Parts of the reference that have names.

    Parameters
    ----------
    labels
        (H, W) uint16 label of each pixel.
    names
        The label that each region has, by the region's name; every label at most once.
    """

    labels: Picture
    names: Mapping[str, int]

    def __repr__(self) -> str:
        return f"Regions({dict(self.names)}, shape={self.labels.shape})"


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the compared channels were computed, where they are not stored as such.

    Parameters
    ----------
    kind
        What was computed from what.
    matrix
        By whose weights: ``bt601``, ``bt709`` or ``bt2020``.
    range
        Range of the stored codes, ``full`` or ``limited``.
    """

    kind: Literal["luma from RGB", "RGB from YUV"]
    matrix: str
    range: str = "full"


@dataclass(frozen=True, slots=True)
class CodeRange:
    """Which codes of integer samples stand for black and white, and how that is known.

    Codes beyond them are allowed: video of limited range has some on either side.

    Parameters
    ----------
    bits
        Significant bits: 12 for a 12-bit camera's codes, whether they fill the low or the high bits of 16.
    black, white
        The codes.
    bits_from
        ``stored``: the file or its sample type says so; ``content``: found by its largest code; ``option``: the user
        says so.
    range
        ``limited``: black and white lie inside the range of the bits, as 16 and 235 in 8; ``full``: they are its ends.
    range_from
        ``stored``, ``option``, or ``assumed`` where the file does not say.
    largest
        The largest code that was found, where `bits_from` is ``content``.
    """

    bits: int
    black: int
    white: int
    bits_from: Literal["stored", "content", "option"] = "stored"
    range: Literal["full", "limited"] = "full"
    range_from: Literal["stored", "option", "assumed"] = "stored"
    largest: int | None = None

    @classmethod
    def of_bits(cls, bits: int, *, limited: bool = False, **how: Any) -> Self:
        """Return the range of codes that lie in the low bits."""
        if limited:
            return cls(bits, (16 << bits) >> 8, (235 << bits) >> 8, range="limited", **how)
        return cls(bits, 0, (1 << bits) - 1, **how)

    @property
    def depth(self) -> int:
        """How many of a sample's low bits its codes may fill: more than are significant where those are the high ones.

        Where only some frames were looked at, another may be up to four times as bright.
        """
        return min(16, self.white.bit_length() + (2 if self.bits_from == "content" else 0))

    def units(self, other: "CodeRange") -> float:
        """Return how many of these codes one code of `other` is."""
        return (self.white - self.black) / (other.white - other.black)

    def as_json(self) -> dict[str, Any]:
        """Return what a sidecar says of it."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "largest"}


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a source before its first frame is read.

    Parameters
    ----------
    height, width
        Size of every frame in pixels, as displayed (rotation applied).
    dtype
        uint8, uint16 or float32.
    n_frames
        How many frames are selected, or None where only reading tells.
    frame_rate
        Nominal frames per second, exact.
    code_range
        Which of its integer codes are black and white, None for floats.
    time_base
        Unit of the input's time stamps in seconds, where it has one.
    n_channels
        1, or 3 for red, green and blue.
    matrix
        Which weights relate a YUV video's luma to red, green and blue; None for all else.
    conversion
        How the channels were computed; None where they are stored as such.
    pixel_aspect
        How many times as wide as high a pixel is shown; 1: pixels are square, or nothing says otherwise.
    details
        Further facts for people (codec, pixel format, rotation, colour), JSON-ready.
    warnings
        What a user should know of the stream although it can be read, a sentence without its full stop each.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    n_frames: int | None
    frame_rate: Fraction
    code_range: CodeRange | None = None
    time_base: Fraction | None = None
    n_channels: int = 1
    matrix: str | None = None
    conversion: Conversion | None = None
    pixel_aspect: Fraction = Fraction(1)
    details: dict[str, str | int | float | bool | None] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a stream of {self.width} x {self.height} pixels has no picture")
        if self.dtype not in PICTURE_DTYPES:
            raise ValueError(f"a stream's dtype must be uint8, uint16 or float32, not {self.dtype}")
        if self.frame_rate <= 0:
            raise ValueError(f"a frame rate must be positive, not {self.frame_rate}")
        if self.pixel_aspect <= 0:
            raise ValueError(f"a pixel's aspect must be positive, not {self.pixel_aspect}")

    @property
    def bits(self) -> int | None:
        """Significant bits of an integer sample (10 for 10-bit video held in uint16), None for floats."""
        return None if self.code_range is None else self.code_range.bits

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) at which a player shows a frame: the height is kept."""
        return round(self.width * self.pixel_aspect), self.height

    @property
    def size_note(self) -> str:
        """What to add to a complaint that an image has another size than this stream; empty where nothing helps."""
        if self.pixel_aspect == 1:
            return ""
        aspect = f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}"
        width, height = self.display_size
        return (
            f"; the input's pixels are not square ({aspect}), and players show and save them as {width} x {height}: "
            f"store images for it in its own {self.width} x {self.height} pixels"
        )

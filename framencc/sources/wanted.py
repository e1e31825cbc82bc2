"""What is wanted of every picture of an input: channels to compare, or the pixels that a mask lets through."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from framencc.channels import COLOURS, DEFAULT_MATRIX, has_alpha, n_colours, take_alpha, take_channel
from framencc.frames import Conversion, Picture, Use
from framencc.sources.significant import Codes
from framencc.spec.ncc import Channel, NccSpec, RgbMatrix, RgbRange


class Taken(NamedTuple):
    """What was taken out of one picture.

    Parameters
    ----------
    data
        (H, W) or (3, H, W).
    use
        (H, W) bool, False for masked pixels; None where all are used.
    conversion
        How `data` was computed; None where it is stored as such.
    packed_bits
        How many bits a sample has in the file, where that is no whole number of bytes; None elsewhere.
    codes
        What can be seen of the codes of a file's 16-bit channels; None where nobody asked, or there are none.
    """

    data: Picture
    use: Use | None = None
    conversion: Conversion | None = None
    packed_bits: int | None = None
    codes: Codes | None = None


class Wanted(ABC):
    """What a source takes out of its pictures."""

    @property
    def keep_palette(self) -> bool:
        """Whether a palette's indices are wanted, not its colours."""
        return False

    @abstractmethod
    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any] | None:
        """Return the dtype of what is taken from samples of dtype `stored`; None where they are of no use."""

    @abstractmethod
    def take(self, picture: Picture) -> Taken:
        """Take what is wanted from an (H, W) or (H, W, C) picture.

        Raises
        ------
        ValueError
            When it does not have it; the text reads on from the picture's name.
        """


@dataclass(frozen=True, slots=True)
class WantedChannels(Wanted):
    """One channel, or all three, for the correlation.

    Parameters
    ----------
    channel, rgb_matrix, rgb_range
        As of the spec.
    alpha
        Whether the picture's alpha channel masks it.
    """

    channel: Channel = "luma"
    alpha: bool = False
    rgb_matrix: RgbMatrix = "auto"
    rgb_range: RgbRange = "auto"

    @classmethod
    def of_frames(cls, spec: NccSpec) -> "WantedChannels":
        """Return what a job wants of its input's frames."""
        return cls(spec.channel, spec.alpha in ("frame", "both"), spec.rgb_matrix, spec.rgb_range)

    @classmethod
    def of_reference(cls, spec: NccSpec) -> "WantedChannels":
        """Return what a job wants of its reference."""
        return cls(spec.channel, spec.alpha in ("reference", "both"), spec.rgb_matrix, spec.rgb_range)

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any] | None:
        """Return the same dtype, or float32 for all floats; see `Wanted.dtype`."""
        if stored.type in (np.uint8, np.uint16):
            return np.dtype(stored.type)
        # float64 is the exception that loses digits: it is accepted as float32.
        return np.dtype(np.float32) if stored.kind == "f" and stored.itemsize <= 8 else None

    def take(self, picture: Picture) -> Taken:
        """Take the channels, and what alpha masks; see `Wanted.take`."""
        matrix = DEFAULT_MATRIX if self.rgb_matrix == "auto" else self.rgb_matrix
        colours = n_colours(picture)
        if self.channel in COLOURS and colours == 1:
            raise ValueError(f"is gray, so ncc.channel = {self.channel} cannot be taken from it")
        if self.alpha and not has_alpha(picture):
            raise ValueError("has no alpha channel, so ncc.alpha cannot mask it")
        data = take_channel(picture, self.channel, matrix)
        is_computed = self.channel == "luma" and colours == 3
        conversion = Conversion("luma from RGB", matrix) if is_computed else None
        return Taken(data, take_alpha(picture) if self.alpha else None, conversion)


LUMA = WantedChannels()


@dataclass(frozen=True, slots=True)
class WantedMask(Wanted):
    """The pixels that a mask lets through, as uint8 0 and 1.

    Parameters
    ----------
    labels
        Those whose pixels are used; None: all pixels above black.
    """

    labels: tuple[int, ...] | None = None

    @property
    def keep_palette(self) -> bool:
        """Labels are often stored as indices into a palette."""
        return self.labels is not None

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any] | None:
        """Return uint8 for samples that can be a mask's; see `Wanted.dtype`."""
        return np.dtype(np.uint8) if stored.kind in ("bui" if self.labels else "buif") else None

    def take(self, picture: Picture) -> Taken:
        """Tell used pixels from the others; see `Wanted.take`."""
        colours = n_colours(picture)
        if picture.ndim == 3 and picture.shape[2] in (2, 4):
            refuse_transparency(picture[:, :, -1])
        values = picture[:, :, np.newaxis] if picture.ndim == 2 else picture[:, :, :colours]
        if self.labels is None:
            with np.errstate(invalid="ignore"):  # a NaN is not above 0
                used: Use = np.any(values > 0, axis=2)
            return Taken(used.view(np.uint8))
        return Taken(self.choose(_labels(values)))

    def choose(self, labels: Picture) -> Picture:
        """Tell the pixels of the wanted labels from all others, as uint8 1 and 0."""
        chosen: Picture = np.isin(labels, self.labels or ()).view(np.uint8)
        return chosen


@dataclass(frozen=True, slots=True)
class WantedLabels(Wanted):
    """The labels of a mask or of regions as they are stored, uint16."""

    @property
    def keep_palette(self) -> bool:
        """Labels are often stored as indices into a palette."""
        return True

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any] | None:
        """Return uint16 for integers; see `Wanted.dtype`."""
        return np.dtype(np.uint16) if stored.kind in "bui" else None

    def take(self, picture: Picture) -> Taken:
        """Take the labels; those beyond uint16, which nobody can ask for, become the largest one."""
        if picture.ndim == 3 and picture.shape[2] in (2, 4):
            refuse_transparency(picture[:, :, -1])
        labels = _labels(picture[:, :, np.newaxis] if picture.ndim == 2 else picture[:, :, : n_colours(picture)])
        return Taken(np.clip(labels, 0, np.iinfo(np.uint16).max).astype(np.uint16))


def _labels(values: Picture) -> Picture:
    """Return the one label of each pixel of an (H, W, C) picture."""
    if (values != values[:, :, :1]).any():
        raise ValueError("is in colour, so its labels cannot be told; store them in one channel")
    return values[:, :, 0]


def refuse_transparency(alpha: Picture, loss: int = 0) -> None:
    """Refuse a mask that is partly transparent: whether its own values or its alpha is meant cannot be known.

    Alpha that is stored with `loss` may be off by so many codes.

    Raises
    ------
    ValueError
        The text reads on from the picture's name.
    """
    if int(alpha.max()) - int(alpha.min()) > loss:
        raise ValueError("has an alpha channel that is not opaque everywhere; store the mask without one")

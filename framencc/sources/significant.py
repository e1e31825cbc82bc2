"""How many bits of a picture's integers are significant: as its file says, or else as its codes show.

A camera of 12 bits writes files of 16, and what is white in them is 4095, or 65520 where it fills the high bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from framencc.errors import SpecError
from framencc.frames import CodeRange, Picture

DEPTHS = (8, 10, 12, 14, 16)
"""Depths that cameras and scanners have; codes alone tell no others."""

LOOKED_AT = 5
"""Pictures of a sequence whose codes are looked at."""


@dataclass(frozen=True, slots=True)
class Codes:
    """What can be seen of the codes of one or more 16-bit pictures.

    Parameters
    ----------
    largest
        The largest one.
    union
        All of them, bit by bit.
    stored
        How many bits their file says are significant; None where it does not say.
    """

    largest: int
    union: int
    stored: int | None = None

    @classmethod
    def of(cls, picture: Picture, stored: int | None = None) -> "Codes | None":
        """Look at an (H, W) or (H, W, C) picture; None where its dtype says all: 8 bits, or floats."""
        if picture.dtype != np.uint16:
            return None
        if picture.ndim == 3 and picture.shape[2] in (2, 4):
            picture = picture[:, :, :-1]  # alpha may be of another depth
        return cls(int(picture.max()), int(np.bitwise_or.reduce(picture, axis=None)), stored)

    def join(self, other: "Codes") -> "Codes":
        """Return what can be seen of both."""
        stored = max((one.stored for one in (self, other) if one.stored is not None), default=None)
        return Codes(max(self.largest, other.largest), self.union | other.union, stored)

    @property
    def _n_low_zeros(self) -> int:
        """How many low bits no code has."""
        return (self.union & -self.union).bit_length() - 1 if self.union else 0

    def place(self, bits: int) -> CodeRange | None:
        """Return the range of codes of so many bits, low or high; None where these codes are in neither."""
        if self.largest < 1 << bits:
            return CodeRange.of_bits(bits)
        return CodeRange(bits, 0, _high(bits)) if self._n_low_zeros >= 16 - bits else None

    def guess(self) -> CodeRange:
        """Return the range of codes of the smallest depth that holds them all.

        Large codes that never have the lowest bits fill the high ones. Black pictures say nothing.
        """
        if self.largest == 0:
            return CodeRange.of_bits(16)
        bits = next(depth for depth in DEPTHS if self.largest < 1 << depth)
        if bits > 12 and self._n_low_zeros >= 2:
            bits = max(DEPTHS[0], 16 - self._n_low_zeros)
            return CodeRange(bits, 0, _high(bits), "content", largest=self.largest)
        return CodeRange.of_bits(bits, bits_from="content", largest=self.largest)


def _high(bits: int) -> int:
    """Return the largest code of so many bits, the high ones of 16."""
    return ((1 << bits) - 1) << (16 - bits)


def find_code_range(
    dtype: np.dtype[Any], seen: Iterable[Codes | None], bits: int | None, what: str
) -> CodeRange | None:
    """Say which codes of pictures are black and white; None for floats.

    Parameters
    ----------
    dtype
        Of their samples.
    seen
        What was seen of those that were looked at; used only where `dtype` does not say all.
    bits
        How many bits the user says are significant; None: the files say so, or else their codes.
    what
        How messages name the pictures' role, as in the option's name: ``input`` or ``reference``.

    Raises
    ------
    SpecError
        When the codes do not fit `bits`.
    """
    if dtype.kind != "u":
        if bits is not None:
            raise SpecError(f"{what}_bits = {bits} cannot apply: the {what} has floating-point samples")
        return None
    size = 8 * dtype.itemsize
    if bits is not None and bits > size:
        raise SpecError(f"{what}_bits = {bits} cannot apply: the {what} has {size}-bit samples")
    if size == 8:
        return CodeRange.of_bits(size if bits is None else bits, bits_from="stored" if bits is None else "option")
    known = [one for one in seen if one is not None]
    codes = reduce(Codes.join, known) if known else Codes(0, 0)
    if bits is not None:
        found = codes.place(bits)
        if found is None:
            raise SpecError(f"{what}_bits = {bits} cannot apply: the {what} holds code {codes.largest}")
        return replace(found, bits_from="option")
    if codes.stored is None:
        return codes.guess()
    # PNG spreads fewer bits over all of its 16.
    return codes.place(codes.stored) or replace(CodeRange.of_bits(16), bits=codes.stored)


def places_to_look(n_pictures: int) -> list[int]:
    """Choose pictures of a sequence, the same whatever is selected of it and wherever a run begins."""
    return sorted({round(place) for place in np.linspace(0, n_pictures - 1, LOOKED_AT)})


def same_depth(one: CodeRange | None, other: CodeRange | None) -> tuple[CodeRange | None, CodeRange | None]:
    """Give two pictures one depth where only their codes tell, and these are alike.

    Of one camera's pictures the darker one may need a depth less. Where the largest codes differ by less than a factor
    of 2, half of what there is between two depths, one camera with a little more light is the better guess.
    """
    if one is None or other is None or one.largest is None or other.largest is None or one.bits == other.bits:
        return one, other
    low, high = sorted((one.largest, other.largest))
    if high >= 2 * low:
        return one, other
    larger = max(one, other, key=lambda codes: codes.white)
    return replace(larger, largest=one.largest), replace(larger, largest=other.largest)

"""How single values of options are read, whoever wrote them: a config file, a command line or NumPy."""

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

MAX_PIXELS = 1 << 27
"""Larger pictures (16384 x 8192) are refused: a few bytes of a damaged or malicious file can announce terabytes."""

_LONGEST_RATE = 100  # characters; no rate needs more, and its digits are computed with
_FINEST_RATE = 100_000


def plain_number(value: object) -> object:
    """Refuse truth values; take NumPy's integers for the integers that they are."""
    if type(value).__name__ in ("bool", "bool_"):  # Python's, NumPy 2's and NumPy 1's
        raise ValueError("a number is expected, not true or false")
    return value.__index__() if hasattr(value, "__index__") else value


# Pydantic takes True for 1; a config that says `radius = true` is a mistake.
Integer = Annotated[int, BeforeValidator(plain_number)]
Real = Annotated[float, BeforeValidator(plain_number)]


def split_list(value: object) -> list[object] | None:
    """Return the items of a list, also of one written as text ("2,3,5"); None where `value` is a single item."""
    if isinstance(value, str):
        parts: list[object] = [part.strip() for part in value.strip("[]() ").split(",")]
        return parts if len(parts) > 1 else None
    several = isinstance(value, Iterable) and not hasattr(value, "__index__")
    return list(value) if several else None  # type: ignore[call-overload]


def whole_number(value: object, least: int, greatest: int, what: str) -> int:
    """Read an integer, also one written as text.

    Raises
    ------
    ValueError
        When it is none, or not within `least` and `greatest`; the text says `what` it must be.
    """
    value = plain_number(value)
    if isinstance(value, str) and value.strip("[]() ").isdecimal():
        value = int(value.strip("[]() "))
    if not isinstance(value, int) or not least <= value <= greatest:
        raise ValueError(f"must be {what} {least} to {greatest}, not {value!r}")
    return value


def path_text(value: object) -> object:
    """Turn a path into text, and refuse what no file system takes, or no JSON, HTML or decoder can name."""
    text = str(value) if isinstance(value, Path) else value
    if isinstance(text, str) and "\0" in text:
        raise ValueError(f"no path holds a NUL character, not {text!r}")
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError:  # on Linux a name is bytes, and Python writes those that are no text as surrogates
            raise ValueError(f"the name {text!r} is not UTF-8; rename the file or folder") from None
    return text


def rate(text: str) -> Fraction:
    """Read a number of frames per second, as 25, 23.976 or 30000/1001.

    Returns
    -------
    fractions.Fraction
        The number itself where its denominator is at most 100000, else the nearest such fraction: 23.976023976023976
        is 24000/1001. Its numerator fits 31 bits, because an .mp4 counts time in units of its inverse.

    Raises
    ------
    ValueError
        When the text is no positive number.
    """
    # A float first: of 1e99999999 a Fraction would write out every digit.
    if len(text) > _LONGEST_RATE or ("/" not in text and not 0 < float(text) < math.inf):
        raise ValueError(f"no frame rate: {text!r}")
    try:
        exact = Fraction(text)
    except ZeroDivisionError:
        raise ValueError(f"no frame rate: {text!r}") from None
    if exact <= 0:
        raise ValueError(f"no frame rate: {text!r}")
    return exact.limit_denominator(max(1, min(_FINEST_RATE, (2**31 - 1) // math.ceil(exact))))

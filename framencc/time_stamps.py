"""File names that are time stamps: seconds with a fraction, dates with a time of day, clock times and time codes.

Such names hold several numbers that change (`1305031102.900000.png`, `2026-11-30_15-55-09.png`), which together say
when the picture was taken. No other names of several numbers are taken for a time.
"""

import datetime
import re
from collections.abc import Callable, Sequence

_SECOND = 10**12  # times are counted in picoseconds, so that all of a fraction's digits fit into an integer
_DIGITS = 12


def read_time_stamps(stems: Sequence[str]) -> list[int] | None:
    """Return the time that each name says, in picoseconds from a common origin.

    Parameters
    ----------
    stems
        File names without their suffixes.

    Returns
    -------
    list of int or None
        None where not all are time stamps of one kind, or differ in more than the time.
    """
    for pattern, convert in _KINDS:
        matches = [pattern.search(stem) for stem in stems]
        found = [match for match in matches if match is not None]
        if len(found) < len(stems):
            continue
        if len({(match.string[: match.start()], match.string[match.end() :]) for match in found}) > 1:
            continue
        times = [convert(match) for match in found]
        whole = [time for time in times if time is not None]
        if len(whole) == len(times):
            return whole
    return None


def _fraction(digits: str | None) -> int:
    """Return the picoseconds of the digits behind a decimal point."""
    return int((digits or "0")[:_DIGITS].ljust(_DIGITS, "0"))


def _of_seconds(match: re.Match[str]) -> int:
    return int(match["s"]) * _SECOND + _fraction(match["f"])


def _of_one_number(match: re.Match[str]) -> int:
    digits = match["s"]
    return int(digits.ljust(_DIGITS + 10, "0"))


def _of_date(match: re.Match[str]) -> int | None:
    parts = [int(match[name]) for name in ("Y", "M", "D", "h", "m", "s")]
    try:
        moment = datetime.datetime(*parts, tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]
    except ValueError:  # there is no 30th of February
        return None
    return int((moment - datetime.datetime.min.replace(tzinfo=datetime.UTC)).total_seconds()) * _SECOND + _fraction(
        match["f"]
    )


def _of_clock(match: re.Match[str]) -> int:
    return _clock_seconds(match) * _SECOND + _fraction(match["f"])


def _of_time_code(match: re.Match[str]) -> int:
    return _clock_seconds(match) * _SECOND + int(match["f"])


def _clock_seconds(match: re.Match[str]) -> int:
    return (int(match["h"]) * 60 + int(match["m"])) * 60 + int(match["s"])


_KINDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], int | None]], ...] = (
    # 2026-11-30_15-55-09, 20261130T155509.25, 2026-11-30 at 15.55.09
    (
        re.compile(
            r"(?<!\d)(?P<Y>(?:19|20)\d\d)(?P<a>[-_.:]?)(?P<M>\d\d)(?P=a)(?P<D>\d\d)(?:[-_. ]{0,3}|[ _-]?T|[ _-]at[ _-])"
            r"(?P<h>[01]\d|2[0-3])(?P<b>[-_.:h]?)(?P<m>[0-5]\d)[-_.:m]?(?P<s>[0-5]\d)(?:s|[.,_-]?(?P<f>\d{1,12}))?(?!\d)"
        ),
        _of_date,
    ),
    # 1305031102.900000, and the seconds since a start with six or nine digits: 12.066667
    (re.compile(r"(?<![\d.])(?P<s>\d{9,11})\.(?P<f>\d{1,12})(?!\d)"), _of_seconds),
    (re.compile(r"(?<![\d.])(?P<s>\d{9,11})[-_](?P<f>\d{3}|\d{6}|\d{9})(?!\d)"), _of_seconds),
    (re.compile(r"(?<![\d.])(?P<s>\d{1,8})\.(?P<f>\d{6}|\d{9})(?!\d)"), _of_seconds),
    # Seconds, milliseconds, microseconds or nanoseconds since 1970 in one number
    *((re.compile(rf"(?<!\d)(?P<s>1\d{{{n}}})(?!\d)"), _of_one_number) for n in (9, 12, 15, 18)),
    # 00-01-02.345, 00h01m02s345
    (
        re.compile(
            r"(?<!\d)(?P<h>\d\d)(?P<b>[-_.:h])(?P<m>[0-5]\d)[-_.:m](?P<s>[0-5]\d)(?:[.,s](?P<f>\d{3}|\d{6}|\d{9}))(?!\d)"
        ),
        _of_clock,
    ),
    # 01-00-00-23
    (
        re.compile(
            r"(?<!\d)(?P<h>[01]\d|2[0-3])(?P<b>[-_.:])(?P<m>[0-5]\d)(?P=b)(?P<s>[0-5]\d)[-_.:;](?P<f>\d\d)(?!\d)"
        ),
        _of_time_code,
    ),
)

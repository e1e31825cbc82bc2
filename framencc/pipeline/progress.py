"""Progress bars: on stderr, and only where that is a terminal."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def open_bar(description: str, *, total: int | None, done: int = 0, shown: bool) -> "tqdm[Any] | None":
    """Open a progress bar over frames, or None where it is not wanted or nobody would see it.

    Parameters
    ----------
    description
        What is being done.
    total, done
        How many frames there are in all, where that is known, and how many are done already.
    shown
        Whether it is wanted.
    """
    # Without a console there is no stderr at all.
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        return None
    from tqdm import tqdm  # noqa: PLC0415  (wanted on terminals only)

    return tqdm(total=total, initial=done, unit="frame", file=sys.stderr, dynamic_ncols=True, desc=description)

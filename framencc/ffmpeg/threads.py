"""How many threads a codec may use."""

import os

# As many as ffmpeg chooses at most: each thread of a decoder holds frames of its own, and hundreds cannot be started.
_MOST = 16


def thread_options(threads: int | None) -> tuple[str, ...]:
    """Return the options of a decoder or an encoder that may use so many threads, as the kernels do, but at most 16.

    Unset: NUMBA_NUM_THREADS, or as many as ffmpeg chooses for itself, which depends on the cores. What a decoder and
    FFV1 write does not depend on it; what x264 writes does.
    """
    given = str(threads or os.environ.get("NUMBA_NUM_THREADS", "")).strip()
    return ("-threads", str(min(int(given), _MOST))) if given.isdecimal() and int(given) > 0 else ()

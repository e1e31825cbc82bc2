"""What the command settles for a process that is its own; a host process that calls `main` keeps its settings."""

import contextlib
import gc
import os

# Of malloc.h, and what they are set to.
_ONE_ARENA, _MMAP_THRESHOLD, _TRIM_THRESHOLD = (-8, 1), (-3, 32 << 20), (-1, 1 << 30)
_state = {"is_own": False}


def claim() -> None:
    """Settle how kernels use threads, before Numba is imported, and memory; what the user has set stays.

    The workqueue layer survives a fork, and its threads sleep between kernels. Threads of OpenMP, in whatever brings
    them, would otherwise spin on the cores that ffmpeg needs.
    """
    _state["is_own"] = True
    os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _keep_freed_memory()


def load_compiler() -> None:
    """Load the part of Numba that reads and compiles kernels, without what no kernel of ours uses."""
    if _state["is_own"]:
        from framencc.kernels import compilation  # noqa: PLC0415  (brings Numba)

        compilation.load_compiler()


def release() -> None:
    """Keep Python from searching all that was loaded for cycles when the process ends, 0.2 s after a run."""
    if _state["is_own"]:
        gc.freeze()


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed after a frame for the next one.

    It would give large arrays back at once, and get new pages, which the system clears first, for each frame.
    """
    import ctypes  # noqa: PLC0415  (slow)

    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for setting in (_ONE_ARENA, _MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(*setting)

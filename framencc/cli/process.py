"""What the command settles for a process that is its own; a host process that calls `main` keeps its settings."""

import contextlib
import gc
import os

# The user's variable, and the parameter and value for mallopt (malloc.h).
_MALLOC = (
    ("MALLOC_ARENA_MAX", -8, 1),
    ("MALLOC_MMAP_THRESHOLD_", -3, 32 << 20),
    ("MALLOC_TRIM_THRESHOLD_", -1, 1 << 30),
)
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
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):  # another C library
        import ctypes  # noqa: PLC0415  (slow)

        mallopt = ctypes.CDLL(None).mallopt
        for variable, parameter, value in _MALLOC:
            if variable not in os.environ:
                mallopt(parameter, value)

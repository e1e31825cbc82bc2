"""What the command settles for a process that is its own; a host process that calls `main` keeps its settings."""

import os

_state = {"is_own": False}


def claim() -> None:
    """Settle how kernels use threads, before Numba is imported; what the user has set stays.

    The workqueue layer survives a fork, and its threads sleep between kernels. Threads of OpenMP, in whatever brings
    them, would otherwise spin on the cores that ffmpeg needs.
    """
    _state["is_own"] = True
    os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def load_compiler() -> None:
    """Import the part of Numba that reads and compiles kernels, without what no kernel of ours uses."""
    if _state["is_own"]:
        from framencc.kernels.compilation import leave_out_linear_algebra  # noqa: PLC0415  (brings Numba)

        leave_out_linear_algebra()

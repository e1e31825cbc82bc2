"""How fast framencc is, beside its limits and beside what one would use instead: ``python -m benchmarks --help``.

The settings below hold for this process and its children, and must come before NumPy, Numba and OpenCV are imported.
Threads that spin after a parallel region would take time from whatever is measured next, so they wait passively. The
threading layer is the one that the command `framencc` chooses.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

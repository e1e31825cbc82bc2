"""The Numba kernels: bare loops over arrays, no I/O, no exceptions, no types of ours; inputs first, `out` last."""

import os

from framencc.errors import SpecError

# Numba itself fails at the one, and prints a traceback for the other.
_given = os.environ.get("NUMBA_NUM_THREADS")
if _given and not (_given.strip().isdecimal() and int(_given) > 0):
    raise SpecError(f"NUMBA_NUM_THREADS must be a whole number above 0, not {_given!r}; set another, or unset it")

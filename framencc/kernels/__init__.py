"""The Numba kernels: bare loops over arrays, no I/O, no exceptions, no types of ours; inputs first, `out` last."""

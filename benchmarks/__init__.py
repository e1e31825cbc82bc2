"""How fast framencc is, beside what one would use instead: ``python -m benchmarks.kernels``, ``.pipeline``."""

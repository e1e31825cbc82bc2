"""What the compiler of the kernels, and the libraries that look for themselves, find in this processor."""

import numba
from llvmlite import binding

# Of all features these have arithmetic of floats.
_ARITHMETIC = ("sse", "ssse", "avx", "fma", "f16c", "neon", "sve", "fp", "fullfp")


def host_features() -> list[str]:
    """Name the processor features by which code for floats is chosen."""
    return sorted(name for name, has in binding.get_host_cpu_features().items() if has and name.startswith(_ARITHMETIC))


def compiler_settings() -> list[str]:
    """Name what Numba has been told of the processor, and whether it uses Intel's library of vector functions."""
    settings = {"CPU": numba.config.CPU_NAME, "features": numba.config.CPU_FEATURES}
    found = [f"Numba {name} {value}" for name, value in settings.items() if value]
    return [*found, "SVML", *host_features()] if numba.config.USING_SVML else found

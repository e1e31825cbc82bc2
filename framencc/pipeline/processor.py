"""What of the processor decides the bits of a job's maps.

Integer correlation, its divisions and square roots have the same bits on every processor. The libraries that find warps
choose other code for other processors, and so do the exponential functions of NumPy and of the C library, and x264.
"""

import hashlib
import math

import numpy as np

from framencc.kernels.processor import compiler_settings, host_features
from framencc.spec import RunSpec
from framencc.warps.processor import warp_features

_N_EXPONENTS = 1 << 14


def deciding_features(spec: RunSpec) -> dict[str, list[str]]:
    """Name the processor features that decide bits of a job, by the option that makes them do so."""
    found: dict[str, list[str]] = {}
    if features := warp_features(spec.warp):
        found[f"warp.method = {spec.warp.method}"] = features
    exponents = [-place / 512 for place in range(_N_EXPONENTS)]
    if spec.warp.forward_backward == "weight":
        values = np.array([math.exp(one) for one in exponents])
        found["warp.forward_backward = weight"] = [f"exp {_name(values)}", *compiler_settings()]
    if spec.ncc.smooth_sigma:
        found["ncc.smooth_sigma"] = [f"NumPy's exp {_name(np.exp(exponents))}"]
    if lossy := [name for name in spec.outputs if spec.codec_of(name) == "h264"]:
        found[f"H.264 ({', '.join(lossy)})"] = host_features()
    return found


def _name(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    """Name a variant of a function by its results, which is all that counts of it."""
    return hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()[:8]

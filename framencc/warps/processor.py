"""What of the processor decides the bits of a warp: the libraries choose their code by what it can do."""

import re
from typing import Any

import numpy as np

from framencc.kernels.processor import host_features
from framencc.spec.warp import WarpSpec
from framencc.warps.opencv import import_cv2

_FROM_FILES = ("none", "field")


def warp_features(spec: WarpSpec) -> list[str]:
    """Name the processor features that are in use for finding warps; none where no library finds them."""
    if spec.method in _FROM_FILES:
        return []
    numpy_features = [f"NumPy {name}" for name in _numpy_features()]
    if spec.method == "translation":
        return [*numpy_features, *host_features()]  # SciPy and the matrix product look for themselves
    return [*_opencv_features(import_cv2(spec.method)), *numpy_features]


def _opencv_features(cv2: Any) -> list[str]:
    """Name what OpenCV uses now; OPENCV_CPU_DISABLE, OPENCV_IPP and cv2.setUseOptimized change that."""
    # Such as: SSE SSE2 SSE3 *SSE4.1 *AVX *AVX2?: a star marks code that is chosen at run time, a question mark what the
    # processor lacks, or may not use.
    words = str(cv2.getCPUFeaturesLine()).split()
    found = [word.lstrip("*") for word in words if not word.endswith("?")]
    if cv2.useOptimized() and cv2.ipp.useIPP():
        match = re.match(r"\S+ (\S+)", str(cv2.ipp.getIppVersion()))
        found.append(f"IPP {match[1]}" if match else "IPP")
    return found


def _numpy_features() -> list[str]:
    extensions = np.show_config(mode="dicts").get("SIMD Extensions")
    return [] if extensions is None else [*extensions["baseline"], *extensions["found"]]

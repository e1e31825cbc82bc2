"""One picture out of three: a weighted sum of planes, as luma is of red, green and blue, and those are of YUV."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def _mix_row(first, second, third, weights, maximum, out):
    # float64, so that 16-bit codes round as the formula does; halves go to the even neighbour, as in NumPy.
    a, b, c, offset = weights[0], weights[1], weights[2], weights[3]
    for x in range(out.size):
        value = a * np.float64(first[x]) + b * np.float64(second[x]) + c * np.float64(third[x]) + offset
        out[x] = np.int64(np.rint(min(max(value, 0.0), maximum)))


@kernel()
def mix_planes(first, second, third, weights, maximum, out):
    """Write the weighted sum of three planes, rounded and cut to 0 ... maximum, for every pixel.

    The planes are (H, W) uint8 or uint16, `weights` (4,) float64, the last of them an offset; `out` is (H, W) of the
    planes' dtype.
    """
    for y in range(out.shape[0]):
        _mix_row(first[y], second[y], third[y], weights, maximum, out[y])

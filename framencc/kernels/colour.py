"""One picture out of three: a weighted sum of planes, as luma is of red, green and blue, and those are of YUV."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def mix_planes(first, second, third, weights, maximum, out):
    """Write the weighted sum of three planes, rounded and cut to 0 ... maximum, for every pixel.

    The planes are (H, W) uint8 or uint16, `weights` (4,) float64, the last of them an offset; `out` is (H, W) of the
    planes' dtype. It is called by the thread that reads, beside the one that computes, so it takes no other threads.
    """
    # float64, so that 16-bit codes round as the formula does; halves go to the even neighbour, as in NumPy.
    a, b, c, offset = weights[0], weights[1], weights[2], weights[3]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            value = a * np.float64(first[y, x]) + b * np.float64(second[y, x]) + c * np.float64(third[y, x]) + offset
            out[y, x] = np.int64(np.rint(min(max(value, 0.0), maximum)))

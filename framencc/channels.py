"""One channel out of a colour picture.

A video's luma plane is read as it is. A colour picture has none, so luma is computed as JPEG files define theirs:
Y = 0.299 R + 0.587 G + 0.114 B on the stored (gamma-encoded) values, full range (ITU-R BT.601, T.871).
"""

import numpy as np

from framencc.frames import Picture

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
LUMA_MATRIX = "bt601"


def to_luma(picture: Picture) -> Picture:
    """Reduce a picture to its luma.

    Parameters
    ----------
    picture
        (H, W) or (H, W, C) with C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); uint8, uint16 or float32. Alpha is
        dropped.

    Returns
    -------
    numpy.ndarray
        (H, W) of the same dtype; integers are rounded to the nearest code. The input itself where it is 2-D.

    Raises
    ------
    ValueError
        When the shape is none of these.
    """
    if picture.ndim == 2:
        return picture
    if picture.ndim != 3 or not 1 <= picture.shape[2] <= 4:
        raise ValueError(f"a picture must be (H, W) or (H, W, 1 to 4), not {picture.shape}")
    if picture.shape[2] <= 2:
        return picture[:, :, 0]
    red, green, blue = (picture[:, :, channel].astype(np.float64) for channel in range(3))
    luma = LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue
    if picture.dtype.kind == "u":
        luma = np.rint(luma)
    result: Picture = luma.astype(picture.dtype)
    return result

"""What is taken out of a colour picture: its luma, one of its channels or all three, and its alpha as a mask.

Luma is Y = K_R R + K_G G + K_B B on the stored (gamma-encoded) values, with the weights of ITU-R BT.601 (which JPEG
files use, T.871), BT.709 or BT.2020. A video stores Y'CbCr; red, green and blue are computed from it by the inverse of
the same equations (BT.601-7 section 2.5, BT.709-6 section 3, BT.2020-2 table 4, non-constant luminance).
"""

import numpy as np
import numpy.typing as npt

from framencc.frames import Picture, Use
from framencc.spec.ncc import Channel

LUMA_WEIGHTS = {
    "bt601": (0.299, 0.587, 0.114),
    "bt709": (0.2126, 0.7152, 0.0722),
    "bt2020": (0.2627, 0.6780, 0.0593),
}
DEFAULT_MATRIX = "bt601"
COLOURS: tuple[Channel, ...] = ("red", "green", "blue")


def to_luma(picture: Picture, matrix: str = DEFAULT_MATRIX) -> Picture:
    """Reduce a picture to its luma.

    Parameters
    ----------
    picture
        (H, W) or (H, W, C) with C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); uint8, uint16 or float32. Alpha is
        dropped.
    matrix
        Whose weights: ``bt601``, ``bt709`` or ``bt2020``.

    Returns
    -------
    numpy.ndarray
        (H, W) of the same dtype; integers are rounded to the nearest code. The input itself where it is 2-D.

    Raises
    ------
    ValueError
        When the shape is none of these.
    """
    if n_colours(picture) == 1:
        return picture if picture.ndim == 2 else picture[:, :, 0]
    weights = LUMA_WEIGHTS[matrix]
    if picture.dtype in (np.uint8, np.uint16):
        from framencc.kernels.colour import mix_planes  # noqa: PLC0415  (Numba is slow to import)

        luma: Picture = np.empty(picture.shape[:2], picture.dtype)
        mix_planes(*_split(picture[:, :, :3]), np.array([*weights, 0.0]), float(np.iinfo(picture.dtype).max), luma)
        return luma
    red, green, blue = (picture[:, :, channel].astype(np.float64) for channel in range(3))
    with np.errstate(invalid="ignore", over="ignore"):  # infinity beside its negative is NaN, and neither is a value
        return (weights[0] * red + weights[1] * green + weights[2] * blue).astype(picture.dtype)


def n_colours(picture: Picture) -> int:
    """Return 1 for a gray picture and 3 for one in colour, whatever alpha it has.

    Raises
    ------
    ValueError
        When it is neither (H, W) nor (H, W, 1 to 4).
    """
    if picture.ndim == 2:
        return 1
    if picture.ndim != 3 or not 1 <= picture.shape[2] <= 4:
        raise ValueError(f"a picture must be (H, W) or (H, W, 1 to 4), not {picture.shape}")
    return 1 if picture.shape[2] <= 2 else 3


def take_channel(picture: Picture, channel: Channel, matrix: str = DEFAULT_MATRIX) -> Picture:
    """Take what is compared out of a picture.

    Parameters
    ----------
    picture
        As for `to_luma`.
    channel
        ``joint`` of a gray picture is its luma.
    matrix
        The weights of luma.

    Returns
    -------
    numpy.ndarray
        (H, W), or for ``joint`` of a colour picture (3, H, W): red, green, blue.

    Raises
    ------
    ValueError
        When the shape is no picture's, or a gray picture is asked for a colour.
    """
    colours = n_colours(picture)
    if channel in COLOURS:
        if colours == 1:
            raise ValueError(f"is gray, so channel = {channel} cannot be taken from it")
        return picture[:, :, COLOURS.index(channel)]
    if channel == "joint" and colours == 3:
        return _split(picture[:, :, :3])
    return to_luma(picture, matrix)


def has_alpha(picture: Picture) -> bool:
    """Whether a picture is (H, W, 2) or (H, W, 4)."""
    return picture.ndim == 3 and picture.shape[2] in (2, 4)


def take_alpha(picture: Picture) -> Use:
    """Say which pixels are not wholly transparent, as (H, W) bool.

    Raises
    ------
    ValueError
        When the picture has no alpha channel.
    """
    if not has_alpha(picture):
        raise ValueError("has no alpha channel, so alpha cannot mask it")
    visible: Use = picture[:, :, -1] > 0
    return visible


def rgb_weights(matrix: str, *, limited: bool, bits: int) -> npt.NDArray[np.float64]:
    """Return how red, green and blue codes follow from Y, Cb and Cr codes.

    Parameters
    ----------
    matrix
        ``bt601``, ``bt709`` or ``bt2020``.
    limited
        Whether the YUV codes are of limited range (8 bits: 16 to 235, chroma 16 to 240); RGB is always of full range.
    bits
        Bits of a code, of both.

    Returns
    -------
    numpy.ndarray
        (3, 4) float64: for red, green and blue the weights of Y, Cb and Cr, and an offset.
    """
    k_red, k_green, k_blue = LUMA_WEIGHTS[matrix]
    maximum, unit, middle = float(2**bits - 1), float(2 ** (bits - 8)), float(2 ** (bits - 1))
    black, luma_gain, chroma_gain = 0.0, 1.0, 1.0
    if limited:
        black, luma_gain, chroma_gain = 16 * unit, maximum / (219 * unit), maximum / (224 * unit)
    chroma_to_red, chroma_to_blue = 2 * (1 - k_red) * chroma_gain, 2 * (1 - k_blue) * chroma_gain
    weights = np.array(
        [
            [luma_gain, 0.0, chroma_to_red, 0.0],
            [luma_gain, -k_blue / k_green * chroma_to_blue, -k_red / k_green * chroma_to_red, 0.0],
            [luma_gain, chroma_to_blue, 0.0, 0.0],
        ]
    )
    weights[:, 3] = -weights[:, 0] * black - (weights[:, 1] + weights[:, 2]) * middle
    return weights


def _split(picture: Picture) -> Picture:
    """Return (C, H, W) planes of an (H, W, C) picture."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1))

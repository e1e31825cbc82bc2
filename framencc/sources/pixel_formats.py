"""How the samples of each of ffmpeg's pixel formats are fetched without any conversion of their values."""

import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

_SUFFIX = "le" if sys.byteorder == "little" else "be"

_LUMA = re.compile(r"(yuv|nv\d\d|p[024]1\d|y21\d|xv\d\d|v30x|ayuv|vuy|vyu|uyv|uyyv|yvyu|yuyv|gray|ya\d)")
_GRAY = re.compile(r"(gray|ya\d)")
# Not of ya8 and ya16, whose alpha ffmpeg 9 does not hand over unchanged.
_YUV_ALPHA = re.compile(r"(yuva|ayuv|vuya|uyva)")
_MONOCHROME = re.compile(r"mono[bw]$")
_COLOUR = re.compile(r"(gbr|0?rgb|0?bgr|argb|abgr|x2rgb|x2bgr|pal8$)")
_ALPHA = re.compile(r"(gbrap|rgba|bgra|argb|abgr|pal8$)")
# No float and no 32-bit samples: ffmpeg converts those in silence when asked for 16 bits.
_UNSUPPORTED = re.compile(r"(f16|f32|gray32|gbrap32|rgb96|rgba128)")

# Chroma is spread to every pixel and the codes stay as they are: both ranges are called full, so that neither luma nor
# chroma is stretched (to 16-bit RGB, ffmpeg's own conversion of limited range is off by 254 codes).
_SPREAD_CHROMA = "scale=in_range=full:out_range=full:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

# 8 bits unless the name says more; in some names the number is that of the whole pixel.
_DEPTH = re.compile(r"(?:yuva?4\d\dp|gray|gbra?p|x2rgb|x2bgr|p[024]|y2)(9|1[0246])(?:msb)?(?:[lb]e)?$")
_PIXEL_DEPTH = re.compile(r"(nv20|xv30|v30x|xv36|xv48|ayuv64|ya16|rgb48|bgr48|rgba64|bgra64)")
_PIXEL_DEPTHS = {"nv20": 10, "xv30": 10, "v30x": 10, "xv36": 12}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a child is asked for, and what it then writes for one frame.

    Parameters
    ----------
    bits
        Significant bits of a sample.
    planes
        A letter for each plane in the order of the pipe: ``y``, ``yuv``, ``yuva``, ``gbr`` or ``gbra``.
    filter
        ffmpeg's video filter, or None.
    output_format
        The pixel format in which the samples pass through the pipe.
    is_gray
        Whether the video has no colour.
    """

    bits: int
    planes: str
    filter: str | None
    output_format: str
    is_gray: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one sample."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


def find_layout(pixel_format: str, *, colours: bool = False, alpha: bool = False) -> Layout | None:
    """Return how to fetch the samples of a pixel format.

    Parameters
    ----------
    pixel_format
        ffmpeg's name of it.
    colours
        Whether more than the luma is wanted, where there is more.
    alpha
        Whether alpha is wanted, where there is any.

    Returns
    -------
    Layout or None
        None where its samples cannot be had unchanged.
    """
    if _UNSUPPORTED.search(pixel_format):
        return None
    bits = _depth(pixel_format)
    depth = "" if bits == 8 else f"{bits}{_SUFFIX}"
    if _MONOCHROME.match(pixel_format):
        # extractplanes turns these black; the plain conversion to 0 and 255 is exact.
        return Layout(8, "y", None, "gray", is_gray=True)
    if _LUMA.match(pixel_format):
        is_gray = _GRAY.match(pixel_format) is not None
        has_alpha = alpha and _YUV_ALPHA.match(pixel_format) is not None
        if is_gray or not (colours or has_alpha):
            # Not `-pix_fmt gray` alone: that stretches limited-range luma and clips it.
            return Layout(bits, "y", "extractplanes=y", f"gray{depth}", is_gray)
        planes = "yuva" if has_alpha else "yuv"
        return Layout(bits, planes, _SPREAD_CHROMA, f"{planes}444p{depth}")
    if _COLOUR.match(pixel_format):
        # Dropping alpha is our work: ffmpeg changes the colours when gbrap10 becomes gbrp10.
        has_alpha = _ALPHA.match(pixel_format) is not None
        return Layout(bits, "gbra" if has_alpha else "gbr", None, f"gbr{'a' if has_alpha else ''}p{depth}")
    return None


def _depth(pixel_format: str) -> int:
    if match := _DEPTH.match(pixel_format):
        return int(match[1])
    if match := _PIXEL_DEPTH.match(pixel_format):
        return _PIXEL_DEPTHS.get(match[1], 16)
    return 8

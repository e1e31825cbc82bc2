"""How the samples of each of ffmpeg's pixel formats are fetched without any conversion of their values."""

import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from framencc.channels import to_luma
from framencc.frames import Picture

_SUFFIX = "le" if sys.byteorder == "little" else "be"

_LUMA = re.compile(r"(yuv|nv\d\d|p[024]1\d|y21\d|xv\d\d|v30x|ayuv|vuy|vyu|uyv|uyyv|yvyu|yuyv|gray|ya\d)")
_MONOCHROME = re.compile(r"mono[bw]$")
_COLOUR = re.compile(r"(gbr|0?rgb|0?bgr|argb|abgr|x2rgb|x2bgr|pal8$)")
_ALPHA = re.compile(r"(gbrap|rgba|bgra|argb|abgr|pal8$)")
# No float and no 32-bit samples: ffmpeg converts those in silence when asked for 16 bits.
_UNSUPPORTED = re.compile(r"(f16|f32|gray32|gbrap32|rgb96|rgba128)")

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
        1: luma; 3 or 4: green, blue, red (and alpha).
    filter
        ffmpeg's video filter, or None.
    output_format
        The pixel format in which the samples pass through the pipe.
    """

    bits: int
    planes: int
    filter: str | None
    output_format: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one sample."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def luma_origin(self) -> str:
        """Where the luma comes from, in words."""
        return "the stored luma plane" if self.planes == 1 else "computed from RGB (BT.601, full range)"


def find_layout(pixel_format: str) -> Layout | None:
    """Return how to fetch the luma of a pixel format, or None where its samples cannot be had unchanged."""
    if _UNSUPPORTED.search(pixel_format):
        return None
    bits = _depth(pixel_format)
    depth = "" if bits == 8 else f"{bits}{_SUFFIX}"
    if _MONOCHROME.match(pixel_format):
        # extractplanes turns these black; the plain conversion to 0 and 255 is exact.
        return Layout(8, 1, None, "gray")
    if _LUMA.match(pixel_format):
        # Not `-pix_fmt gray` alone: that stretches limited-range luma and clips it.
        return Layout(bits, 1, "extractplanes=y", f"gray{depth}")
    if _COLOUR.match(pixel_format):
        # Dropping alpha is our work: ffmpeg changes the colours when gbrap10 becomes gbrp10.
        alpha = _ALPHA.match(pixel_format) is not None
        return Layout(bits, 4 if alpha else 3, None, f"gbr{'a' if alpha else ''}p{depth}")
    return None


def planes_to_luma(planes: Picture) -> Picture:
    """Compute luma from (3 or 4, H, W) planes in ffmpeg's order green, blue, red (, alpha)."""
    return to_luma(np.moveaxis(planes[[2, 0, 1]], 0, 2))


def _depth(pixel_format: str) -> int:
    if match := _DEPTH.match(pixel_format):
        return int(match[1])
    if match := _PIXEL_DEPTH.match(pixel_format):
        return _PIXEL_DEPTHS.get(match[1], 16)
    return 8

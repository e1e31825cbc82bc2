"""From the planes that a decoder writes to what is wanted of a frame."""

import numpy as np

from framencc.channels import COLOURS, LUMA_WEIGHTS, rgb_weights
from framencc.frames import Conversion, Picture, Use
from framencc.sources.pixel_formats import Layout
from framencc.sources.wanted import WantedChannels, WantedMask, refuse_transparency


class ChannelPlanes:
    """Fills a frame's channels.

    Parameters
    ----------
    layout
        What the decoder writes.
    wanted
        What to make of it.
    matrix
        ``bt601``, ``bt709`` or ``bt2020``: whose weights serve where something has to be computed.
    limited
        Whether YUV codes are of limited range.
    alpha_loss
        By how many codes alpha that is stored with loss may be off; so much is still wholly transparent.

    Raises
    ------
    ValueError
        When the video does not have it; the text reads on from the video's name.
    """

    def __init__(
        self, layout: Layout, wanted: WantedChannels, matrix: str, *, limited: bool, alpha_loss: int = 0
    ) -> None:
        if wanted.alpha and "a" not in layout.planes:
            raise ValueError("has no alpha channel that can be read, so ncc.alpha cannot mask it")
        if wanted.channel in COLOURS and layout.is_gray:
            raise ValueError(f"is gray, so ncc.channel = {wanted.channel} cannot be taken from it")
        self.dtype = layout.dtype
        self.has_alpha = wanted.alpha
        self._alpha_loss = alpha_loss
        self.conversion: Conversion | None = None
        self._maximum = float(2**layout.bits - 1)
        is_rgb = layout.planes.startswith("gbr")
        # The planes that are mixed, red before green before blue, and the weights of each channel.
        self._order = (2, 0, 1) if is_rgb else (0, 1, 2)
        if wanted.channel == "luma" or layout.is_gray:
            luma = (*LUMA_WEIGHTS[matrix], 0.0) if is_rgb else (1.0, 0.0, 0.0, 0.0)
            self._weights = np.array([luma])
            self.conversion = Conversion("luma from RGB", matrix) if is_rgb else None
            return
        chosen = slice(None) if wanted.channel == "joint" else [COLOURS.index(wanted.channel)]
        if not is_rgb:
            self.conversion = Conversion("RGB from YUV", matrix, "limited" if limited else "full")
        weights = np.eye(3, 4) if is_rgb else rgb_weights(matrix, limited=limited, bits=layout.bits)
        self._weights = weights[chosen]

    @property
    def n_channels(self) -> int:
        """How many channels a frame gets."""
        return len(self._weights)

    def fill(self, raw: Picture, data: Picture, use: Use | None) -> None:
        """Fill `data`, (H, W) or (3, H, W), and with alpha `use`, (H, W) bool, from the (P, H, W) planes of a frame."""
        for weights, out in zip(self._weights, data if data.ndim == 3 else data[np.newaxis], strict=True):
            stored = np.flatnonzero(weights)
            if len(stored) == 1 and weights[stored[0]] == 1.0:
                np.copyto(out, raw[self._order[stored[0]]])
            else:
                from framencc.kernels.colour import mix_planes  # noqa: PLC0415  (Numba is slow to import)

                mix_planes(*(raw[plane] for plane in self._order), weights, self._maximum, out)
        if use is not None:
            np.greater(raw[-1], self._alpha_loss, out=use)


class MaskPlanes:
    """Fills a mask's frame: uint8, 1 for the pixels that are used.

    Parameters
    ----------
    layout, limited, alpha_loss
        As of `ChannelPlanes`.
    wanted
        Which pixels are used.

    Raises
    ------
    ValueError
        When the video cannot hold such a mask; the text reads on from the video's name.
    """

    n_channels = 1
    dtype = np.dtype(np.uint8)
    has_alpha = False
    conversion: Conversion | None = None

    def __init__(self, layout: Layout, wanted: WantedMask, *, limited: bool, alpha_loss: int = 0) -> None:
        if wanted.labels is not None and not layout.is_gray:
            raise ValueError("stores no labels as such, so ncc.mask_labels cannot choose any; use a gray FFV1 video")
        self._layout = layout
        self._alpha_loss = alpha_loss
        self._wanted = wanted
        # Black, of limited range, is not 0.
        self._black = 16 << (layout.bits - 8) if limited and layout.planes.startswith("y") else 0

    def fill(self, raw: Picture, data: Picture, use: Use | None) -> None:  # noqa: ARG002  (a mask has none)
        """Fill `data`, (H, W), from the (P, H, W) planes of a frame.

        Raises
        ------
        ValueError
            When the mask is partly transparent; the text reads on from its name.
        """
        if "a" in self._layout.planes:
            refuse_transparency(raw[-1], self._alpha_loss)
        if self._wanted.labels is not None:
            np.copyto(data, self._wanted.choose(raw[0]))
        elif self._layout.planes.startswith("gbr"):
            np.copyto(data, (raw[:3] > 0).any(axis=0))
        else:
            np.greater(raw[0], self._black, out=data.view(np.bool_))

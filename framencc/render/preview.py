"""A frame's map as a picture for people: gray, heat, overlay or panel, with its number, time and a scale."""

import numpy as np

from framencc.channels import DEFAULT_MATRIX, LUMA_WEIGHTS
from framencc.engine import DAMAGED, NO_WARP
from framencc.frames import Picture, frozen
from framencc.kernels.preview import paint_rows, reduce_map_rows, shade_rows, tint_rows
from framencc.kernels.threads import default_threads, share_rows
from framencc.render.colours import GRAY, HEAT, doubt, over_gray
from framencc.render.layout import INK, PAPER, PreviewLayout
from framencc.render.text import Writer
from framencc.sampling import area_mean
from framencc.shades import Shades
from framencc.spec import PreviewStyle

_NOTHING = {int(DAMAGED): "no frame", int(NO_WARP): "no warp"}
"""What there is to say of a map all of whose pixels have this validity code: nothing of its frame can be shown."""


class Preview:
    """Draws one picture for each frame.

    Parameters
    ----------
    style
        ``gray``: the confidence, black for none and white for full; ``heat``: the same in colours; ``overlay``: the
        frame, tinted where it is not to be believed; ``panel``: reference, frame and confidence.
    layout
        Where everything stands.
    reference
        (H, W) or (3, H, W): the static picture.
    static, dynamic
        What is black and white in it, and in the frames.
    strength
        Of the overlay, 0 to 1.
    threads
        Kernel threads; all cores if omitted. The pictures do not depend on it.
    """

    def __init__(
        self,
        style: PreviewStyle,
        layout: PreviewLayout,
        reference: Picture,
        *,
        static: Shades,
        dynamic: Shades,
        strength: float,
        threads: int | None = None,
    ) -> None:
        self._style = style
        self._layout = layout
        self._dynamic = dynamic
        self._threads = threads or default_threads()
        self._tint = doubt(strength)
        self._palette = {"heat": HEAT, "overlay": over_gray(self._tint)}.get(style, GRAY)
        self._writer = Writer(layout.size, INK, PAPER)
        self._codes = np.empty(layout.shape, np.uint16)
        self._shades = np.empty(layout.shape, np.uint16)
        self._small = np.empty(layout.shape, np.float32)
        self._empty = layout.empty(self._palette)
        if style == "panel":
            self._shade(reference if reference.ndim == 3 else reference[np.newaxis], static)
            self._paint(self._shades, 0, self._empty)
        self._struck: dict[int, Picture] = {}
        for code, why in _NOTHING.items():
            self._struck[code] = self._empty.copy()
            layout.strike(self._struck[code], range(len(layout.places))[-2:], why)

    def draw(
        self,
        planes: Picture,
        rho: Picture,
        validity: Picture,
        *,
        index: int,
        pts_seconds: float,
        mean: float | None,
        out: Picture,
    ) -> None:
        """Draw a frame.

        Parameters
        ----------
        planes
            (C, H, W): the frame that was correlated.
        rho, validity
            (H, W) float32 and uint8: its map.
        index, pts_seconds
            Its number and time.
        mean
            Mean confidence, None where nothing was measured.
        out
            (H, W, 3) uint8 of the layout's size; all of it is written.
        """
        code = int(validity[0, 0])
        struck = code in _NOTHING and bool((validity == code).all())
        np.copyto(out, self._struck[code] if struck else self._empty)
        if not struck:
            self._draw_pictures(planes, rho, validity, out)
        layout = self._layout
        problem = _NOTHING[code] if struck else "nothing measured"
        lines = (f"frame {index}   {pts_seconds:.3f} s", problem if mean is None else f"mean {mean:.3f}")
        for number, line in enumerate(lines):
            self._writer.write(out, line, layout.margin, layout.footer + number * layout.line, layout.text_width)

    def _draw_pictures(self, planes: Picture, rho: Picture, validity: Picture, out: Picture) -> None:
        rows, codes = self._layout.shape[0], self._codes
        given = frozen(rho), frozen(validity)
        share_rows(lambda y0, y1: reduce_map_rows(*given, y0, y1, codes), rows, self._threads)
        if self._style in ("overlay", "panel"):
            self._shade(planes, self._dynamic)
        if self._style == "overlay":
            tint, place, zoom = self._tint, self._layout.places[0], self._layout.zoom
            share_rows(
                lambda y0, y1: tint_rows(self._shades, codes, tint, place, zoom, y0, y1, out), rows, self._threads
            )
            return
        if self._style == "panel":
            self._paint(self._shades, -2, out)
        self._paint(codes, -1, out)

    def _shade(self, planes: Picture, shades: Shades) -> None:
        """Fill the shades of gray, 0 to 255, of a smaller frame."""
        weights = LUMA_WEIGHTS[DEFAULT_MATRIX] if len(planes) == 3 else (1.0,)
        total = self._small
        area_mean(planes, total, self._threads, weights=weights)
        black, gain = np.float32(shades.black), np.float32(255 / (shades.white - shades.black))
        shade_rows(total, black, gain, 0, len(total), self._shades)

    def _paint(self, codes: Picture, number: int, canvas: Picture) -> None:
        palette, place, zoom = self._palette, self._layout.places[number], self._layout.zoom
        share_rows(
            lambda y0, y1: paint_rows(codes, palette, place, zoom, y0, y1, canvas),
            self._layout.shape[0],
            self._threads,
        )

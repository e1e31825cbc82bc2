"""A frame's map as a picture for people: gray, heat, overlay or panel, with its number, time and a scale."""

import numpy as np

from framencc.channels import DEFAULT_MATRIX, LUMA_WEIGHTS
from framencc.engine import DAMAGED, NO_WARP
from framencc.frames import Picture, frozen
from framencc.kernels.launch import count_bands, default_threads, launch
from framencc.kernels.preview import draw_frame, draw_map
from framencc.render.colours import GRAY, HEAT, doubt, opaque, over_gray
from framencc.render.layout import INK, PAPER, PreviewLayout
from framencc.render.text import Writer
from framencc.shades import Shades
from framencc.spec import PreviewStyle

_GRAY = opaque(GRAY)
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
        tint = doubt(strength)
        palette = {"heat": HEAT, "overlay": over_gray(tint)}.get(style, GRAY)
        self._tint = tint if style == "overlay" else opaque(palette)
        self._writer = Writer(layout.size, INK, PAPER)
        self._n_bands = count_bands(layout.shape[0], self._threads)
        self._shades = np.empty(layout.shape, np.uint16)
        self._empty = layout.empty(palette)
        if style == "panel":
            self._draw_frame(reference if reference.ndim == 3 else reference[np.newaxis], static, 0, self._empty)
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
        layout = self._layout
        if self._style in ("overlay", "panel"):
            self._draw_frame(planes, self._dynamic, -2, out)
        shades = self._shades if self._style == "overlay" else self._shades[:0]
        where = layout.places[-1], layout.zoom, layout.shape, self._n_bands, out
        launch(draw_map, self._threads, frozen(rho), frozen(validity), shades, self._tint, *where)

    def _draw_frame(self, planes: Picture, shades: Shades, number: int, canvas: Picture) -> None:
        """Shade a frame; in a panel, draw it as well."""
        layout, is_panel = self._layout, self._style == "panel"
        weights = np.array(LUMA_WEIGHTS[DEFAULT_MATRIX] if len(planes) == 3 else (1.0,), np.float32)
        levels = np.float32(shades.black), np.float32(255 / (shades.white - shades.black))
        where = (layout.places[number], layout.zoom) if is_panel else ((0, 0), 0)
        small = np.empty(layout.shape, np.float32)
        outputs = self._n_bands, small, self._shades, canvas
        launch(draw_frame, self._threads, frozen(planes), weights, *levels, _GRAY, *where, *outputs)

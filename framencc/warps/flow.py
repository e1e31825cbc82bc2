"""Method ``flow``: dense optical flow by inverse search.

Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, as OpenCV has it. It
assumes that a point keeps its brightness, so it looks at locally normalised pictures.
"""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import WarpError
from framencc.frames import Frame, Picture
from framencc.spec.warp import WarpSpec
from framencc.warps.base import LOST, Field, Warp, WarpMethod, field_statistics
from framencc.warps.opencv import Levels, import_cv2, opencv_threads, to_eight_bits
from framencc.warps.views import View, require_texture

Grays = npt.NDArray[np.uint8]

_MOSTLY = 0.5


class FlowMethod(WarpMethod):
    """Finds a displacement for every pixel.

    Parameters
    ----------
    spec
        The options.
    view
        What of a picture is looked at. Pixels outside have no displacement (NaN).
    reference
        (H, W) or (3, H, W) reference.
    levels
        The values of black and white in the reference and in frames; None for floats.
    """

    def __init__(
        self, spec: WarpSpec, view: View, reference: Picture, levels: tuple[Levels | None, Levels | None]
    ) -> None:
        self._cv2 = import_cv2(spec.method)
        self._spec = spec
        self._view = view
        if None in levels:  # a point keeps its brightness only if both are scaled by the same rule
            levels = None, None
        self._levels = levels[1]
        preset = {
            "ultrafast": self._cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": self._cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }[spec.preset]
        # The way there of a frame is looked for beside the way back of the frame before. A search that has once begun
        # with a flow finds another one without than a search that never has; a new one each time costs page faults.
        self._searches = {
            (way, warm): self._cv2.DISOpticalFlow_create(preset) for way in ("there", "back") for warm in (False, True)
        }
        self._reference = self._prepare(reference, levels[0], "reference")
        self._back: Field = np.empty((*view.shape, 2), np.float32)

    def limited(self, threads: int | None) -> contextlib.AbstractContextManager[None]:
        """Limit OpenCV to half of the threads; see `WarpMethod.limited`.

        The search scales badly, and its threads wait for each other in a busy loop, which takes time from decoding,
        correlating and encoding; two searches side by side with half of the threads each take less. The result does not
        depend on them.
        """
        return opencv_threads(self._cv2, max(1, (threads or self._cv2.getNumThreads()) // 2))

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:
        """Find the flow, beginning with that of the previous frame; see `WarpMethod.estimate`."""
        picture = self._prepare(frame.data, self._levels, "frame")
        start = None
        if previous is not None and previous.displacement_field is not None:
            start = self._to_view(previous.displacement_field)
        forward = self._flow("there", self._reference, picture, None if start is None else start.copy())
        warp = Warp(displacement_field=self._enlarge(self._view.scale_field(forward)))
        return replace(warp, rest=lambda: self._close(warp, forward, picture, start is not None))

    def _close(self, warp: Warp, forward: Field, picture: Grays, warm: bool) -> Warp:
        """Find the way back, and describe the flow."""
        assert warp.displacement_field is not None
        limit, threads = self._spec.forward_backward_limit, self._view.threads
        if self._spec.forward_backward == "off":
            return replace(warp, report=field_statistics(warp.displacement_field, threads), rest=None)
        # The way back begins with the way there, turned round: nearly right where the flow is smooth.
        start = np.negative(forward, out=self._back) if warm else None
        backward = self._flow("back", picture, self._reference, start)
        distance: Field = np.empty(self._view.shape, np.float32)
        if forward is warp.displacement_field:
            report = field_statistics(forward, threads, distance, limit, backward=backward)
        else:
            distance = self._enlarged_distance(forward, backward, distance)
            report = field_statistics(warp.displacement_field, threads, distance, limit)
        return replace(warp, forward_backward=distance, report=report, rest=None)

    def _flow(self, way: str, reference: Grays, frame: Grays, start: Field | None) -> Field:
        """Return the flow from the reference to the frame; `start` is where it begins, and what it is written to."""
        try:
            flow: Field = self._searches[way, start is not None].calc(reference, frame, start)
        except self._cv2.error as error:
            raise WarpError(f"OpenCV found no flow: {' '.join(str(error).split())}") from None
        return flow

    def _prepare(self, picture: Picture, levels: Levels | None, name: str) -> Grays:
        gray = self._view.gray(picture)
        require_texture(gray, name)
        return to_eight_bits(self._cv2, gray, self._spec.normalisation_sigma, levels, self._view.threads)

    def _to_view(self, field: Field) -> Field:
        """Return a field of the whole picture in pixels of the view."""
        if self._view.shape == field.shape[:2]:
            return field
        part = np.ascontiguousarray(np.moveaxis(self._view.crop(np.moveaxis(field, 2, 0)), 0, 2))
        height, width = self._view.shape
        small = self._cv2.resize(part, (width, height), interpolation=self._cv2.INTER_AREA)
        unit = self._view.scale_field(np.ones((1, 1, 2), np.float32))
        result: Field = (small / unit).astype(np.float32)
        return result

    def _enlarged_distance(self, forward: Field, backward: Field, distance: Field) -> Field:
        """Return |f(x) + b(x + f(x))| in picture pixels, on the picture's own grid; `LOST` beyond the view."""
        # What is lost must not bleed into its neighbours where the distances are enlarged.
        options: Any = {"backward": backward, "scale": self._view.scale, "beyond": -1.0}
        field_statistics(forward, self._view.threads, distance, **options)
        lost = np.signbit(distance).astype(np.float32)
        large = self._enlarge(np.abs(distance, out=distance))
        large[self._enlarge(lost) > _MOSTLY] = LOST
        return large

    def _enlarge(self, small: Field) -> Field:
        """Bring what was found in the view to the picture's own grid, NaN where the view did not look."""
        (top, bottom), (left, right) = self._view.rows, self._view.columns
        large = small
        if not self._view.is_full_size:
            large = self._cv2.resize(small, (right - left, bottom - top), interpolation=self._cv2.INTER_LINEAR)
        if self._view.full_shape == large.shape[:2]:
            return large
        whole: Field = np.full((*self._view.full_shape, *small.shape[2:]), np.nan, np.float32)
        whole[top:bottom, left:right] = large
        return whole

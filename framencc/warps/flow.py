"""Method ``flow``: dense optical flow by inverse search.

Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, as OpenCV has it. It
assumes that a point keeps its brightness, so it looks at locally normalised pictures.
"""

import contextlib

import numpy as np
import numpy.typing as npt

from framencc.errors import WarpError
from framencc.frames import Frame, Picture
from framencc.sampling import Sampler
from framencc.spec.warp import WarpSpec
from framencc.warps.base import LOST, Field, Warp, WarpMethod, field_statistics
from framencc.warps.opencv import Levels, import_cv2, opencv_threads, to_eight_bits
from framencc.warps.views import View, require_texture

Grays = npt.NDArray[np.uint8]

_BEYOND = np.float32(0.5)


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
        # A search that has once begun with a flow finds another one without than a search that never has.
        self._cold, self._warm = (self._cv2.DISOpticalFlow_create(preset) for _ in range(2))
        self._reference = self._prepare(reference, levels[0], "reference")

    def limited(self, threads: int | None) -> contextlib.AbstractContextManager[None]:
        """Limit OpenCV to half of the threads; see `WarpMethod.limited`.

        The search scales badly, and its threads wait for each other in a busy loop, which takes time from decoding,
        correlating and encoding: on two cores 1.6 times the CPU time. The result does not depend on them.
        """
        return opencv_threads(self._cv2, max(1, (threads or self._cv2.getNumThreads()) // 2))

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:
        """Find the flow, beginning with that of the previous frame; see `WarpMethod.estimate`."""
        picture = self._prepare(frame.data, self._levels, "frame")
        start = None
        if previous is not None and previous.displacement_field is not None:
            start = self._to_view(previous.displacement_field)
        forward = self._flow(self._reference, picture, start)
        distance: Field | None = None
        if self._spec.forward_backward != "off":
            # The way back begins with the way there, turned round: nearly right where the flow is smooth.
            backward = self._flow(picture, self._reference, None if start is None else -forward)
            distance = self._enlarge_distance(*_there_and_back(forward, backward, self._view))
        field = self._enlarge(self._view.scale_field(forward))
        return Warp(displacement_field=field, forward_backward=distance, report=self._report(field, distance))

    def _flow(self, reference: Grays, frame: Grays, start: Field | None) -> Field:
        search, given = (self._cold, None) if start is None else (self._warm, start.copy())
        try:
            flow: Field = search.calc(reference, frame, given)
        except self._cv2.error as error:
            raise WarpError(f"OpenCV found no flow: {' '.join(str(error).split())}") from None
        return flow

    def _prepare(self, picture: Picture, levels: Levels | None, name: str) -> Grays:
        gray = self._view.gray(picture)
        require_texture(gray, name)
        return to_eight_bits(self._cv2, gray, self._spec.normalisation_sigma, levels, self._view.threads)

    def _report(self, field: Field, distance: Field | None) -> dict[str, float | None]:
        report: dict[str, float | None] = {**field_statistics(field, self._view.threads)}
        if distance is not None:
            part = self._view.crop(distance)
            median = float(np.median(part))
            report["median_forward_backward"] = median if median < LOST else None
            report["share_failing_check"] = float(np.mean(part > self._spec.forward_backward_limit))
        return report

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

    def _enlarge_distance(self, distance: Field, lost: npt.NDArray[np.bool_]) -> Field:
        """Bring distances to the picture's own grid; what is lost must not bleed into its neighbours."""
        large = self._enlarge(distance)
        where = self._enlarge(lost.astype(np.float32)) > 0.5
        large[where] = LOST
        return large

    def _enlarge(self, small: Field) -> Field:
        """Bring what was found in the view to the picture's own grid, NaN where the view did not look."""
        (top, bottom), (left, right) = self._view.rows, self._view.columns
        size = (right - left, bottom - top)
        large = small
        if small.shape[:2] != (size[1], size[0]):
            large = self._cv2.resize(small, size, interpolation=self._cv2.INTER_LINEAR)
        if self._view.full_shape == (size[1], size[0]):
            return large
        whole: Field = np.full((*self._view.full_shape, *small.shape[2:]), np.nan, np.float32)
        whole[top:bottom, left:right] = large
        return whole


def _there_and_back(forward: Field, backward: Field, view: View) -> tuple[Field, npt.NDArray[np.bool_]]:
    """Return |f(x) + b(x + f(x))| in picture pixels, and where x + f(x) has left the view."""
    height, width = view.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, np.newaxis]
    ends = x + forward[..., 0], y + forward[..., 1]
    # The picture goes on for half a pixel beyond the centres of the view's outer pixels.
    inside = [np.clip(end, 0, size - 1) for end, size in zip(ends, (width, height), strict=True)]
    lost = (np.abs(ends[0] - inside[0]) > _BEYOND) | (np.abs(ends[1] - inside[1]) > _BEYOND)
    planes = np.ascontiguousarray(np.moveaxis(backward, 2, 0))
    there, _ = Sampler(threads=view.threads).sample(planes, np.stack([inside[0] - x, inside[1] - y], axis=2))
    both = view.scale_field(forward + np.moveaxis(there, 0, 2))
    distance: Field = np.hypot(both[..., 0], both[..., 1])
    return distance, lost

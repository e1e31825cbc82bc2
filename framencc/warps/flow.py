"""Method ``flow``: dense optical flow by inverse search.

Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, as OpenCV has it. It
assumes that a point keeps its brightness, so it looks at locally normalised pictures.
"""

import contextlib

import numpy as np
import numpy.typing as npt

from framencc.frames import Frame, Picture
from framencc.sampling import Sampler
from framencc.spec.warp import WarpSpec
from framencc.warps.base import Field, Warp, WarpMethod, field_statistics
from framencc.warps.opencv import import_cv2, opencv_threads, to_eight_bits
from framencc.warps.views import View

Grays = npt.NDArray[np.uint8]

LOST = np.float32(1e6)  # finite, because it is interpolated when fields are enlarged


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
    full_scales
        The values that stand for white in the reference and in frames.
    """

    def __init__(self, spec: WarpSpec, view: View, reference: Picture, full_scales: tuple[float, float]) -> None:
        self._cv2 = import_cv2(spec.method)
        self._spec = spec
        self._view = view
        self._full_scale = full_scales[1]
        preset = {
            "ultrafast": self._cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": self._cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }[spec.preset]
        # A search that has once begun with a flow finds another one without than a search that never has.
        self._cold, self._warm = (self._cv2.DISOpticalFlow_create(preset) for _ in range(2))
        self._reference = self._prepare(reference, full_scales[0])

    def limited(self, threads: int | None) -> contextlib.AbstractContextManager[None]:
        """Limit OpenCV; see `WarpMethod.limited`."""
        return opencv_threads(self._cv2, threads)

    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:
        """Find the flow, beginning with that of the previous frame; see `WarpMethod.estimate`."""
        picture = self._prepare(frame.data, self._full_scale)
        start = None
        if previous is not None and previous.displacement_field is not None:
            start = self._to_view(previous.displacement_field)
        forward = self._flow(self._reference, picture, start)
        distance: Field | None = None
        if self._spec.forward_backward != "off":
            # The way back begins with the way there, turned round: nearly right where the flow is smooth.
            backward = self._flow(picture, self._reference, None if start is None else -forward)
            distance = self._enlarge(_there_and_back(forward, backward, self._view))
        field = self._enlarge(self._view.scale_field(forward))
        return Warp(displacement_field=field, forward_backward=distance, report=self._report(field, distance))

    def _flow(self, reference: Grays, frame: Grays, start: Field | None) -> Field:
        flow: Field
        if start is None:
            flow = self._cold.calc(reference, frame, None)
        else:
            flow = self._warm.calc(reference, frame, start.copy())
        return flow

    def _prepare(self, picture: Picture, full_scale: float) -> Grays:
        return to_eight_bits(self._cv2, self._view.gray(picture), self._spec.normalisation_sigma, full_scale)

    def _report(self, field: Field, distance: Field | None) -> dict[str, float]:
        report = field_statistics(field)
        if distance is not None:
            part = self._view.crop(distance)
            report["median_forward_backward"] = float(np.median(part))
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


def _there_and_back(forward: Field, backward: Field, view: View) -> Field:
    """Return |f(x) + b(x + f(x))| in picture pixels, and LOST where x + f(x) has left the frame."""
    planes = np.ascontiguousarray(np.moveaxis(backward, 2, 0))
    there, codes = Sampler().sample(planes, forward)
    both = view.scale_field(forward + np.moveaxis(there, 0, 2))
    distance: Field = np.hypot(both[..., 0], both[..., 1])
    distance[codes != 0] = LOST
    return distance

"""Compiles the kernels, so that the first run of a machine does not wait for it."""

import contextlib
import time
from typing import Any

import numpy as np

from framencc.errors import MissingExtraError
from framencc.frames import Frame, Picture
from framencc.kernels.png_filters import undo_filters
from framencc.kernels.unpacking import unpack_bits, unpack_lzw
from framencc.ncc import Reference
from framencc.pipeline.clip_maps import MEAN, MINIMUM, ClipMaps
from framencc.render import Preview, PreviewLayout, encode, weigh
from framencc.sampling import Sampler
from framencc.scores import Scorer
from framencc.shades import Shades
from framencc.sources.pixel_formats import Layout
from framencc.sources.planes import ChannelPlanes
from framencc.sources.wanted import WantedChannels
from framencc.spec import PreviewStyle
from framencc.spec.warp import WarpSpec
from framencc.warps import Warp, open_warp
from framencc.warps.base import field_statistics
from framencc.warps.views import View

_NARROW, _WIDE = 3, 10  # radii on either side of the change from 32-bit to 64-bit arithmetic
_KINDS: tuple[tuple[Any, int], ...] = (
    (np.uint8, _NARROW),
    (np.uint8, _WIDE),
    (np.uint16, _NARROW),
    (np.float32, _NARROW),
)


def warm_up() -> float:
    """Call every kernel once with every kind of argument that jobs and `local_ncc` give it.

    Without anything on disk it takes about 40 seconds on one core of a current server (a job on gray 8-bit video alone
    would wait for 10 of them).

    Returns
    -------
    float
        Seconds that it took; about one where the compiled kernels were on disk.
    """
    started = time.perf_counter()
    for dtype, radius in _KINDS:
        _correlate(dtype, radius)
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    rho, validity = Reference(picture, (2, 3), smooth_sigma=0.5).ncc(picture, return_validity=True)
    Reference(picture, (2, 3), border="valid").ncc(picture)  # combines finished maps, unlike the one before
    _warp()
    clip_maps = ClipMaps((MINIMUM, MEAN), (8, 8))
    clip_maps.add(rho, validity)
    weigh(rho, validity, np.zeros(rho.shape, np.float32), 1.0)
    for bits in (8, 16):
        encode(rho, "clip", bits)
        _compute_colours(bits)
    _draw(rho, validity)
    # Bytes as they come out of zlib cannot be written to, which to Numba is a kind of its own.
    undo_filters(np.frombuffer(bytes(7), np.uint8).reshape(1, 7), 6, np.empty((1, 6), np.uint8))
    for unpack in (unpack_bits, unpack_lzw):
        unpack(np.frombuffer(bytes(2), np.uint8), np.empty(1, np.uint8))
    return time.perf_counter() - started


def _correlate(dtype: Any, radius: int) -> None:
    """Correlate plain, masked and colour pictures."""
    picture = np.arange(64, dtype=dtype).reshape(8, 8)
    Reference(picture, radius).ncc(picture)
    Reference(picture, radius, mask=picture > 3).ncc(picture, mask=picture < 60)
    Reference(picture, radius, mask=picture >= 0).ncc(picture)  # few masked pixels are treated otherwise than many
    colours = np.stack([picture] * 3, axis=2)
    Reference(colours, radius, channel="joint").ncc(colours)


def _warp() -> None:
    """Look at smaller pictures, even them out, sample frames between their pixels, and score them."""
    field = Warp().field((64, 64))
    field_statistics(field, 1)
    view = View.choose((64, 64), 32, None)
    for dtype in (np.uint8, np.uint16, np.float32):
        planes = np.arange(64 * 64, dtype=np.uint16).astype(dtype).reshape(1, 64, 64)
        view.gray(planes[0])
        Sampler().sample(planes, field)
        Sampler().sample(planes, field, use=planes[0] > 3)
        Scorer((64, 64), planes).score(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.uint8), planes, field)
    Sampler("cubic").sample(np.zeros((1, 64, 64), np.uint8), field)
    with contextlib.suppress(MissingExtraError):  # the kernels around the flow are of no use without OpenCV
        for dtype, size in ((np.uint8, None), (np.uint16, None), (np.float32, None), (np.uint8, 64)):
            noise = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(dtype)
            spec = WarpSpec(method="flow", forward_backward="check", estimation_size=size)
            stage = open_warp(spec, noise, code_range=None, reference_range=None)
            assert stage is not None
            stage.estimate(Frame(noise, 0, 0.0))


def _draw(rho: Picture, validity: Picture) -> None:
    """Draw previews of every kind of frame."""
    shades = Shades(0.0, 255.0)
    styles: tuple[PreviewStyle, ...] = ("panel", "overlay")
    for style in styles:
        layout = PreviewLayout.choose(style, 256, (8, 8))
        out = np.empty((layout.height, layout.width, 3), np.uint8)
        for dtype in (np.uint8, np.uint16, np.float32):
            picture = np.arange(64).astype(dtype).reshape(1, 8, 8)
            preview = Preview(style, layout, picture, static=shades, dynamic=shades, strength=1.0)
            preview.draw(picture, rho, validity, index=0, pts_seconds=0.0, mean=None, out=out)


def _compute_colours(bits: int) -> None:
    """Compute red from the YUV planes of a video."""
    planes = ChannelPlanes(Layout(bits, "yuv", None, ""), WantedChannels("red"), "bt709", limited=True)
    raw = np.zeros((3, 8, 8), planes.dtype)
    planes.fill(raw, np.empty_like(raw[0]), None)

"""Compiles the kernels, so that the first run of a machine does not wait for it."""

import contextlib
import time
from typing import Any

import numpy as np

from framencc.config import make_ncc_spec
from framencc.errors import MissingExtraError
from framencc.frames import Frame, Picture
from framencc.kernels.launch import default_threads
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
from framencc.warps import open_warp
from framencc.warps.base import displacements, field_statistics
from framencc.warps.views import View

_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"radius": 12, "noise_sigma": 2.0},
    {"noise_sigma": 2.0},
    {"radius": 12},
    {"radius": (2, 12)},
    {"radius": (2, 12), "smooth_sigma": 0.5},
)


def warm_up() -> float:
    """Call every kernel once with every kind of argument that usual jobs and `local_ncc` give it.

    Without anything on disk it takes about two minutes on one core of a current server (a job on gray 8-bit video alone
    would wait for a few seconds).

    Returns
    -------
    float
        Seconds that it took; about two where the compiled kernels were on disk.
    """
    started = time.perf_counter()
    for dtype in (np.uint8, np.uint16, np.float32):
        for variant in _VARIANTS:
            for masked in (False, True):
                _measure(dtype, variant, masked=masked)
        _measure(dtype, {}, bits=16)
        _measure(np.uint16, {}, masked=True, scored=dtype)
        _measure(np.uint16, {"noise_sigma": 2.0}, masked=True, scored=dtype)
        picture: Any = np.arange(64).astype(dtype).reshape(8, 8)
        for radius in (3, 12, (2, 12)):
            Reference(picture, radius).ncc(picture, mask=picture < 60)
            rho, validity = Reference(picture, radius).ncc(picture, return_validity=True)
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


def _measure(
    dtype: Any, variant: dict[str, Any], *, masked: bool = False, bits: int = 8, scored: Any | None = None
) -> None:
    """Measure a frame as a job does: map, codes, validity and scores at once.

    Warped frames have another dtype than the reference, `scored`.
    """
    planes = np.arange(64).astype(dtype).reshape(1, 8, 8)
    use = planes[0] > 3 if masked else None
    reference, scorer = (
        Reference.from_planes(planes, make_ncc_spec(**variant), use=use),
        Scorer((8, 8), planes.astype(scored or dtype)),
    )
    rho, validity = np.empty((8, 8), np.float32), np.empty((8, 8), np.uint8)
    codes = np.empty((8, 8), np.uint8 if bits == 8 else np.uint16)
    reference.correlate(planes, rho, validity, begin=lambda n_bands: scorer.begin(n_bands, planes, codes=codes))
    scorer.finish()
    scorer.score(rho, validity, planes)


def _warp() -> None:
    """Look at smaller pictures, even them out, sample frames between their pixels, and score them."""
    threads = default_threads()
    field = displacements(np.eye(3), (64, 64), threads)
    field_statistics(field, threads)
    view = View.choose((64, 64), 32, None)
    for dtype in (np.uint8, np.uint16, np.float32):
        planes = np.arange(64 * 64, dtype=np.uint16).astype(dtype).reshape(1, 64, 64)
        view.gray(planes[0])
        Sampler(threads=threads).sample(planes, field)
        Sampler(threads=threads).sample(planes, field, use=planes[0] > 3)
        Scorer((64, 64), planes).score(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.uint8), planes, field)
    Sampler("cubic", threads=threads).sample(np.zeros((1, 64, 64), np.uint8), field)
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

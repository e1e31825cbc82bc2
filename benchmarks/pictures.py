"""Textured content of any size: scikit-image's astronaut, enlarged, with sensor noise."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[Any]

# Enlarging smooths, and clipping would leave windows flat; a camera's noise does not.
NOISE_CODES = 4.0
_BLACK, _WHITE = 32, 223
_CODES = {"uint8": 255, "uint16": 65535, "float32": 1}


def full_scale(dtype: str) -> int:
    """The value that stands for white."""
    return _CODES[dtype]


def astronaut(width: int, height: int) -> npt.NDArray[np.uint8]:
    """The middle of the astronaut's luma at the given size."""
    from PIL import Image
    from skimage import data

    picture = Image.fromarray(data.astronaut()).convert("L")
    scale = min(picture.width / width, picture.height / height)
    dx, dy = (picture.width - scale * width) / 2, (picture.height - scale * height) / 2
    box = (dx, dy, picture.width - dx, picture.height - dy)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, box))


@functools.lru_cache(maxsize=4)
def textured_pair(width: int, height: int, dtype: str) -> tuple[Picture, Picture]:
    """A reference and a frame: one scene, a pixel apart, each with noise of its own; read-only."""
    scene = _BLACK + astronaut(width + 1, height) * ((_WHITE - _BLACK) / 255)
    rng = np.random.default_rng(0)
    unit = full_scale(dtype) / 255
    pair = []
    for view in (scene[:, :-1], scene[:, 1:]):
        noisy = np.clip(view + rng.normal(0, NOISE_CODES, view.shape), 0, 255) * unit
        picture = (noisy if dtype == "float32" else np.rint(noisy)).astype(dtype)
        picture.flags.writeable = False
        pair.append(picture)
    return pair[0], pair[1]

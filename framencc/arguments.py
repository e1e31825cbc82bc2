"""What callers of the functions on arrays give: pictures, masks, a place for the map, and a number of threads.

Each function returns it as the engine takes it, and raises SpecError where it is of no supported kind.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from framencc.channels import DEFAULT_MATRIX, take_alpha, take_channel
from framencc.engine import Map
from framencc.errors import SpecError
from framencc.frames import PICTURE_DTYPES, Picture, Use
from framencc.kernels.launch import default_threads
from framencc.spec.ncc import NccSpec


def take_planes(image: npt.ArrayLike, name: str, spec: NccSpec) -> tuple[Picture, Use | None]:
    """Return the (C, H, W) channels of a picture, C-contiguous and in one of the three dtypes, and what alpha masks."""
    picture = np.asarray(image)
    if picture.dtype == np.float64:
        with np.errstate(over="ignore"):
            picture = picture.astype(np.float32)
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    if picture.dtype not in PICTURE_DTYPES:
        raise SpecError(f"the {name} has dtype {picture.dtype}; supported are uint8, uint16, float32 and float64")
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and not 1 <= picture.shape[2] <= 4):
        raise SpecError(f"the {name} has shape {picture.shape}; supported are (H, W) and (H, W, 1 to 4)")
    if picture.size == 0:
        raise SpecError(f"the {name} has shape {picture.shape}, which holds no pixel")
    try:
        matrix = DEFAULT_MATRIX if spec.rgb_matrix == "auto" else spec.rgb_matrix
        data = np.ascontiguousarray(take_channel(picture, spec.channel, matrix))
        use = take_alpha(picture) if spec.alpha in (name, "both") else None
    except ValueError as error:
        raise SpecError(f"the {name} {error}") from None
    return data if data.ndim == 3 else data[np.newaxis], use


def checked_mask(mask: npt.ArrayLike, shape: tuple[int, ...], labels: Sequence[int] | None) -> Use:
    """Return which pixels a mask leaves in use: those above 0, or those that hold one of the labels."""
    values = np.asarray(mask)
    if values.shape != shape:
        raise SpecError(f"the mask has shape {values.shape}, the reference {shape}; they must be equal")
    if values.dtype.kind not in ("bui" if labels is not None else "buif"):
        kinds = "numbers" if labels is None else "integers, as there are mask_labels"
        raise SpecError(f"the mask has dtype {values.dtype}; it must hold {kinds}")
    if values.dtype == np.bool_ and labels is None:
        return values
    with np.errstate(invalid="ignore"):
        use: Use = values > 0 if labels is None else np.isin(values, labels)
    return use


def checked_out(out: Map | None, shape: tuple[int, int], picture: Picture) -> Map:
    """Return where the map of a picture goes; a new array if `out` is None."""
    if out is None:
        return np.empty(shape, np.float32)
    if (
        not isinstance(out, np.ndarray)
        or out.shape != shape
        or out.dtype != np.float32
        or not out.flags.c_contiguous
        or not out.flags.writeable
    ):
        raise SpecError(f"out must be a C-contiguous writable float32 array of shape {shape}")
    if np.may_share_memory(out, picture):
        raise SpecError("out must not share memory with the frame")
    return out


def checked_threads(threads: int | None) -> int:
    """Return how many threads to use."""
    if threads is None:
        return default_threads()
    # NumPy's integers are integers too, but its truth values are not, any more than Python's.
    if isinstance(threads, (bool, np.bool_)) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise SpecError(f"threads must be at least 1, not {threads!r}")
    return int(threads)

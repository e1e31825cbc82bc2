"""Small pictures for a page: how stored maps and frames become grays, and how several become one picture."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from framencc.frames import Picture
from framencc.report.runs import number
from framencc.shades import UNMEASURED, Shades

CELL_WIDTH = 300
"""Width of each of the pictures in a panel, in pixels."""

_CELL_HEIGHT = 1200  # at most: JPEG and browsers end somewhere, and a strip of pixels is no picture

_GAP = 6
_QUALITY = 82

Gray = npt.NDArray[np.uint8]
Cell = npt.NDArray[np.uint8]
"""(H, W) of grays, or (H, W, 3) of colours."""
Mask = npt.NDArray[np.bool_]
Confidence = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Panel:
    """A frame as a picture.

    Parameters
    ----------
    place
        The frame's place among the rows.
    uri
        The picture, as a data URI.
    width, height
        Its size in pixels.
    labels
        What it shows, from left to right.
    """

    place: int
    uri: str
    width: int
    height: int
    labels: tuple[str, ...]


def make_panel(place: int, cells: Sequence[tuple[str, Cell]]) -> Panel:
    """Put pictures with their labels side by side."""
    image = join([Image.fromarray(cell) for _, cell in cells])
    return Panel(place, data_uri(image), *image.size, tuple(label for label, _ in cells))


def decode(data: Picture, encoding: Mapping[str, Any]) -> Confidence:
    """Turn stored codes back into confidences, by what the sidecar says of their encoding."""
    if data.dtype.kind == "f":
        return data.astype(np.float32, copy=False)
    maximum = number(encoding.get("maximum"), float(np.iinfo(data.dtype).max)) or 1.0
    share = data.astype(np.float32) / np.float32(maximum)
    return 2 * share - 1 if encoding.get("encoding") == "signed" else share


def as_stored(value: float, encoding: Mapping[str, Any]) -> float:
    """Return what `decode` makes of a value that was stored, as `framencc.render.encode` does it."""
    maximum = number(encoding.get("maximum"))
    if math.isnan(maximum):
        return float(np.float32(value))
    signed = encoding.get("encoding") == "signed"
    share = 0.0 if math.isnan(value) else min(max((value + 1) / 2 if signed else value, 0.0), 1.0)
    code = np.array(math.floor(share * maximum + 0.5), np.uint16)
    return float(decode(code, encoding))


def confidence_gray(rho: Confidence) -> Gray:
    """Turn confidences into grays: black is none, white is full; where nothing was measured it is black."""
    return np.rint(np.clip(np.nan_to_num(rho), 0, 1) * 255).astype(np.uint8)


def mark_unmeasured(gray: Gray, unmeasured: Mask) -> Cell:
    """Paint what was not measured blue, as previews do: it is not the same as no confidence."""
    if not unmeasured.any():
        return gray
    cell = np.repeat(gray[..., np.newaxis], 3, axis=2)
    cell[unmeasured] = UNMEASURED
    return cell


def no_picture(shape: tuple[int, ...]) -> Gray:
    """Return stripes, which stand where there is no picture."""
    y, x = np.indices(shape)
    width = max(1, shape[1] // 12)
    return np.where((x + y) // width % 2 == 0, 40, 70).astype(np.uint8)


def to_gray(picture: Picture, shades: Shades) -> Gray:
    """Turn stored samples, (H, W), or (3, H, W) of which the mean is shown, into grays."""
    data = picture.astype(np.float32)
    if data.ndim == 3:
        data = data.mean(axis=0)
    data = np.nan_to_num((data - shades.black) / (shades.white - shades.black), posinf=1, neginf=0)
    codes: Gray = np.rint(np.clip(data, 0, 1) * 255).astype(np.uint8)
    return codes


def join(images: Sequence[Image.Image]) -> Image.Image:
    """Put pictures side by side, each as wide as a cell, all as high as the first."""
    height = min(max(1, round(images[0].height * CELL_WIDTH / images[0].width)), _CELL_HEIGHT)
    mode = "RGB" if any(image.mode == "RGB" for image in images) else "L"
    total = len(images) * CELL_WIDTH + (len(images) - 1) * _GAP
    sheet = Image.new(mode, (total, height), 128 if mode == "L" else (128, 128, 128))
    for place, image in enumerate(images):
        # Areas are averaged; where pixels are enlarged they are to be seen as such.
        way = Image.Resampling.BOX if image.width > CELL_WIDTH else Image.Resampling.NEAREST
        sheet.paste(image.resize((CELL_WIDTH, height), way), (place * (CELL_WIDTH + _GAP), 0))
    return sheet


def data_uri(image: Image.Image) -> str:
    """Return a picture as a JPEG in a data URI."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")

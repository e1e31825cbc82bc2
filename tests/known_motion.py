"""Pictures that were moved by a known motion. Imports nothing of the package under test."""

import functools

import numpy as np
from scipy.ndimage import map_coordinates
from skimage import data


@functools.cache
def face() -> np.ndarray:
    """The astronaut's luma, (512, 512) uint8."""
    return np.rint(data.astronaut() @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices(shape, np.float64)
    return x, y


def moved_by_matrix(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The frame whose pixel `matrix` (x, y, 1) shows what the picture shows at (x, y); beyond its edge mirrored."""
    x, y = grid(picture.shape)
    back = np.linalg.inv(matrix)
    u, v, w = (back[row, 0] * x + back[row, 1] * y + back[row, 2] for row in range(3))
    return _sampled(picture, u / w, v / w)


def moved_by_field(picture: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The frame for which frame(x + dx, y + dy) = picture(x, y), by turning the field round."""
    x, y = grid(picture.shape)
    back = np.zeros_like(field, np.float64)
    for _ in range(40):  # b(p) = -f(p + b(p))
        places = [y + back[..., 1], x + back[..., 0]]
        back = -np.stack([map_coordinates(field[..., i], places, order=1, mode="nearest") for i in (0, 1)], axis=-1)
    return _sampled(picture, x + back[..., 0], y + back[..., 1])


def smooth_field(shape: tuple[int, int], size: float = 1.0) -> np.ndarray:
    """(H, W, 2) displacements of up to 10 * size pixels."""
    x, y = grid(shape)
    return size * np.stack([6 * np.sin(y / 60) + 4 * np.cos(x / 45), 5 * np.cos(x / 70 + y / 90)], axis=-1)


def codes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _sampled(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return map_coordinates(picture.astype(np.float64), [y, x], order=3, mode="mirror")

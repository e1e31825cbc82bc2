"""Displacements of matrices, what is said of fields, and whether the way there and back closes."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from warp_oracle import of_matrix

from framencc.sampling import Sampler
from framencc.warps import Warp
from framencc.warps.base import LOST, field_statistics

MATRICES = (
    np.array([[1, 0, 3.3], [0, 1, -2.7], [0, 0, 1]]),
    np.array([[1.03, -0.02, 6.4], [0.015, 0.98, -9.1], [0, 0, 1]]),
    np.array([[1.02, 0.01, -5.2], [-0.02, 1.01, 8.3], [4e-3, -3e-3, 1]]),
    np.array([[1, 0, 0], [0, 1, 0], [-0.02, 0, 1.0]]),  # divides by 0 or less in part of the picture
)


@pytest.mark.parametrize("matrix", MATRICES)
def test_sampling_by_a_matrix_gives_the_bits_of_its_field(matrix: np.ndarray) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (1, 90, 300)).astype(np.uint8)
    field = Warp(matrix=matrix).field((90, 300), threads=3)
    for one, other in zip(Sampler().sample(planes, matrix), Sampler().sample(planes, field), strict=True):
        np.testing.assert_array_equal(one, other)
    places = np.array([[of_matrix(matrix)(x, y) for x in range(300)] for y in range(90)])
    y, x = np.mgrid[:90, :300]
    np.testing.assert_allclose(field, places - np.stack([x, y], axis=-1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n_lost", [0, 100, 7000])
def test_the_median_distance_is_exact_to_a_thousandth(n_lost: int) -> None:
    rng = np.random.default_rng(n_lost)
    field = rng.normal(0, 3, (120, 101, 2)).astype(np.float32)
    for scale in (1e-3, 0.7, 40.0):
        distance = (scale * rng.exponential(1, (120, 101))).astype(np.float32)
        distance.reshape(-1)[rng.permutation(distance.size)[:n_lost]] = LOST
        distance[:3] = np.nan  # of no pixel of the view
        found, again = (field_statistics(field, threads, distance, 2.1) for threads in (1, 3))
        assert found == again
        known = distance[~np.isnan(distance)]
        median = float(np.median(known))
        if n_lost > known.size / 2:
            assert found["median_forward_backward"] is None
        else:
            assert abs(found["median_forward_backward"] - median) <= max(median, 1) / 1024
        assert found["share_failing_check"] == np.mean(known > np.float32(2.1))


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize("shape", [(40, 61), (16, 300), (3, 2)])
def test_the_distance_is_what_is_left_of_the_way_there_and_back(shape: tuple[int, int], scale) -> None:
    height, width = shape
    rng = np.random.default_rng(width)
    forward, backward = rng.normal(0, 4, (2, *shape, 2)).astype(np.float32)
    forward[0, 0] = forward[-1, -1] = 0
    y, x = np.mgrid[:height, :width].astype(np.float64)
    ends = np.stack([y + forward[..., 1], x + forward[..., 0]])
    last = np.array([height - 1.0, width - 1.0])[:, np.newaxis, np.newaxis]
    inside = np.clip(ends, 0, last)
    back = [map_coordinates(backward[..., axis].astype(np.float64), inside, order=1) for axis in (0, 1)]
    expected = np.hypot(*((forward[..., axis] + back[axis]) / scale[axis] for axis in (0, 1)))
    out_of_it = (np.abs(ends - inside) > 0.5).any(axis=0)
    for threads in (1, 3):
        distance, marked = np.empty(shape, np.float32), np.empty(shape, np.float32)
        options = {"backward": backward, "scale": scale}
        assert field_statistics(forward, threads, distance, 2.1, **options) == field_statistics(
            forward, threads, distance, 2.1
        )
        np.testing.assert_array_equal(distance == LOST, out_of_it)
        field_statistics(forward, threads, marked, beyond=-1.0, **options)
        np.testing.assert_array_equal(np.signbit(marked), out_of_it)
        # Where the way ends is known to 2^-16 px, and the flow back changes by some 10 px from pixel to pixel.
        np.testing.assert_allclose(np.abs(marked), expected, rtol=1e-4, atol=1e-3 / min(scale))
        np.testing.assert_array_equal(distance, np.where(out_of_it, LOST, marked))

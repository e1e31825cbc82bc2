"""Labels, alpha and the weights of luma agree with the oracle, alone and with everything else."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracle import oracle
from strategies import BORDERS, DTYPES, pairs
from tolerances import assert_maps_close, assert_same_bits, promised

from framencc import Reference, SpecError, local_ncc


def labels_of(data: st.DataObject, shape: tuple[int, int]) -> np.ndarray:
    seed = data.draw(st.integers(0, 2**32 - 1))
    return (
        np.random.default_rng(seed).integers(0, 4, shape).astype(data.draw(st.sampled_from(["u1", "u2", "i4", "u8"])))
    )


@settings(max_examples=150)
@given(
    st.data(),
    pairs(max_side=10, channels=4, dtypes=DTYPES[:2]),
    st.sampled_from([[0], [1], [1, 3], [0, 2], [9]]),
    st.sampled_from(["ignore", "reference", "frame", "both"]),
    st.sampled_from([("luma", "auto"), ("luma", "bt709"), ("luma", "bt2020"), ("joint", "auto"), ("green", "auto")]),
)
def test_labels_alpha_and_matrix_agree_with_the_oracle(data, pair, labels, alpha, chosen):
    channel, matrix = chosen
    for picture in pair:  # a third of the pixels transparent
        picture[..., 3] *= np.random.default_rng(1).random(picture.shape[:2]) > 0.3
    shape = pair[0].shape[:2]
    mask, frame_mask = (data.draw(st.sampled_from([None, labels_of(data, shape)])) for _ in range(2))
    if mask is None and frame_mask is None:
        labels = None
    options = {
        "mask": mask,
        "mask_labels": labels,
        "alpha": alpha,
        "channel": channel,
        "rgb_matrix": matrix,
        "border": data.draw(st.sampled_from(BORDERS)),
        "noise_sigma": data.draw(st.sampled_from([0.0, 2.0])),
        "min_valid_fraction": data.draw(st.sampled_from([0.2, 0.5])),
        "smooth_sigma": data.draw(st.sampled_from([0.0, 0.7])),
        "fill": -2.0,
    }
    radii = data.draw(st.sampled_from([[2], [1, 3]]))
    expected, codes = oracle(*pair, radii, frame_mask=frame_mask, **options)
    rho, validity = Reference(pair[0], radii, **options).ncc(pair[1], mask=frame_mask, return_validity=True)
    assert_same_bits(validity, codes)
    assert_maps_close(rho, expected, promised(*pair))


def test_what_cannot_apply_to_arrays_is_refused_by_name():
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    rgb = np.stack([gray] * 3, axis=2)
    cases = [
        ((gray, gray), {"mask_labels": [1]}, "mask_labels needs a mask"),
        ((gray, gray), {"rgb_matrix": "bt709"}, "rgb_matrix = bt709 cannot apply: neither picture is in colour"),
        ((gray[..., None], gray[..., None]), {"rgb_matrix": "bt709"}, "rgb_matrix = bt709 cannot apply"),
        ((rgb, rgb), {"rgb_matrix": "bt709", "channel": "red"}, "rgb_matrix = bt709 cannot apply"),
        ((rgb, rgb), {"alpha": "frame"}, "the frame has no alpha channel"),
        ((rgb, rgb), {"alpha": "reference"}, "the reference has no alpha channel"),
        ((gray, gray), {"channel": "red"}, "the reference is gray, so channel = red"),
        ((gray, gray), {"combine": "max"}, "combine = max cannot apply to radius = 3"),
        ((gray, gray), {"mask": gray / 2, "mask_labels": [1]}, "the mask has dtype float64; it must hold integers"),
        ((gray, gray), {"mask": gray.astype(str)}, "it must hold numbers"),
    ]
    for pair, options, problem in cases:
        with pytest.raises(SpecError) as caught:
            local_ncc(*pair, **options)
        assert problem in str(caught.value)
    assert local_ncc(rgb, gray, rgb_matrix="bt709")[4, 4] == pytest.approx(1)


def test_infinities_of_both_signs_are_no_warning():
    rgb = np.random.default_rng(0).random((6, 6, 3)).astype(np.float32)
    rgb[2, 3] = np.inf, -np.inf, 0
    _, validity = local_ncc(rgb, rgb, return_validity=True)
    assert np.argwhere(validity == 6).tolist() == [[2, 3]]

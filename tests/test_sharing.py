"""Bands that are shared among threads: each is computed once, and what one raises reaches the caller."""

import numpy as np
import pytest

from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel
from framencc.kernels.launch import launch
from framencc.kernels.sharing import share


@kernel()
def _fill(band, failing, out):
    if band == failing:
        raise ValueError("a band cannot be computed")
    out[band] += band


@kernel()
def _fill_bands(failing, out):
    share(_fill, out.size, failing, out)


@kernel()
def _fill_then_count(failing, out, count):
    call(_fill_bands, failing, out)
    count[0] += 1


@pytest.mark.parametrize("threads", [1, 2])
def test_every_band_is_computed_once(threads):
    out, count = np.zeros(9, np.int64), np.zeros(1, np.int64)
    launch(_fill_then_count, threads, -1, out, count)
    assert out.tolist() == list(range(9))
    assert count[0] == 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("failing", [0, 8])
def test_what_a_band_raises_reaches_the_caller(threads, failing):
    out, count = np.zeros(9, np.int64), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="a band cannot be computed"):
        launch(_fill_then_count, threads, failing, out, count)
    assert count[0] == 0
    launch(_fill_then_count, threads, -1, out, count)
    assert count[0] == 1

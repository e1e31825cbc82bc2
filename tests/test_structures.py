"""What kernels read of a structure, which they take by its address."""

import copy
import math
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from framencc.kernels.compilation import kernel
from framencc.kernels.structures import Structure


@dataclass(frozen=True, eq=False)
class Given(Structure):
    values: Any
    count: int
    share: float
    single: np.float32
    wanted: bool
    missing: Any
    codes: Any


@kernel()
def _read(given):
    return given.values[1, 2], given.values.shape, given.count, given.share, given.single, given.wanted, given.codes[1]


@kernel()
def _write(given):
    for x in range(given.codes.size):
        given.codes[x] = x + (1 if given.missing is None else 10)


def make(missing=None, count=3) -> Given:
    values = np.arange(6.0).reshape(2, 3)
    values.flags.writeable = False
    return Given(values, count, 0.25, np.float32(1.5), True, missing, np.zeros(4, np.uint16))


def test_a_kernel_reads_what_a_structure_holds():
    given = make(count=-(1 << 40))
    assert _read(given) == (5.0, (2, 3), -(1 << 40), 0.25, 1.5, True, 0)
    assert math.isnan(_read(Given(given.values, 0, math.nan, np.float32(0), False, None, given.codes))[3])


def test_a_kernel_writes_the_arrays_of_a_structure():
    given = make()
    _write(given)
    assert given.codes.tolist() == [1, 2, 3, 4]
    other = make(missing=True)
    _write(other)
    assert other.codes.tolist() == [10, 11, 12, 13]
    assert given._numba_type_ != other._numba_type_


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
def test_a_copy_has_an_address_of_its_own(duplicate):
    given = make()
    other = duplicate(given)
    assert other.address == other._memory.ctypes.data != given.address
    _write(other)
    assert (given.codes.tolist(), other.codes.tolist()) == ([0, 0, 0, 0], [1, 2, 3, 4])


def test_an_array_with_gaps_is_refused():
    with pytest.raises(ValueError, match=r"Given\.codes is not C-contiguous"):
        Given(np.ones((1, 1)), 0, 0.0, np.float32(0), False, None, np.ones(8, np.uint8)[::2])

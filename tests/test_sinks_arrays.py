import os
import sys

import numpy as np
import pytest
from sink_readback import map_format, some_maps, write_maps

from framencc.sinks import ArraySink


def test_the_header_has_room_for_any_number_of_maps(tmp_path):
    maps = some_maps(1001, "float32", (2, 3))
    with ArraySink(tmp_path / "out.npy", map_format("float32", (2, 3))) as sink:
        for count in (1, 9, 990, 1):  # the number's digits grow
            write_maps(sink, maps[sink.n_written : sink.n_written + count], first=sink.n_written)
        sink.commit()
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), maps)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy", mmap_mode="r"), maps)


def test_the_bytes_are_those_of_numpy_save(tmp_path):
    maps = some_maps(12, "float32")
    maps[0, 0, :2] = [np.nan, -0.0]
    with ArraySink(tmp_path / "out.npy", map_format("float32")) as sink:
        write_maps(sink, maps)
        sink.commit()
    np.save(tmp_path / "expected.npy", maps)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_clip(tmp_path):
    shape = (1000, 1000)
    data = np.zeros(shape, np.float32)
    with ArraySink(tmp_path / "out.npy", map_format("float32", shape)) as sink:
        sink.write(data, 0, 0.0)
        before = resident_bytes()
        for index in range(1, 30):
            sink.write(data, index, index / 25)
        assert resident_bytes() - before < 3 * data.nbytes


def resident_bytes():
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

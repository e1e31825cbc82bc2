"""Headers of .npy files: those that NumPy writes, and those that nobody should evaluate."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from framencc.errors import DamagedInputError, SourceError
from framencc.npy import map_npy, read_npy_header


def written(path: Path, header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> Path:
    text = header.encode("latin-1") if isinstance(header, str) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    path.write_bytes(b"\x93NUMPY" + bytes(version) + length + text + data)
    return path


def plain(shape: str = "(4, 6)", descr: str = "<f4") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("dtype", ["?", "u1", "<u2", ">u2", "i4", "f2", "<f4", ">f8", "c8", "S3", "U2", "M8[ns]"])
@pytest.mark.parametrize("shape", [(), (5,), (4, 6), (2, 3, 4), (0, 3), (1,) * 30])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_writes_is_mapped_bit_for_bit(tmp_path, dtype, shape, order):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.frombuffer(np.random.default_rng(0).integers(0, 100, size, np.uint8).tobytes(), dtype)
    array = np.asarray(array.reshape(shape), order=order)
    np.save(tmp_path / "a.npy", array)
    header = read_npy_header(tmp_path / "a.npy", "array")
    mapped = map_npy(tmp_path / "a.npy", header)
    assert (header.shape, header.dtype) == (array.shape, array.dtype)
    assert mapped.shape == array.shape
    assert mapped.tobytes() == array.tobytes()
    assert not mapped.size or not mapped.flags.writeable


def test_what_others_write(tmp_path):
    data = np.arange(6, dtype="<f4").tobytes()
    for header in (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (2,3)}   \n',
        "{'descr':'<f4','fortran_order':False,'shape':( 2 , 3 )}",
    ):
        for version in ((1, 0), (2, 0)):
            path = written(tmp_path / "a.npy", header, data, version)
            np.testing.assert_array_equal(
                map_npy(path, read_npy_header(path, "array")), np.arange(6, dtype="f4").reshape(2, 3)
            )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (plain("(1000000, 1000000, 1000000)"), "it ends early"),
        (plain("(9999999999999999999, 9999999999999999999)"), "it ends early"),
        (plain("(99999999999999999999, 1)"), "no shape"),
        (plain("(-1, 4)"), "no shape"),
        (plain("(4, 6.0)"), "no shape"),
        (plain("(True, 4)"), "no shape"),
        (plain("(2 ** 40, 4)"), "no shape"),
        (plain("(" + "1, " * 40 + ")"), "no shape"),
        (plain("(" * 3000), "no shape"),
        (plain("(" + "1" * 5000 + ")"), "no shape"),
        (plain("(4, 6), 'more': __import__('os').system('touch gone')"), "holds more than it should"),
        (plain("(4 is 4, 6)"), "no shape"),
        (plain("(4, 6)", "\\d"), "no descr"),
        (plain("(4, 6)", "V999999999"), "it ends early"),
        (plain("(4, 6)", "f3"), "no samples of type 'f3'"),
        (plain("(4, 6)", "i4,i4,f8"), "no descr"),
        (plain("(4, 6)", "datetime64"), "no descr"),
        (plain() + plain(), "holds more than it should"),
        ("{" * 9000, "no descr"),
        ("\0" * 100, "no descr"),
        ("x" * 20_000, "its header claims 20000 bytes"),
        ("", "no descr"),
    ],
)
def test_a_hostile_header_is_one_error_without_a_warning_or_memory(tmp_path, header, reason):
    path = written(tmp_path / "a.npy", header, bytes(96))
    tracemalloc.start()
    with pytest.raises(DamagedInputError, match=f"^array is damaged: .*{reason}") as caught:
        read_npy_header(path, "array")  # a warning would be another error here
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\2\0\xff\xff\xff\xff" + plain().encode())
    with pytest.raises(DamagedInputError, match="its header claims 4294967295 bytes"):
        read_npy_header(tmp_path / "a.npy", "array")


def test_what_is_no_plain_array(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "records.npy", np.zeros(3, [("a", "<f4"), ("b", "<i2")]))
    written(tmp_path / "version.npy", plain(), version=(9, 0))
    (tmp_path / "text.npy").write_text("PK not an array")
    (tmp_path / "empty.npy").touch()
    for name, reason in {
        "objects": "holds Python objects, which are never loaded; store plain numbers",
        "records": "holds records; store plain numbers",
        "version": "is a .npy of version 9.0; store plain numbers",
        "text": "is no .npy file",
        "empty": "is empty",
        "absent": "cannot be read: No such file or directory",
    }.items():
        with pytest.raises(SourceError, match=f"^array {reason}$") as caught:
            read_npy_header(tmp_path / f"{name}.npy", "array")
        assert not isinstance(caught.value, DamagedInputError)

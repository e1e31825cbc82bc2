import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_readback import KINDS, names, some_maps

from framencc.errors import SinkError

resource = pytest.importorskip("resource", reason="limits on file size are POSIX's")


@contextlib.contextmanager
def tiny_disk(folder: Path) -> Iterator[None]:
    """A disk of one megabyte."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        result = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount command")
    if result.returncode:
        pytest.skip("mounting a small disk needs more rights; the limit on file size is tried instead")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def small_files(folder: Path) -> Iterator[None]:
    """No file may be longer than 100 kB, for children neither."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("limit", [tiny_disk, small_files])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_full_disk_is_an_error_and_leaves_nothing(limit, kind, tmp_path):
    maps = some_maps(10, kind.dtype, (480, 640))

    def write_until_full(sink):
        for index in range(60):
            sink.write(maps[index % 10], index, index / 25)
        sink.commit()

    with limit(tmp_path):
        # A map that no file can hold at all has to fail in the same way.
        reason = "[Nn]o space left on device" if limit is tiny_disk else "File too large|signal 25"
        with (
            kind.open(tmp_path, (480, 640)) as sink,
            pytest.raises(SinkError, match=rf"cannot be written: .*({reason})"),
        ):
            write_until_full(sink)
        assert names(tmp_path) == []

"""The compiled kernels' cache: it saves time where it works, and never stops a measurement where it does not."""

import hashlib
import importlib.util
import logging
import shutil
import sys
import warnings
from collections import defaultdict
from itertools import count
from pathlib import Path

import numba
import numpy as np
import pytest
from running import python

import framencc
from framencc.kernels import compilation
from framencc.render import encode

# Two kernels, one of which calls the other, as those of the package do.
TINY = """
from framencc.kernels.compilation import kernel

@kernel()
def twice(a):
    return 2 * a

@kernel()
def add(a, b):
    return twice(a) + b
"""
_numbers = count()

# In a process of its own: the kernel that compiles fastest, and the fingerprint of what it makes.
PROGRAM = """
import hashlib
import numpy as np
import framencc
from framencc.ncc import Reference  # so that every kernel is at least declared
from framencc.render import encode
rho = np.random.default_rng(3).uniform(-1, 1, (30, 40)).astype(np.float32)
print(framencc.__file__)
print(hashlib.sha256(encode(rho, "clip").tobytes()).hexdigest())
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A function that starts a small kernel anew, as the next process would."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv(compilation.CACHE_SWITCH, raising=False)

    def load():
        spec = importlib.util.spec_from_file_location(f"tiny_{next(_numbers)}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.add

    return load


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc"))


def hits(dispatcher):
    return sum(dispatcher.stats.cache_hits.values())


def test_the_next_process_finds_the_compiled_kernel(tiny, tmp_path):
    first = tiny()
    assert first(2, 3) == 7
    assert hits(first) == 0
    assert [path.suffix for path in files(tmp_path)] == [".nbc", ".nbi"] * 2
    second = tiny()
    assert second(2, 3) == 7
    assert hits(second) == 1


def test_code_that_lies_under_the_name_of_another_is_compiled_anew(tiny, tmp_path, caplog):
    first = tiny()
    assert first(2, 3) == 7
    assert first(2.5, 3.0) == 8.0
    codes = defaultdict(list)
    for path in files(tmp_path):
        if path.suffix == ".nbc":
            codes[path.name.rsplit(".", 2)[0]].append(path)
    for one, other in codes.values():
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
    mixed = tiny()
    with caplog.at_level(logging.INFO, "framencc.kernels.compilation"):
        assert mixed(2, 3) == 7
        assert mixed(2.5, 3.0) == 8.0
    assert hits(mixed) == 0
    assert "other types" in caplog.text


def damage(content):
    yield b""
    for n_bytes in (1, 10, len(content) // 4, len(content) // 2, len(content) - 1):
        yield content[:n_bytes]
    yield content[len(content) // 2 :]
    yield b"\xff" * len(content)
    rng = np.random.default_rng(len(content))
    head = bytes(rng.integers(0, 256, 200, dtype=np.uint8))
    yield head + content[200:]


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_cache_file_is_compiled_anew_and_healed(tiny, tmp_path, suffix, caplog):
    assert tiny()(2, 3) == 7
    paths = [path for path in files(tmp_path) if path.suffix == suffix]
    assert len(paths) == 2
    for versions in zip(*(damage(path.read_bytes()) for path in paths), strict=True):
        for path, content in zip(paths, versions, strict=True):
            path.write_bytes(content)
        damaged = tiny()
        with caplog.at_level(logging.INFO, "framencc.kernels.compilation"):
            assert damaged(2, 3) == 7
        assert hits(damaged) == 0
        healed = tiny()
        assert healed(2, 3) == 7
        assert hits(healed) == 1
    assert "cannot be read" in caplog.text


def test_a_cache_that_vanishes_or_fills_up_does_not_matter(tiny, tmp_path, monkeypatch):
    add = tiny()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("in the way")
    assert add(2, 3) == 7
    (tmp_path / "cache").unlink()
    again = tiny()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(again._cache._cache_file, "_save_data", full)
    assert again(2, 3) == 7


def test_without_a_writable_folder_there_is_one_warning(tiny, monkeypatch):
    monkeypatch.setitem(compilation._state, "warned", False)

    def refuse(*_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)
    with pytest.warns(
        RuntimeWarning, match=r"cannot be kept on disk.*no locator available; set NUMBA_CACHE_DIR"
    ) as told:
        add = tiny()
    assert len(told) == 1
    assert add(2, 3) == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tiny()(2, 3) == 7


def test_the_switch_turns_the_cache_off(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(compilation.CACHE_SWITCH, "0")
    assert tiny()(2, 3) == 7
    assert files(tmp_path) == []


# A parallel kernel as those of the package are: a row, a band of rows, and a shell that shares the bands among threads.
BANDED = """
import numba
import numpy as np
from framencc.kernels.calls import call
from framencc.kernels.compilation import kernel, parallel_kernel

@kernel()
def double_row(row, out):
    for x in range(out.size):
        out[x] = 2 * row[x]

@kernel()
def double_band(rows, y0, y1, out):
    if rows.shape[1] == 0:
        raise ValueError("no columns")
    for y in range(y0, y1):
        double_row(rows[y], out[y])

@parallel_kernel()
def double(rows, n_bands, out):
    for i in numba.prange(n_bands):
        call(double_band, rows, out.shape[0] * i // n_bands, out.shape[0] * (i + 1) // n_bands, out)
"""
LAUNCH = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import banded
from framencc.kernels.launch import launch
rows = np.arange(35, dtype=np.float32).reshape(7, 5)
for n_bands in (1, 3):
    out = np.zeros_like(rows)
    launch(banded.double, 2, rows, n_bands, out)
    assert np.array_equal(out, 2 * rows), out
print(*(sum(kernel.stats.cache_hits.values()) for kernel in (banded.double, banded.double_band.inner)))
"""


def run_banded(folder, **environment):
    path = folder / "banded.py"
    if not path.exists():  # a later time stamp would be another module to Numba
        path.write_text(BANDED)
    result = python(LAUNCH, folder, NUMBA_CACHE_DIR=str(folder / "cache"), NUMBA_NUM_THREADS="2", **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_a_shell_and_its_band_are_compiled_and_kept_apart(tmp_path):
    assert run_banded(tmp_path, FRAMENCC_CACHE="1") == ["0", "0"]
    assert {path.name.split("-")[0] for path in files(tmp_path)} == {
        "banded.double",
        "banded.double_band",
        "banded.double_row",
    }
    assert run_banded(tmp_path, FRAMENCC_CACHE="1") == ["1", "1"]


@pytest.mark.parametrize("lost", ["double", "double_band"])
def test_a_shell_finds_its_band_wherever_each_comes_from(lost, tmp_path):
    run_banded(tmp_path, FRAMENCC_CACHE="1")
    for path in files(tmp_path):
        if path.name.split("-")[0] == f"banded.{lost}":
            path.unlink()
    assert run_banded(tmp_path, FRAMENCC_CACHE="1") == ["01"[lost != "double"], "01"[lost != "double_band"]]
    assert run_banded(tmp_path, FRAMENCC_CACHE="0") == ["0", "0"]


@pytest.fixture(scope="module")
def expected():
    rho = np.random.default_rng(3).uniform(-1, 1, (30, 40)).astype(np.float32)
    return hashlib.sha256(encode(rho, "clip").tobytes()).hexdigest()


@pytest.fixture
def copied(tmp_path):
    """A copy of the package that never ran, and surroundings in which nothing else can be written."""
    shutil.copytree(
        Path(framencc.__file__).parent, tmp_path / "copy/framencc", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file/below")
    return tmp_path / "copy", {
        "PYTHONPATH": str(tmp_path / "copy"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "LOCALAPPDATA": nowhere,
        "NUMBA_CACHE_DIR": nowhere,
    }


@pytest.mark.skipif(sys.platform == "win32", reason="the user's cache folder cannot be moved away there")
def test_a_package_that_nobody_may_write_to_works_with_one_warning(copied, expected):
    folder, environment = copied
    (folder / "framencc/kernels/__pycache__").write_text("in the way")
    result = python(PROGRAM, **environment)
    assert result.stdout.splitlines() == [str(folder / "framencc/__init__.py"), expected], result.stderr
    assert result.stderr.count("Warning") == 1
    assert "RuntimeWarning: compiled kernels cannot be kept on disk" in result.stderr


def test_with_the_switch_nothing_is_written_and_nothing_said(copied, expected):
    folder, environment = copied
    before = sorted(folder.rglob("*"))
    result = python(PROGRAM, **environment, FRAMENCC_CACHE="0")
    assert result.stdout.splitlines() == [str(folder / "framencc/__init__.py"), expected], result.stderr
    assert result.stderr == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
def test_a_truncated_cache_of_the_package_gives_the_same_codes(tmp_path, expected):
    for _ in range(2):
        result = python(PROGRAM, NUMBA_CACHE_DIR=str(tmp_path))
        assert result.stdout.splitlines()[-1] == expected, result.stderr
        assert result.stderr == ""
        assert len(files(tmp_path)) >= 2
        for path in files(tmp_path):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

"""What a user gets who installs and imports the package."""

import ast
import importlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
from running import command, python

import framencc
from framencc import cli, errors

PUBLIC = [name for name in framencc.__all__ if name != "__version__"]
OPTIONAL = {"cv2", "dask", "distributed", "jinja2", "plotly"}
HEAVY = {"numba", "llvmlite", "numpy", "imageio", "imageio_ffmpeg", "skimage", "PIL", "tqdm"} | OPTIONAL


def loaded_by(program):
    """Tell which heavy packages a program has loaded."""
    result = python(
        f"{program}\nimport json, sys\nprint(json.dumps([name for name in sys.modules if '.' not in name]))"
    )
    assert result.returncode == 0, result.stderr
    return HEAVY & set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing():
    assert loaded_by("import framencc") == set()


def test_the_spec_and_the_errors_need_nothing_heavy():
    assert loaded_by("from framencc import RunSpec, SpecError, load_config; RunSpec.model_json_schema()") == set()


def test_using_the_package_loads_no_optional_one():
    program = "import framencc, numpy; framencc.local_ncc(numpy.eye(9, dtype='u1'), numpy.eye(9, dtype='u1'))"
    assert loaded_by(program + "; framencc.run") & OPTIONAL == set()


def test_importing_the_package_starts_and_configures_nothing():
    program = """
import logging, os, signal, sys, threading, warnings

def state():
    logs = (list(logging.root.handlers), logging.root.level)
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return threading.active_count(), dict(os.environ), logs, list(warnings.filters), signals, sys.excepthook

before = state()
import framencc, framencc.cli.commands, framencc.errors, framencc.ffmpeg, framencc.spec
assert state() == before
"""
    result = python(program)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_had_and_is_documented(name):
    value = getattr(framencc, name)
    assert value.__doc__
    assert value.__module__.startswith("framencc.")
    assert value.__name__ == name


def test_star_import_brings_the_public_names_and_no_others():
    result = python("from framencc import *\nprint(sorted(name for name in dir() if not name.startswith('__')))")
    assert ast.literal_eval(result.stdout) == sorted(PUBLIC)
    assert dir(framencc) == sorted(framencc.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(framencc.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(seen) == sorted(PUBLIC)
    assert {name: module.removeprefix("framencc.") for name, module in seen.items()} == framencc._HOMES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'framencc' has no attribute 'local_nc'"):
        _ = framencc.local_nc


def test_the_package_is_typed_and_says_its_version():
    assert Path(framencc.__file__).with_name("py.typed").is_file()
    assert importlib.metadata.version("framencc") == framencc.__version__
    assert command("--version").stdout == f"{framencc.__version__}\n"


def test_the_installed_command_is_the_cli():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="framencc")
    assert entry.load() is cli.main


def test_errors_are_builtin_ones_too_and_know_their_exit_codes():
    expected = {
        "FramenccError": (Exception, 1),
        "SpecError": (ValueError, 2),
        "SourceError": (OSError, 1),
        "WarpError": (Exception, 1),
        "SinkError": (OSError, 1),
        "DamagedInputError": (errors.SourceError, 3),
        "UnreadableNowError": (errors.SourceError, 1),
        "MissingExtraError": (ImportError, 2),
    }
    found = {
        name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(found) == set(expected)
    for name, (builtin, code) in expected.items():
        assert issubclass(found[name], errors.FramenccError)
        assert issubclass(found[name], builtin)
        assert found[name].exit_code == code
        assert str(found[name]("one line")) == "one line"


def test_the_public_functions_do_a_whole_job(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    np.save(tmp_path / "in.npy", frames)
    (tmp_path / "job.toml").write_text('input = "in.npy"\noutput = "out.npy"\nreference = 1\n[ncc]\nradius = 2\n')
    report = framencc.run(framencc.load_config(tmp_path / "job.toml"))
    reference = framencc.Reference(frames[1], 2)
    maps = np.load(report.output)
    for rho, frame in zip(maps, frames, strict=True):
        np.testing.assert_array_equal(rho, reference.ncc(frame))
        np.testing.assert_array_equal(rho, framencc.local_ncc(frames[1], frame, 2))
    assert isinstance(report, framencc.RunReport)

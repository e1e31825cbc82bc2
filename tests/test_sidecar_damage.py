"""A sidecar is a file on a disk: whatever JSON it holds, commands that read it go on or refuse it in one line."""

import copy
import json
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
from media import random_frames
from PIL import Image

from framencc.cli import main
from framencc.errors import SourceError
from framencc.sidecar import read_sidecar

pytestmark = pytest.mark.timeout(170)

JOB = ["run", "in.npy", "o.npy", "--reference", "ref.png", "--warp", "translation", "--validity", "v.npy"]
JOB += ["--fields", "f.npy", "--scores", "s.csv", "--scores.regions", "labels.png", "-q"]
WRITTEN = ("o.npy", "v.npy", "f.npy", "s.csv")
ROWS = '"frames": [{"index": 0, "pts_seconds": 0.0, "digests": {"output": "0"}}], "outputs": {"output": "o"}'


def nested(depth, inside="[]"):
    value = json.loads(inside)
    for _ in range(depth):
        value = [value]
    return value


VALUES = [
    None,
    True,
    0,
    -1,
    3.7,
    10**400,
    2**62,
    2**64,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    "",
    "x",
    "\0",
    "\ud800",
    "\udce9",
]
VALUES += ["a" * 5000, "../../x", "/dev/zero", "/dev/full", "\n", "%d", [], [1], [[]], [None], ["x"], {}, {"a": 1}]
VALUES += [{"": None}, {"\ud800": "x"}, nested(28), nested(900)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a finished run, its sidecar, and what else it has written."""
    folder = tmp_path_factory.mktemp("made")
    here = Path.cwd()
    os.chdir(folder)
    try:
        frames = random_frames(2, 24, 32)
        np.save("in.npy", frames)
        Image.fromarray(frames[0]).save("ref.png")
        Image.fromarray((np.arange(24 * 32).reshape(24, 32) % 3).astype(np.uint8)).save("labels.png")
        assert main(JOB) == 0
        yield json.loads(Path("o.npy.json").read_text()), {name: Path(name).read_bytes() for name in WRITTEN}
    finally:
        os.chdir(here)


def places(value, way=()):
    """Yield the way to everything that a sidecar holds."""
    yield from [way] if way else []
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*way, name))


def changed(sidecar, way, value):
    other = copy.deepcopy(sidecar)
    inside = other
    for name in way[:-1]:
        inside = inside[name]
    if value is KeyError:
        del inside[way[-1]]
    else:
        inside[way[-1]] = value
    return json.dumps(other)


def answered(words, capfd):
    """Carry out a command, and check that it ends with no more than one line about what is wrong."""
    code = main(words)
    err = capfd.readouterr().err
    assert code in (0, 1, 2, 3), err
    assert "internal error" not in err
    assert len([line for line in err.splitlines() if "error: " in line]) == (code != 0)
    return code, err


@pytest.mark.parametrize(("command", "n_cases"), [("verify", 150), ("resume", 60)])
def test_a_value_of_any_type_in_any_place_is_no_internal_error(command, n_cases, made, capfd):
    sidecar, written = made
    words = ["verify", "o.npy"] if command == "verify" else [*JOB, "--resume"]
    cases = [(way, value) for way in places(sidecar) for value in (*VALUES, KeyError)]
    for way, value in random.Random(command).sample(cases, n_cases):
        Path("o.npy.json").write_text(changed(sidecar, way, value))
        answered(words, capfd)
        for name, content in written.items():
            assert Path(name).read_bytes() == content, (way, value)


@pytest.mark.slow
def test_a_report_of_such_a_sidecar_is_made_or_refused(made, capfd):
    sidecar, _ = made
    cases = [(way, value) for way in places(sidecar) for value in (*VALUES, KeyError)]
    for way, value in random.Random(0).sample(cases, 25):
        Path("o.npy.json").write_text(changed(sidecar, way, value))
        answered(["report", "o.npy", "--overwrite"], capfd)
        answered(["compare", "o.npy", "o.npy", "--overwrite", "-q"], capfd)


STRANGE = {
    "rows that are numbers": '{"format_version": 1, "frames": [1]}',
    "rows that are lists": '{"format_version": 1, "frames": [[]]}',
    "rows that are null": '{"format_version": 1, "frames": [null]}',
    "rows in rows": json.dumps({"format_version": 1, "frames": nested(900)}),
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 100_000,
    "deep head": json.dumps({"format_version": 1, "frames": [], "spec": nested(40)}),
    "a version that is true": '{"format_version": true, "frames": []}',
    "a version that is a float": '{"format_version": 1.5, "frames": []}',
    "text as index": '{"format_version": 1, "frames": [{"index": "0", "pts_seconds": 0}]}',
    "true as index": '{"format_version": 1, "frames": [{"index": true, "pts_seconds": 0}]}',
    "a time without end": '{"format_version": 1, "frames": [{"index": 0, "pts_seconds": 1e999}]}',
    "a time that is no number": '{"format_version": 1, "frames": [{"index": 0, "pts_seconds": NaN}]}',
    "a huge index": '{"format_version": 1, "frames": [{"index": 1' + "0" * 400 + ', "pts_seconds": 0}]}',
    "a number of 5000 digits": '{"format_version": 1, "frames": [], "a": ' + "1" * 5000 + "}",
    "digests that are a list": '{"format_version": 1, "frames": [{"index": 0, "pts_seconds": 0, "digests": []}]}',
    "outputs that are numbers": '{"format_version": 1, "frames": [], "outputs": {"output": 1}}',
    "an output without a name": '{"format_version": 1, "frames": [], "outputs": {"output": ""}}',
    "an output with a NUL": '{"format_version": 1, "frames": [], "outputs": {"output": "a\\u0000b"}}',
    "results that are text": f'{{"format_version": 1, {ROWS}, "results": "x"}}',
    "a stream that is null": f'{{"format_version": 1, {ROWS}, "stream": null}}',
    "no UTF-8": b'{"format_version": 1, "frames": [], "a": "\xe9"}',
    "a byte order mark and nothing": b"\xef\xbb\xbf",
    "nothing": "",
    "null": "null",
    "text": '"x"',
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_what_no_sidecar_holds_is_refused_by_every_reader(content, made, tmp_path, capfd):
    path = tmp_path / "x.npy.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    np.save(tmp_path / "x.npy", np.zeros((1, 4, 4), np.float32))
    with pytest.raises(SourceError, match=r"^sidecar '.*x\.npy\.json' (is damaged: |is no sidecar of framencc)[^\n]*$"):
        read_sidecar(path)
    for command in (["verify"], ["report"], ["compare", str(tmp_path / "x.npy")]):
        code, err = answered([*command, str(tmp_path / "x.npy")], capfd)
        assert code == 1
        assert err.startswith(f"framencc: error: sidecar '{path}' is ")


@pytest.mark.parametrize("where", ["summary", "scores", "mean_confidence", "worst", "value"])
def test_a_summary_that_is_not_whole_ends_no_resumed_run_with_an_internal_error(where, made, capfd):
    sidecar, written = made
    way = {
        "summary": ("summary",),
        "scores": ("summary", "scores"),
        "mean_confidence": ("summary", "mean_confidence"),
        "worst": ("summary", "scores", "mean_confidence", "worst"),
        "value": ("summary", "scores", "mean_confidence", "worst", "value"),
    }[where]
    Path("o.npy.json").write_text(changed(sidecar, way, KeyError))
    code, err = answered([*JOB, "--resume"], capfd)
    assert code == 2
    assert "output 'o.npy' exists; give --overwrite to replace it" in err
    assert Path("o.npy").read_bytes() == written["o.npy"]
    Path("o.npy.json").write_text(json.dumps(sidecar))
    assert main([*JOB, "--resume"]) == 0


def test_a_pipe_in_a_sidecars_place_is_refused(made, tmp_path, capfd):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes")
    os.mkfifo(tmp_path / "x.npy.json")
    code, err = answered(["verify", str(tmp_path / "x.npy")], capfd)
    assert code == 1
    assert "is not a regular file" in err


def test_a_sidecar_makes_no_command_read_a_device(made, capfd):
    sidecar, _ = made
    for name in ("output", "validity", "fields", "scores"):
        Path("o.npy.json").write_text(changed(sidecar, ("outputs", name), "/dev/zero"))
        code, _ = answered(["verify", "o.npy"], capfd)
        assert (code, name) in ((1, name), (0, "output"))  # the maps are those of the name that was given

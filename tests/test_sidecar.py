import errno
import json
import math
import os
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sink_readback import names

from framencc.errors import SinkError, SourceError
from framencc.sidecar import FORMAT_VERSION, SidecarWriter, fingerprint, read_sidecar
from framencc.spec import RunSpec
from framencc.staging import sidecar_path

HEAD = {"complete": True, "error": None, "summary": {"n_frames": 3}}


def rows(n_rows):
    rng = np.random.default_rng(0)
    return [
        {"index": i, "pts_seconds": i * 1001 / 30000, "mean_confidence": rng.normal(), "valid_share": 1.0}
        for i in range(n_rows)
    ]


def write(output, n_rows=3, head=HEAD):
    with SidecarWriter(output) as sidecar:
        for row in rows(n_rows):
            sidecar.add_frame(row)
        return sidecar.commit(head)


@pytest.mark.parametrize(
    ("output", "expected"), [("take01.mkv", "take01.mkv.json"), ("dir/%06d.png", "dir/%06d.png.json")]
)
def test_the_name_is_the_outputs_and_json(output, expected, tmp_path):
    assert sidecar_path(tmp_path / output) == tmp_path / expected
    assert write(tmp_path / output) == tmp_path / expected
    assert sorted(path.name for path in (tmp_path / expected).parent.iterdir()) == [Path(expected).name]


@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_what_is_written_is_read_back(n_rows, tmp_path):
    path = write(tmp_path / "out.mkv", n_rows)
    assert read_sidecar(path) == {"format_version": FORMAT_VERSION, **HEAD, "frames": rows(n_rows)}


def test_the_layout_is_for_people_too(tmp_path):
    lines = write(tmp_path / "out.mkv").read_text().splitlines()
    assert lines[:3] == ["{", f'  "format_version": {FORMAT_VERSION},', '  "complete": true,']
    assert lines[-7:-5] == ["  },", '  "frames": [']
    assert lines[-5].startswith('    {"index": 0, "pts_seconds": 0.0, ')
    assert lines[-2:] == ["  ]", "}"]
    assert write(tmp_path / "empty.mkv", 0).read_text().endswith('  "frames": []\n}\n')


def test_numbers_that_json_has_not_become_null(tmp_path):
    row = {"index": 0, "a": math.nan, "b": [math.inf, {"c": np.float32(np.nan)}], "d": np.array([1.5, np.nan])}
    with SidecarWriter(tmp_path / "out.mkv") as sidecar:
        sidecar.add_frame(row)
        path = sidecar.commit({"mean": -math.inf})

    def refuse(name):
        raise AssertionError(f"{name} in the JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["frames"] == [{"index": 0, "a": None, "b": [None, {"c": None}], "d": [1.5, None]}]
    assert content["mean"] is None


def test_floats_come_back_to_the_last_bit(tmp_path):
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, float(np.float32(0.1))]
    with SidecarWriter(tmp_path / "out.mkv") as sidecar:
        sidecar.add_frame({"values": values})
        content = read_sidecar(sidecar.commit({"values": values}))
    for got in (content["values"], content["frames"][0]["values"]):
        assert np.array(got).tobytes() == np.array(values).tobytes()


def test_values_of_other_kinds(tmp_path):
    head = {
        "rate": Fraction(30000, 1001),
        "path": Path("a") / "b",
        "count": np.int64(3),
        "good": np.bool_(True),
        "name": "\u65e5\u672c " + os.fsdecode(b"\xff"),
    }
    content = read_sidecar(write(tmp_path / "out.mkv", head=head))
    assert content["rate"] == "30000/1001"
    assert content["path"] == str(Path("a") / "b")
    assert content["count"] == 3
    assert content["good"] is True
    assert content["name"] == head["name"]


def test_a_spec_comes_back(tmp_path):
    spec = RunSpec(input="in.mp4", output="out.npy", reference=3, ncc={"flat": math.nan, "fill": math.nan})
    content = read_sidecar(write(tmp_path / "out.npy", head={"spec": json.loads(spec.model_dump_json())}))
    assert RunSpec.model_validate(content["spec"]).model_dump_json() == spec.model_dump_json()


def test_nothing_is_visible_before_commit_and_abort_leaves_nothing(tmp_path):
    sidecar = SidecarWriter(tmp_path / "new" / "deep" / "out.mkv")
    sidecar.add_frame({"index": 0})
    assert [path for path in (tmp_path / "new" / "deep").iterdir() if not path.name.startswith(".")] == []
    sidecar.abort()
    sidecar.abort()
    assert names(tmp_path) == []
    for call in (lambda: sidecar.add_frame({}), lambda: sidecar.commit({})):
        with pytest.raises(SinkError, match="was aborted"):
            call()


def test_an_older_sidecar_stays_until_commit(tmp_path):
    path = write(tmp_path / "out.mkv", 1)
    before = path.read_bytes()
    with SidecarWriter(tmp_path / "out.mkv") as sidecar:
        sidecar.add_frame({"index": 7})
    assert path.read_bytes() == before
    write(tmp_path / "out.mkv", 2)
    assert len(read_sidecar(path)["frames"]) == 2
    assert names(tmp_path) == ["out.mkv.json"]


def test_commit_twice_and_abort_after_commit_change_nothing(tmp_path):
    sidecar = SidecarWriter(tmp_path / "out.mkv")
    path = sidecar.commit(HEAD)
    before = path.read_bytes()
    assert sidecar.commit({"complete": False}) == path
    sidecar.abort()
    assert path.read_bytes() == before
    assert names(tmp_path) == ["out.mkv.json"]


def test_the_writers_own_names_are_refused(tmp_path):
    for name in ("frames", "format_version"):
        with SidecarWriter(tmp_path / "out.mkv") as sidecar, pytest.raises(ValueError, match=name):
            sidecar.commit({name: 1})


def test_memory_does_not_grow_with_the_clip(tmp_path):
    with SidecarWriter(tmp_path / "out.mkv") as sidecar:
        tracemalloc.start()
        for index in range(20_000):
            sidecar.add_frame({"index": index, "note": "x" * 200})
        sidecar.commit(HEAD)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2_500_000  # the file is over 4 MB; copying takes one buffer of 1 MiB
    assert (tmp_path / "out.mkv.json").stat().st_size > 4_000_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    sidecar = SidecarWriter(tmp_path / "new" / "out.mkv")
    sidecar._rows.close()
    full = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115  (abort closes it)
    monkeypatch.setattr(sidecar, "_rows", full)
    with pytest.raises(SinkError, match=f"^sidecar '.*' cannot be written: {os.strerror(errno.ENOSPC)}$"):
        sidecar.add_frame({"index": 0})
    with pytest.raises(SinkError, match="was failed"):
        sidecar.commit(HEAD)
    sidecar.abort()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"^sidecar '.*out\.mkv\.json' cannot be written: Not a directory$"):
        SidecarWriter(tmp_path / "file" / "out.mkv")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "is damaged"),
        (b"\xff\xfe{}", "is damaged"),
        (b"[]", "is no sidecar of framencc"),
        (b'{"frames": []}', "is no sidecar of framencc"),
        (b'{"format_version": 1}', "is no sidecar of framencc"),
        (b'{"format_version": 999, "frames": []}', "has format 999; this framencc reads up to"),
    ],
)
def test_what_is_no_sidecar_is_told_in_one_line(content, problem, tmp_path):
    path = tmp_path / "out.mkv.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=problem) as caught:
        read_sidecar(path)
    assert "\n" not in str(caught.value)


def test_fingerprint_of_a_file_notices_changes_at_both_ends(tmp_path):
    path = tmp_path / "in.mp4"
    content = bytearray(os.urandom(3 << 20))
    seen = set()
    for position in (None, 0, len(content) - 1):
        if position is not None:
            content[position] ^= 1
        path.write_bytes(content)
        os.utime(path, (0, 1_700_000_000.25))
        found = fingerprint(path)
        seen.add(found.pop("sha256_of_first_and_last_mib"))
        assert found == {"path": str(path), "bytes": 3 << 20, "modified": "2023-11-14T22:13:20.250000+00:00"}
    assert len(seen) == 3


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1, 2 << 20])
def test_fingerprint_of_a_small_file_is_that_of_all_its_bytes(size, tmp_path):
    import hashlib

    content = os.urandom(size)
    (tmp_path / "in.npy").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert fingerprint(tmp_path / "in.npy")["sha256_of_first_and_last_mib"] == expected


def test_fingerprint_of_a_sequence_counts_the_files_that_are_given(tmp_path):
    files = []
    for index, size in ((1, 1), (2, 5), (10, 7)):
        files.append(tmp_path / f"f{index}.png")
        files[-1].write_bytes(bytes(size))
        os.utime(files[-1], (0, index))
    (tmp_path / "notes.txt").write_bytes(b"not counted")
    assert fingerprint(tmp_path / "f%d.png", files) == {
        "path": str(tmp_path / "f%d.png"),
        "files": 3,
        "bytes": 13,
        "modified": "1970-01-01T00:00:10.000000+00:00",
        "first": "f1.png",
        "last": "f10.png",
    }


@pytest.mark.parametrize("files", [None, ["absent.png"]])
def test_fingerprint_of_nothing_is_an_error(files, tmp_path):
    with pytest.raises(SourceError, match=r"cannot be read: No such file"):
        fingerprint(tmp_path / "absent.mp4", files and [tmp_path / name for name in files])


def test_importing_it_starts_nothing_heavy():
    import subprocess

    script = "import sys, framencc.sidecar, framencc.sinks; print('numba' in sys.modules, 'tifffile' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert result.stdout.split() == ["False", "False"]

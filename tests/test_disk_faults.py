"""Every write, flush, rename and close of a run fails in turn: the old output stays, and a later run succeeds."""

import errno
import os
import sys

import media
import numpy as np
import pytest
from faulty_files import OPERATIONS, failing
from running import assert_nothing_runs
from sink_readback import names, visible

from framencc.config import make_spec
from framencc.errors import SinkError
from framencc.pipeline import run
from framencc.verification import verify

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="an open file's name is looked up in /proc"),
]

JOBS = {
    "pictures and array": {"output": "maps/%d.png", "validity": "why.npy"},
    "fields": {"output": "out.npy", "fields": "flow/%d.flo", "warp": {"method": "translation"}},
    "results": {"output": "out.npy", "scores": {"path": "s.csv", "temporal_mean": "mean.png"}},
    "video": {"output": "out.mkv"},
    "preview": {"output": "out.npy", "preview": "preview.mp4"},
}


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(5, 24, 32))

    def make(**options):
        values = {"input": "in.npy", "reference": 0, "segment_frames": 2, "overwrite": True, "threads": 1}
        return make_spec(values | options)

    return make


def contents(folder):
    files = [folder / name for name in visible(folder) if not name.endswith(".json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


# A video's faults take an encoder's start each; every third will do there, and each has its turn in the others.
STEPS = {name: 3 if name == "video" else 1 for name in JOBS}
ALL = [pytest.param(JOBS[name], step, marks=pytest.mark.slow, id=name) for name, step in STEPS.items()]
SAMPLE = pytest.param(JOBS["pictures and array"], 7, id="every seventh of pictures and array")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("options", "step"), [SAMPLE, *ALL])
def test_each_fault_is_told_and_costs_nothing(options, step, operation, job, tmp_path):
    old, new = job(**options, ncc={"radius": 1}), job(**options, frames="0:4")
    run(new)
    expected = contents(tmp_path)
    with failing(operation, None, tmp_path) as counted:
        run(new)
    assert counted.n_done > 4
    n_refused = 0
    for place in range(0, counted.n_done, step):
        run(old)
        before = contents(tmp_path)
        assert before != expected
        code = (errno.ENOSPC, errno.EIO)[place % 2]
        with failing(operation, place, tmp_path, code) as faults:
            try:
                run(new)
            except SinkError as error:
                n_refused += 1
                assert os.strerror(code) in str(error), f"{operation} {place}"  # noqa: PT017
                assert len(str(error).splitlines()) == 1  # noqa: PT017
                # What is not complete is not there, and what was there still is.
                assert contents(tmp_path) == before, f"{operation} {place}"
        assert faults.n_failed == 1, f"{operation} {place}"
        assert_nothing_runs()
        run(job(**options, frames="0:4", resume=True))
        assert contents(tmp_path) == expected, f"{operation} {place}"
        assert verify(new.output).problems == []
    # Only of what holds nothing may a failed close pass.
    n_tried = len(range(0, counted.n_done, step))
    assert n_refused >= (n_tried - 4 if operation == "close" else n_tried)
    assert [name for name in names(tmp_path) if name not in visible(tmp_path)] == []

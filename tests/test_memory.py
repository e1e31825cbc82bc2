"""Memory does not grow with the clip."""

import sys

import pytest
from running import long_clip, python

# The peak of the process itself; ffmpeg's own does not count.
PROGRAM = """
import resource, sys
from framencc.cli import main
assert main(["run", "-q", *sys.argv[1:], "--reference", "0"]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(clip, output, *options):
    result = python(PROGRAM, clip, output, *options)
    assert result.returncode == 0, result.stderr
    return int(result.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource.getrusage is POSIX's")
def test_ten_times_the_frames_take_the_same_memory(tmp_path):
    clip = long_clip(tmp_path / "in.mp4", 2000, "320x240")
    peak(clip, tmp_path / "warm.mkv", "--frames", "0:2")  # so that neither of the two compiles a kernel
    short = peak(clip, tmp_path / "short.mkv", "--frames", "0:200")
    long = peak(clip, tmp_path / "long.mkv")
    assert long <= 1.05 * short

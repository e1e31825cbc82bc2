"""What happens before the first frame: what is imported, what is configured, and how an input is opened meanwhile."""

import ctypes
import json
import os
import signal
import threading

import numpy as np
import pytest
from media import random_frames, write_clip
from running import assert_nothing_runs, command, python, wait_until

from framencc.config import make_spec
from framencc.errors import SourceError, SpecError
from framencc.sources import opening
from framencc.sources.opening import Opening

CHOICES = {"NUMBA_THREADING_LAYER": "workqueue", "OMP_WAIT_POLICY": "passive"}
HEAVY = ("numba", "cv2", "scipy", "skimage", "numpy", "PIL", "tifffile")

# The command as the process that is started for it alone; at its end it says what there is.
COMMAND = """
import atexit, json, os, sys
from framencc.cli import main
atexit.register(lambda: print(json.dumps([sorted(sys.modules), dict(os.environ)])))
sys.exit(main())
"""


def end_of_command(*words, **environment):
    """Run the command to its end; return the modules that it has imported, and its environment."""
    program = f"import sys; sys.argv = ['framencc', *sys.argv[1:]]\n{COMMAND}"
    result = python(program, *words, **environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def clip(tmp_path):
    frames = random_frames(4, bits=8)
    write_clip(tmp_path / "clip.mkv", frames)
    return tmp_path / "clip.mkv", frames


@pytest.fixture
def unset(monkeypatch):
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["config"]])
def test_help_loads_nothing_heavy(words, unset):
    modules, _ = end_of_command(*words)
    assert [name for name in HEAVY if name in modules] == []


def test_the_command_chooses_the_threading_of_its_own_process(unset):
    _, environment = end_of_command("--version")
    assert {name: environment.get(name) for name in CHOICES} == CHOICES
    given = {"NUMBA_THREADING_LAYER": "omp", "OMP_WAIT_POLICY": "active"}
    _, environment = end_of_command("--version", **given)
    assert {name: environment.get(name) for name in CHOICES} == given


# Prints how many pages the system has to give for ten frames of eight arrays each, after a first frame.
PAGES = """
import resource, sys
from framencc.cli.process import claim

def compute_frame():
    arrays = [bytearray(6 << 20) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "claimed":
    claim()
before = compute_frame()
print([compute_frame() for _ in range(10)][-1] - before)
"""


@pytest.mark.skipif(os.name != "posix" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="it is of glibc")
def test_memory_of_a_frame_serves_the_next_one_unless_the_user_has_said_otherwise(monkeypatch):
    for variable in ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(variable, raising=False)
    given, kept = (int(python(PAGES, whose).stdout) for whose in ("a host's", "claimed"))
    assert kept * 10 < given
    asked = int(python(PAGES, "claimed", MALLOC_MMAP_THRESHOLD_="131072").stdout)
    assert asked * 2 > given


def test_the_command_works_with_a_c_library_that_has_no_such_settings(unset):
    program = "import ctypes, sys; ctypes.CDLL = lambda name: object(); sys.argv = ['framencc', '--version']\n"
    result = python(program + "from framencc.cli import main\nassert main() == 0\nprint('done')")
    assert (result.returncode, result.stdout.split()[-1], result.stderr) == (0, "done", "")


def test_a_host_process_keeps_its_threading(unset):
    program = (
        "import os, threading; before = dict(os.environ)\n"
        "import framencc, framencc.cli, framencc.pipeline, framencc.sources.opening\n"
        "assert framencc.cli.main(['config', '--schema']) == 0\n"
        "import numpy; framencc.local_ncc(*numpy.zeros((2, 9, 9), 'u1'), threads=1)\n"
        "import numba; assert numba.config.THREADING_LAYER == 'default'\n"
        "assert dict(os.environ) == before; assert threading.active_count() == 1"
    )
    result = python(program)
    assert result.returncode == 0, result.stderr


def test_a_run_uses_the_layer_that_the_command_chooses(clip, tmp_path, unset):
    path, _ = clip
    program = (
        f"import sys; sys.argv = {['framencc', 'run', str(path), str(tmp_path / 'o.npy'), '--reference', '0', '-q']}"
    )
    program += "\nfrom framencc.cli import main\nassert main() == 0\nimport numba; print(numba.config.THREADING_LAYER)"
    assert python(program).stdout.split()[-1] == "workqueue"


def test_a_video_is_opened_without_numba(clip):
    path, _ = clip
    program = (
        "import sys\nfrom framencc.config import make_spec\nfrom framencc.sources.opening import Opening\n"
        f"spec = make_spec({{'input': {str(path)!r}, 'output': 'o.npy', 'reference': 0}})\n"
        "with Opening(spec) as started, started.take() as source:\n"
        "    print(len(list(source.frames())), 'numba' in sys.modules)"
    )
    result = python(program)
    assert (result.returncode, result.stdout) == (0, "4 False\n"), result.stderr


def job(path, **options):
    return make_spec({"input": str(path), "output": "o.npy", "reference": 0, **options})


def test_an_input_that_is_not_taken_is_closed(clip):
    with Opening(job(clip[0])):
        pass
    assert_nothing_runs()
    assert not running_openings()
    with pytest.raises(ZeroDivisionError), Opening(job(clip[0])) as started, started.take():
        raise ZeroDivisionError
    assert_nothing_runs()


class Interrupted(BaseException):
    """What a signal raises."""


def test_an_interrupt_does_not_wait_for_an_input_that_cannot_be_opened_now(tmp_path, monkeypatch):
    """As on a disk that does not answer; when it does answer, the input is closed."""
    array = tmp_path / "in.npy"
    np.save(array, random_frames(2, 9, 9))
    opened, answers = opening.open_source, threading.Event()

    def open_late(spec):
        assert answers.wait(60)
        sources.append(opened(spec))
        return sources[-1]

    def interrupt(*_):
        raise Interrupted

    sources = []
    monkeypatch.setattr(opening, "open_source", open_late)
    monkeypatch.setattr(opening, "_A_MOMENT", 0.1)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Interrupted), Opening(job(array)) as late:
            late.take()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert sources == []
    answers.set()
    wait_until(lambda: sources and not running_openings())
    with pytest.raises(SourceError, match="has been closed"):
        next(sources[0].frames())


def running_openings():
    return [thread for thread in threading.enumerate() if thread.name == "framencc-opening"]


def test_what_is_wrong_with_an_input_is_told_when_it_is_taken(tmp_path):
    with Opening(job(tmp_path / "absent.mkv")) as started, pytest.raises(SpecError, match="does not exist"):
        started.take()
    (tmp_path / "bad.mkv").write_text("nothing")
    with Opening(job(tmp_path / "bad.mkv")) as started, pytest.raises(SourceError, match="cannot be read as a video"):
        started.take()


@pytest.mark.parametrize(("frames", "begin"), [(None, 0), ("2:", 2)])
def test_the_first_frame_can_be_had_before_its_turn(clip, frames, begin):
    path, expected = clip
    taken = []

    def allocate(shape, dtype):
        taken.append(np.empty(shape, dtype))
        return taken[-1]

    with Opening(job(path, frames=frames)) as started, started.take() as source:
        assert source.begins_with(begin)
        assert not source.begins_with(begin + 1)
        first = source.first()
        assert source.first() is first
        found = list(source.frames(allocate))
    assert [frame.index for frame in found] == list(range(begin, 4))
    for frame in found:
        assert np.array_equal(frame.data, expected[frame.index])
        assert any(frame.data is buffer for buffer in taken)
    assert np.array_equal(first.data, expected[begin])
    assert not np.shares_memory(first.data, found[0].data)


def test_more_threads_than_can_be_started_for_a_codec_do_no_harm(clip, monkeypatch):
    path, expected = clip
    for threads in (2000, None):
        monkeypatch.setenv("NUMBA_NUM_THREADS", "2000")
        with Opening(job(path, threads=threads)) as started, started.take() as source:
            assert np.array_equal([frame.data for frame in source.frames()], expected)


def decoders(folder, *words):
    """Count how often a run opens its input with ffmpeg to get at its pixels."""
    import imageio_ffmpeg

    log = folder / "log"
    log.unlink(missing_ok=True)
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {imageio_ffmpeg.get_ffmpeg_exe()} "$@"\n')
    program.chmod(0o755)
    result = command("run", *words, "--overwrite", IMAGEIO_FFMPEG_EXE=str(program))
    assert result.returncode == 0, result.stderr
    return sum("rawvideo" in line for line in log.read_text().splitlines())


def test_one_decoder_serves_the_reference_and_the_take(clip, tmp_path):
    path, _ = clip
    assert decoders(tmp_path, path, tmp_path / "o.npy", "--reference", 0) == 1
    one = np.load(tmp_path / "o.npy")
    assert decoders(tmp_path, path, tmp_path / "o.npy", "--reference", 1) == 2
    assert not np.array_equal(np.load(tmp_path / "o.npy"), one)
    assert decoders(tmp_path, path, tmp_path / "o.npy", "--reference", 1, "--frames", "1:") == 1
    assert np.nanmean(np.load(tmp_path / "o.npy")[0]) == pytest.approx(1)
    assert np.nanmean(one[0]) == pytest.approx(1)


@pytest.mark.slow
def test_the_command_says_when_it_compiles(clip, tmp_path):
    path, _ = clip
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "FRAMENCC_CACHE": "1"}

    def said(*words, **environment):
        result = command("run", path, tmp_path / "o.npy", "--reference", 0, "--overwrite", *words, **environment)
        assert result.returncode == 0, result.stderr
        return [line for line in result.stderr.splitlines() if "compiling" in line]

    assert said("-v", **cache) == ["framencc: compiling kernels for this machine; this happens once"]
    assert said("-v", **cache) == []
    assert said(**{**cache, "NUMBA_CACHE_DIR": str(tmp_path / "other")}) == []  # no terminal, no progress

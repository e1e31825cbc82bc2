"""Children: they end with their parent however it ends, under their own limits, and one that hangs is named."""

import contextlib
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from running import COMMAND, command, hidden_bytes, long_clip, processes, python, start, thinned, wait_until
from sink_readback import names

from framencc import children
from framencc.children import kill_child, start_child
from framencc.sidecar import read_sidecar

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked for all this on Linux only"),
]

SLEEP = ["sleep", "60"]


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def limits(pid):
    return {
        line[:26].strip(): line[26:].split()[0] for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    }


@pytest.fixture(params=["setpriv", "python"])
def without(request, tmp_path):
    """The environment of a process that finds setpriv, or does not, so that a small Python program does its work."""
    if request.param == "setpriv":
        assert shutil.which("setpriv"), "part of util-linux"
        return {}
    for program in ("sh", "sleep", "grep"):
        (tmp_path / program).symlink_to(shutil.which(program))
    return {"PATH": str(tmp_path)}


def program_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]


@pytest.fixture
def sleeper():
    child = start_child(SLEEP, memory_mib=500, start_new_session=True)
    wait_until(lambda: b"sleep" in program_of(child.pid))
    yield child
    kill_child(child)
    child.wait()


def test_limits_of_a_child(sleeper):
    found = limits(sleeper.pid)
    assert found["Max core file size"] == "0"
    assert found["Max data size"] == str(500 << 20)
    unlimited = start_child(SLEEP)
    wait_until(lambda: b"sleep" in program_of(unlimited.pid))
    assert limits(unlimited.pid)["Max data size"] == limits(os.getpid())["Max data size"]
    kill_child(unlimited)
    assert unlimited.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("given", "expected"), [(4096, 1 << 20), (512, 1 << 19)])
def test_a_limit_is_never_above_the_one_there_is(given, expected, without):
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
        "from framencc.children import start_child\n"
        f"child = start_child(['sh', '-c', 'sleep 0.3; ulimit -d; ulimit -c'], memory_mib={given})\n"
        "assert child.wait() == 0"
    )
    result = python(program, **without)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{expected}\n0\n", "")


def test_signals_that_python_ignores_are_not_ignored_by_the_program(without):
    program = (
        "from framencc.children import start_child; start_child(['sh', '-c', 'grep SigIgn /proc/self/status']).wait()"
    )
    written = python(program, **without).stdout
    assert int(written.split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0


def test_a_child_outlives_the_thread_that_asked_for_it():
    found = []
    thread = threading.Thread(target=lambda: found.append(start_child(SLEEP)))
    thread.start()
    thread.join()
    wait_until(lambda: b"sleep" in program_of(found[0].pid))
    time.sleep(0.2)
    assert found[0].poll() is None
    kill_child(found[0])
    assert found[0].wait() == -signal.SIGKILL


@pytest.mark.parametrize("number", [None, signal.SIGSTOP])
def test_a_child_ends_with_its_parent_even_when_it_is_stopped(number, without):
    program = (
        "import os, signal, sys, time; from framencc.children import start_child\n"
        "child = start_child(['sleep', '60'], start_new_session=True)\n"
        "while b'sleep' not in open(f'/proc/{child.pid}/cmdline', 'rb').read().split(b'\\0')[0]: time.sleep(0.01)\n"
        f"{'' if number is None else f'os.kill(child.pid, {int(number)})'}\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = python(program, **without)
    assert result.returncode == -signal.SIGKILL
    wait_until(lambda: not is_there(int(result.stdout)), 5)


def test_what_a_child_has_started_in_turn_is_killed_with_it():
    child = start_child(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True)
    grandchild = int(child.stdout.readline())
    kill_child(child)
    kill_child(child)
    assert child.wait() == -signal.SIGKILL
    kill_child(child)
    wait_until(lambda: not is_there(grandchild), 5)
    child.stdout.close()


def test_one_that_is_interrupted_while_it_is_started_is_not_left(monkeypatch):
    """The answer of the thread that starts children is late, and the caller does not wait for it any more."""
    popen, made = subprocess.Popen, []

    def slow(*arguments, **options):
        time.sleep(0.3)
        made.append(popen(*arguments, **options))
        return made[0]

    def interrupt():
        time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(children.subprocess, "Popen", slow)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        start_child(SLEEP, start_new_session=True)
    thread.join()
    wait_until(lambda: made and made[0].returncode is not None, 5)
    assert made[0].returncode == -signal.SIGKILL


def test_children_start_while_other_threads_multiply():
    """A real fork would hang here: OpenBLAS stops its threads before one, and waits for them for ever."""
    program = (
        "import threading, numpy as np; from framencc.children import start_child\n"
        "matrix, done = np.ones((400, 400)), threading.Event()\n"
        "def multiply():\n"
        "    while not done.is_set(): matrix @ matrix\n"
        "thread = threading.Thread(target=multiply); thread.start()\n"
        "print(sum(start_child(['true']).wait() for _ in range(20))); done.set(); thread.join()"
    )
    assert python(program).stdout == "0\n"


def test_a_file_that_is_no_program_is_told(tmp_path):
    (tmp_path / "ffmpeg").write_bytes(b"\x7fELF nothing")
    (tmp_path / "ffmpeg").chmod(0o755)
    child = start_child([str(tmp_path / "ffmpeg")], stderr=subprocess.PIPE)
    assert child.communicate()[1]
    assert child.returncode > 0
    (tmp_path / "ffmpeg").chmod(0o644)
    with pytest.raises(PermissionError):
        start_child([str(tmp_path / "ffmpeg")])
    with pytest.raises(FileNotFoundError):
        start_child(["no such program"])


@pytest.mark.parametrize(
    "content", [b"\x7fELF nothing", b"#!/no/such/shell\n", b"#!/bin/sh\n", b"#!/bin/sh\nexec sleep 60\n"]
)
def test_another_program_of_the_name_setpriv_is_not_used(content, tmp_path, monkeypatch):
    (tmp_path / "setpriv").write_bytes(content)
    (tmp_path / "setpriv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(children, "_TRIAL_SECONDS", 0.5)
    children._setpriv.cache_clear()
    try:
        child = start_child(["sh", "-c", "ulimit -c; exit 3"], stdout=subprocess.PIPE)
        assert child.communicate()[0] == b"0\n"
        assert child.returncode == 3
    finally:
        children._setpriv.cache_clear()


@pytest.mark.parametrize("interpreter", ["", "/opt/studio/bin/paint"])
def test_without_setpriv_and_an_interpreter_children_just_start(interpreter, monkeypatch):
    monkeypatch.setattr(children, "_setpriv", lambda: None)
    monkeypatch.setattr(sys, "executable", interpreter)
    child = start_child(["sh", "-c", "ulimit -c; exit 3"], memory_mib=500, stdout=subprocess.PIPE)
    written, _ = child.communicate()
    soft = resource.getrlimit(resource.RLIMIT_CORE)[0]
    assert written.decode().strip() == ("unlimited" if soft == resource.RLIM_INFINITY else str(soft // 512))
    assert child.returncode == 3


# ---------------------------------------------------------------------------------------------------- of a run


@pytest.fixture(scope="module")
def endless_clip(tmp_path_factory):
    return long_clip(tmp_path_factory.mktemp("endless") / "long.mp4", 3000)


@pytest.fixture
def busy_run(endless_clip, tmp_path):
    """Start a run that would take many seconds, over an older output, and wait until it is in the middle."""
    (tmp_path / "out.mkv").write_text("old")
    words = ["run", endless_clip, tmp_path / "out.mkv", "--reference", 0, "--overwrite", "--limits.stall-seconds", 1]
    process = start(*words)
    try:
        wait_until(lambda: hidden_bytes(tmp_path) > 1 << 20 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        for pid in processes(str(tmp_path)) | processes(str(endless_clip)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # one that a failed test has stopped would stay for ever
        process.communicate()


def child_of_run(role, endless_clip, folder):
    (pid,) = processes(str(endless_clip if role == "decoder" else folder))
    return pid


@pytest.mark.parametrize("role", ["decoder", "encoder"])
def test_a_child_that_hangs_is_killed_and_named(busy_run, endless_clip, tmp_path, role):
    os.kill(child_of_run(role, endless_clip, tmp_path), signal.SIGSTOP)
    stdout, stderr = busy_run.communicate(timeout=20)
    assert (busy_run.returncode, stdout) == (1, "")
    assert len(stderr.splitlines()) == 1
    what = f"input '{endless_clip}' cannot be read on from frame " if role == "decoder" else "output '"
    assert stderr.startswith(f"framencc: error: {what}")
    assert stderr.endswith(": ffmpeg made no progress for 1 s and was killed\n")
    assert processes(str(endless_clip)) == processes(str(tmp_path)) == {}
    assert names(tmp_path) == ["out.mkv"]
    assert (tmp_path / "out.mkv").read_text() == "old"


@pytest.mark.parametrize("role", thinned(["decoder", "encoder", "none"], "decoder"))
def test_no_child_outlives_a_run_killed_outright_even_one_that_hangs(busy_run, endless_clip, tmp_path, role):
    if role != "none":
        os.kill(child_of_run(role, endless_clip, tmp_path), signal.SIGSTOP)
        time.sleep(0.2)
    busy_run.kill()
    busy_run.communicate(timeout=15)
    wait_until(lambda: not (processes(str(endless_clip)) or processes(str(tmp_path))), 15)
    assert (tmp_path / "out.mkv").read_text() == "old"


def test_the_decoder_of_a_run_has_the_limits_of_its_spec(busy_run, endless_clip, tmp_path):
    assert limits(child_of_run("decoder", endless_clip, tmp_path))["Max data size"] == str(8192 << 20)
    assert limits(child_of_run("encoder", endless_clip, tmp_path))["Max core file size"] == "0"


@pytest.mark.slow
def test_a_decoder_without_memory_is_no_damage(tmp_path):
    """Pictures of 16K need more than the least that can be set; ffmpeg itself then hangs."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "color=s=16384x8000:r=25"]
    options = ["-frames:v", "4", "-c:v", "libx264", "-preset", "ultrafast", tmp_path / "in.mp4"]
    subprocess.run([*ffmpeg, *options], check=True)
    job = ("run", tmp_path / "in.mp4", tmp_path / "out.mkv", "--reference", 0)
    result = command(*job, "--limits.decoder-memory-mib", 256)
    assert result.returncode == 1
    assert result.stderr.startswith(f"framencc: error: input '{tmp_path / 'in.mp4'}' cannot be read")
    assert "limits.decoder_memory_mib = 256" in result.stderr
    assert names(tmp_path) == ["in.mp4"]


def wrapped_ffmpeg(folder, after_encoding):
    """Make a program that is ffmpeg, but for what an encoder does after its output is complete."""
    path = folder / "wrapped"
    real = shlex.quote(imageio_ffmpeg.get_ffmpeg_exe())
    path.write_text(
        f'#!/bin/sh\n{real} "$@"\nstatus=$?\ncase "$*" in *pipe:0*) {after_encoding};; esac\nexit $status\n'
    )
    path.chmod(0o755)
    return str(path)


def run_few_frames(folder, program):
    np.save(folder / "in.npy", np.random.default_rng(0).integers(0, 256, (5, 36, 52), np.uint8))
    words = ["run", folder / "in.npy", folder / "out.mkv", "--reference", 0, "--limits.stall-seconds", 1]
    environment = os.environ | {"IMAGEIO_FFMPEG_EXE": program}
    return subprocess.run(
        [*COMMAND, *map(str, words)], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_encoder_that_hangs_at_its_end_is_killed_and_named(tmp_path):
    (tmp_path / "bin").mkdir()
    result = run_few_frames(tmp_path, wrapped_ffmpeg(tmp_path / "bin", "kill -STOP $$"))
    assert (result.returncode, result.stdout) == (1, "")
    message = "cannot be written: ffmpeg made no progress for 1 s and was killed"
    assert result.stderr == f"framencc: error: output '{tmp_path / 'out.mkv'}' {message}\n"
    assert processes(str(tmp_path)) == {}
    assert names(tmp_path) == ["bin", "bin/wrapped", "in.npy"]


def test_an_encoder_that_gets_on_at_its_end_may_take_its_time(tmp_path):
    (tmp_path / "bin").mkdir()
    getting_on = "for n in 1 2 3 4 5; do sleep 0.5; echo @packet $n @ >&2; done"
    result = run_few_frames(tmp_path, wrapped_ffmpeg(tmp_path / "bin", getting_on))
    assert result.returncode == 0, result.stderr
    assert read_sidecar(tmp_path / "out.mkv.json")["complete"] is True


@pytest.mark.parametrize(("given", "expected"), [({}, 0x200), ({"creationflags": 0x08000000}, 0x08000200)])
def test_on_windows_a_child_is_out_of_reach_of_the_consoles_ctrl_c(given, expected, monkeypatch):
    started = {}
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.update(options, command=command))
    start_child(SLEEP, start_new_session=True, **given)
    assert started == {"command": SLEEP, "start_new_session": True, "creationflags": expected}


def test_elsewhere_a_child_is_started_without_flags_of_windows(monkeypatch):
    started = {}
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.update(options, command=command))
    start_child(SLEEP, start_new_session=True)
    assert started == {"command": SLEEP, "start_new_session": True}

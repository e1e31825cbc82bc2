"""Signals: whenever they come, the command ends with one line at most, its own exit code, and nothing half-done."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import media
import pytest
from running import COMMAND, python, start, wait_until
from sink_readback import names

from framencc.sidecar import read_sidecar
from framencc.staging import signals_deferred

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="the state of signals is looked up in /proc"),
]

FOOTAGE = str(media.footage())


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = (line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def job(folder):
    return ["run", FOOTAGE, folder / "out.mkv", "--reference", 0]


@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4])
def test_an_early_interrupt_is_one_line(tmp_path, delay):
    process = start(*job(tmp_path))
    wait_until(lambda: catches(process.pid, signal.SIGTERM))
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "framencc: error: interrupted; no output is half-written\n"
    assert names(tmp_path) == []


@pytest.mark.parametrize("words", [["--help"], ["config"], ["warmup"]])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_so_it_is_for_every_command_and_signal(words, number, code):
    process = start(*words)
    wait_until(lambda: catches(process.pid, signal.SIGHUP))
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (code, "")
    assert stderr == "framencc: error: interrupted; no output is half-written\n"


def test_under_nohup_a_hangup_is_nothing(tmp_path):
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [sys.executable, "-c", program, *COMMAND, *map(str, job(tmp_path))]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: catches(process.pid, signal.SIGTERM))
    for _ in range(5):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    stdout, _ = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, f"{tmp_path / 'out.mkv'}\n")
    assert read_sidecar(tmp_path / "out.mkv.json")["complete"] is True


LOSSY = """
import signal, sys, time
from framencc.cli.signals import Handlers, Interrupted, work_begins

class Lossy:
    def __del__(self):
        signal.raise_signal(int(sys.argv[1]))

class Broken:
    def __del__(self):
        raise ValueError("half made")

try:
    with Handlers(own_process=True):
        work_begins()
        Lossy()
        for _ in range(100):
            time.sleep(0.1)
except Interrupted as interrupted:
    Broken()
    print(interrupted.number, end="")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_a_destructor_is_neither_lost_nor_a_traceback(number):
    result = python(LOSSY, int(number))
    assert (result.returncode, result.stdout, result.stderr) == (0, str(int(number)), "")


def test_the_handlers_are_set_before_anything_heavy_is_loaded():
    program = "import json, sys, framencc.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(python(program).stdout))
    assert loaded & {"cyclopts", "pydantic", "framencc.spec", "framencc.config", "framencc.cli.commands"} == set()


@pytest.mark.parametrize("own", [None, signal.SIG_DFL, signal.SIG_IGN])
def test_called_from_python_the_handlers_are_put_back(own, capsys):
    from framencc.cli import main

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handler = (lambda *_: None) if own is None else own
    before = {number: signal.signal(number, handler) for number in numbers}
    hook = sys.unraisablehook
    try:
        assert main(["config"]) == 0
        assert [signal.getsignal(number) for number in numbers] == [handler] * 3
        assert sys.unraisablehook is hook
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def test_a_signal_to_a_call_from_python_ends_the_call_alone(tmp_path, monkeypatch, capsys):
    from framencc.cli import main

    monkeypatch.setattr("framencc.pipeline.run", lambda *_, **__: os.kill(os.getpid(), signal.SIGHUP))
    assert main([str(word) for word in job(tmp_path)]) == 129
    assert capsys.readouterr() == ("", "framencc: error: interrupted; no output is half-written\n")


def test_deferred_signals_arrive_afterwards_and_an_ignored_one_hides_no_other():
    arrived = []
    before = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number)),
    }
    try:
        with signals_deferred():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            assert arrived == []
        assert arrived == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for number, old in before.items():
            signal.signal(number, old)

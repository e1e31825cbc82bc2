"""The command line: one line for every mistake, results on stdout and nothing else there."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image
from running import COMMAND, assert_nothing_runs, command, python
from sink_readback import names

from framencc.cli import main
from framencc.config import make_spec
from framencc.sidecar import read_sidecar

pytestmark = pytest.mark.timeout(90)

FOOTAGE = str(media.footage())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is the working one, with a good clip, good pictures, and bad files of many kinds."""
    monkeypatch.chdir(tmp_path)
    clip = media.random_frames(4)
    media.write_clip(tmp_path / "good.mkv", clip)
    Image.fromarray(clip[0]).save("good.png")
    Image.fromarray(clip[0, :-1]).save("short.png")
    np.save("float.npy", clip[0].astype(np.float32))
    Path("existing.mkv").write_text("old")
    Path("empty.mp4").touch()
    Path("empty.png").touch()
    Path("text.mp4").write_text("ffconcat version 1.0\nfile good.mkv\n")
    Path("text.npy").write_text("no array")
    Path("link.mkv").symlink_to("good.mkv")
    Path("gap").mkdir()
    for number in (1, 2, 4):
        Image.fromarray(clip[0]).save(f"gap/f_{number}.png")
    Path("nothing").mkdir()
    for name, text in {
        "good": 'input = "good.mkv"\noutput = "out.mkv"\nreference = 0\n',
        "typo": "[ncc]\nraduis = 3\n",
        "unheard": "[ncc]\nxyzzy = 3\n",
        "broken": "input = \n",
        "range": "[ncc]\nradius = 128\n",
        "type": '[ncc]\nradius = "wide"\n',
        "truth": "[ncc]\nnoise_sigma = true\n",
    }.items():
        Path(name + ".toml").write_text(text)
    Path("latin.toml").write_bytes(b'input = "\xe9"\n')
    return tmp_path


GOOD = ("good.mkv", "out.mkv", "--reference", "0")
MISTAKES = {
    "no input": (("absent.mp4", *GOOD[1:]), 2, "input 'absent.mp4' does not exist"),
    "input of no bytes": (("empty.mp4", *GOOD[1:]), 1, "input 'empty.mp4' is empty"),
    "text named .mp4": (("text.mp4", *GOOD[1:]), 1, "input 'text.mp4' .*format"),
    "text named .npy": (("text.npy", "out.npy", "--reference", "0"), 1, "input 'text.npy' is no .npy file"),
    "no picture in the folder": (("nothing", *GOOD[1:]), 2, "'nothing' holds no picture"),
    "a gap": (("gap/f_%d.png", *GOOD[1:]), 2, "lacks number 3, between 'f_2.png' and 'f_4.png'; allow_gaps"),
    "no reference file": ((*GOOD[:3], "absent.png"), 2, "reference 'absent.png' does not exist"),
    "reference of no bytes": ((*GOOD[:3], "empty.png"), 1, "'empty.png'"),
    "reference of another size": ((*GOOD[:3], "short.png"), 2, "'short.png' is 52 x 35 pixels, .* 52 x 36"),
    "reference beyond the end": ((*GOOD[:3], "4"), 2, "reference = 4: .*no frame 4, .*has 4 frames"),
    "negative reference": ((*GOOD[:3], "-1"), 2, "reference: a frame index counts from 0"),
    "float reference with noise": ((*GOOD[:3], "float.npy", "--ncc.noise-sigma", "2"), 2, "ncc.noise_sigma"),
    "reference not given": (GOOD[:2], 2, "reference is missing"),
    "nothing given": ((), 2, "input is missing"),
    "unknown key": (("--config", "typo.toml"), 2, r"config 'typo.toml': .*'ncc.raduis'; did you mean 'ncc.radius'\?"),
    "unheard of key": (("--config", "unheard.toml"), 2, "unknown option 'ncc.xyzzy'$"),
    "broken config": (("--config", "broken.toml"), 2, r"config 'broken.toml' is not valid TOML: .*line 1"),
    "radius beside a good config": (("--config", "good.toml", "--radius", "500"), 2, "ncc.radius: .*127, not 500$"),
    "config not in UTF-8": (("--config", "latin.toml"), 2, "config 'latin.toml' is not valid TOML"),
    "no config": (("--config", "absent.toml"), 2, "config 'absent.toml' cannot be read: No such file"),
    "radius in config out of range": ((*GOOD, "--config", "range.toml"), 2, "config 'range.toml': ncc.radius: .*127"),
    "radius in config no number": ((*GOOD, "--config", "type.toml"), 2, "config 'type.toml': ncc.radius: .*'wide'"),
    "truth for a number": ((*GOOD, "--config", "truth.toml"), 2, "ncc.noise_sigma: a number is expected"),
    "unknown flag": ((*GOOD, "--raduis", "3"), 2, r"--raduis.*--radius"),
    "unknown flag of a section": ((*GOOD, "--ncc.bordr", "valid"), 2, r"--ncc\.bordr.*--ncc\.border"),
    "one word too many": ((*GOOD, "more.mkv"), 2, "more.mkv"),
    "radius 0": ((*GOOD, "--radius", "0"), 2, "ncc.radius: .* 0"),
    "radius 128": ((*GOOD, "--radius", "128"), 2, "ncc.radius: .* 128"),
    "radius 3.5": ((*GOOD, "--radius", "3.5"), 2, "radius.* '3.5'"),
    "threads 1.5": ((*GOOD, "--threads", "1.5"), 2, "threads.* '1.5'"),
    "no such choice": ((*GOOD, "--ncc.border", "wrap"), 2, 'border.*"shrink", "valid", "reflect"'),
    "empty selection": ((*GOOD, "--frames", "3:3"), 2, "frames: selects no frame: '3:3'"),
    "selection beyond the end": ((*GOOD, "--frames", "9:"), 2, "there is no frame 9, .*has 4 frames"),
    "rate of a video": ((*GOOD, "--frame-rate", "25"), 2, "frame_rate = 25 cannot apply"),
    "output exists": (("good.mkv", "existing.mkv", *GOOD[2:]), 2, "'existing.mkv' exists; give --overwrite"),
    "output is a folder": (("good.mkv", "gap", *GOOD[2:]), 2, "output 'gap' must end in"),
    "output of unknown kind": (("good.mkv", "out.avi", *GOOD[2:]), 2, "output 'out.avi' must end in"),
    "output is the input": (("good.mkv", "./good.mkv", *GOOD[2:], "--overwrite"), 2, "is the input itself"),
    "output links to the input": (("good.mkv", "link.mkv", *GOOD[2:], "--overwrite"), 2, "is the input itself"),
    "output among the input": (("gap", "gap/f_%d.png", *GOOD[2:], "--allow-gaps", "--overwrite"), 2, "is the input"),
    "float codes in a video": ((*GOOD, "--output-format.encoding", "float"), 2, "cannot be held by .mkv"),
    "a file as output folder": (("good.mkv", "good.png/out.mkv", *GOOD[2:]), 1, "cannot be written: Not a directory"),
    "unwritable output folder": (("good.mkv", "/proc/new/out.mkv", *GOOD[2:]), 1, "'/proc/new/out.mkv' cannot be wri"),
    "unknown command": ("frobnicate", 2, "frobnicate"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_an_exit_code_and_leaves_nothing(mistake, folder, capfd):
    words, code, message = MISTAKES[mistake]
    before = names(folder)
    assert main([words] if isinstance(words, str) else ["run", *words]) == code
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert re.fullmatch(f"framencc: error: .*{message.rstrip('$')}{'' if message.endswith('$') else '.*'}\n", stderr)
    assert names(folder) == before
    assert Path("existing.mkv").read_text() == "old"
    assert_nothing_runs()


def test_a_missing_ffmpeg_is_one_line(folder, monkeypatch, capfd):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(folder / "no-ffmpeg"))
    assert main(["run", *GOOD]) == 1
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert re.fullmatch(r"framencc: error: ffmpeg '.*no-ffmpeg' cannot be started: No such file or directory\n", stderr)


def test_a_fault_of_our_own_is_one_line_that_says_how_to_report_it(folder, monkeypatch, capfd):
    def fail(*_, **__):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("framencc.pipeline.run", fail)
    assert main(["run", *GOOD]) == 1
    assert re.fullmatch(
        r"framencc: error: internal error, ZeroDivisionError: division by zero; set FRAMENCC_TRACEBACK=1 .*\n",
        capfd.readouterr().err,
    )
    monkeypatch.setenv("FRAMENCC_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["run", *GOOD])


def test_as_a_process_it_is_no_different(folder):
    result = command("run", "absent.mp4", *GOOD[1:])
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "framencc: error: input 'absent.mp4' does not exist\n"


def test_signal_handlers_are_put_back(capsys):
    def own(number, frame): ...

    before = {number: signal.signal(number, own) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["config"]) == 0
        assert main(["run", "absent.mp4", "b.mkv", "--reference", "0"]) == 2
        assert [signal.getsignal(number) for number in before] == [own, own]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_stdout_holds_the_result_and_stderr_two_lines_without_a_bar(folder):
    result = command("run", *GOOD)
    assert (result.returncode, result.stdout) == (0, "out.mkv\n")
    assert re.fullmatch(
        r"framencc: 4 maps in [\d.]+ s \([\d.]+ frames/s\), mean confidence -?0\.\d{3}; described in out\.mkv\.json\n"
        r"framencc: look first at frame [123] \(0\.\d{3} s\), whose mean confidence is the lowest, -?0\.\d{3}; "
        r"3 of 4 frames \(75%\) are below 0\.5\n",
        result.stderr,
    )
    assert {"out.mkv", "out.mkv.json"} < set(names(folder))
    assert read_sidecar(folder / "out.mkv.json")["complete"] is True


def test_quiet_is_silent_and_verbose_tells_the_ffmpeg_command(folder):
    quiet = command("run", *GOOD, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "out.mkv\n", "")
    verbose = command("run", *GOOD, "-v", "--overwrite")
    assert (verbose.returncode, verbose.stdout) == (0, "out.mkv\n")
    assert "-c:v', 'ffv1'" in verbose.stderr


def test_where_nothing_was_measured_the_summary_says_so(folder, capfd):
    np.save("plain.npy", np.full((2, 8, 8), 5, np.uint8))
    assert main(["run", "plain.npy", "out.npy", "--reference", "0"]) == 0
    assert "no pixel measured" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("options", [(), ("-q",)])
def test_a_terminal_gets_a_progress_bar_unless_told_to_be_quiet(folder, options):
    import pty
    import subprocess
    import termios

    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (25, 100))
    words = [*COMMAND, "run", FOOTAGE, "out.npy", "--reference", "0", *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=end)
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(terminal, 1 << 16):
            shown += chunk
    except OSError:
        pass  # Linux's way of saying that the other end is closed
    os.close(terminal)
    assert process.communicate()[0] == b"out.npy\n"
    assert process.returncode == 0
    assert (
        b"correlating out.npy" in shown
        and b"120/120" in shown
        and b"mean confidence" in shown
        and b", now " in shown
        and b"frame/s" in shown
    ) is (options == ())
    assert options == () or shown.count(b"\n") == shown.count(b"pixels that are not square") == 1


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder, capfd):
    before = names(folder)
    assert main(["run", "good.mkv", "new/out.mkv", "--reference", "1", "--dry-run", "--radius", "5"]) == 0
    stdout, stderr = capfd.readouterr()
    plan = json.loads(stdout)
    assert make_spec(plan["spec"]) == make_spec(
        {"input": "good.mkv", "output": "new/out.mkv", "reference": 1, "ncc": {"radius": 5}}
    )
    assert plan["output"] == str(folder / "new/out.mkv")
    assert plan["sidecar"] == str(folder / "new/out.mkv.json")
    assert (plan["stream"]["width"], plan["stream"]["height"]) == (52, 36)
    assert stderr == ""
    assert names(folder) == before
    assert_nothing_runs()


def test_a_dry_run_finds_the_mistakes_that_can_be_seen_beforehand(folder, capfd):
    assert main(["run", *GOOD[:3], "short.png", "--dry-run"]) == 2
    assert "they must be equal" in capfd.readouterr().err


def test_probing_a_video(capsys):
    assert main(["probe", FOOTAGE]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^size +176 x 144$", text, re.MULTILINE)
    assert re.search(r"^n_frames +120$", text, re.MULTILINE)
    assert main(["probe", FOOTAGE, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["size"], facts["bits"], facts["frame_rate"], facts["codec"]) == ("176 x 144", 8, "30000/1001", "h264")


@pytest.mark.parametrize(
    ("given", "n_frames"), [("gap", 3), ("gap/f_%d.png", 3), ("gap/f_[12].png", 2), ("good.png", 1)]
)
def test_probing_pictures(folder, capsys, given, n_frames):
    assert main(["probe", given, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["size"], facts["n_frames"], facts["kind"]) == ("52 x 36", n_frames, "image sequence")


def test_probing_what_is_not_there(folder, capfd):
    assert main(["probe", "absent.mp4"]) == 2
    assert capfd.readouterr() == ("", "framencc: error: input 'absent.mp4' does not exist\n")


@pytest.mark.slow
def test_warming_up(capsys):
    assert main(["warmup"]) == 0
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert re.fullmatch(r"framencc: the kernels are ready \([\d.]+ s\)\n", stderr)
    assert main(["warmup", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["config"], ["frobnicate"]])
def test_help_loads_nothing_heavy(words):
    program = (
        "import json, sys; from framencc.cli import main; main(sys.argv[1:]);"
        "print(json.dumps(sorted(set(sys.modules) & {'numba', 'numpy', 'cv2', 'dask', 'imageio', 'skimage', 'PIL'})))"
    )
    result = python(program, *words)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_traceback():
    import subprocess

    process = subprocess.Popen([*COMMAND, "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.parametrize(
    ("given", "code", "line"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (7, 7, ""),
        ("cannot go on", 1, "framencc: error: cannot go on\n"),
        (("a", 1), 1, "framencc: error: ('a', 1)\n"),
    ],
)
def test_an_exit_from_inside_means_what_it_means_to_python(given, code, line, monkeypatch, capfd):
    monkeypatch.setattr("framencc.cli.commands.carry_out", lambda _: sys.exit(given))
    assert main(["config"]) == code
    assert capfd.readouterr() == ("", line)


@pytest.mark.parametrize("threads", ["0", "many"])
def test_a_number_of_threads_in_the_environment_that_is_none_is_one_line(threads):
    result = command("run", "in.npy", "out.npy", "--reference", 0, NUMBA_NUM_THREADS=threads)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"framencc: error: NUMBA_NUM_THREADS must be a whole number above 0, not {threads!r}; "
        "set another, or unset it\n"
    )

"""Hundreds of broken, spliced, renamed and disguised files: a clear error or the right result, and nothing else.

What must hold for each is in `hostile_runs.Judge`; each output is compared, frame by frame, with an independent decode.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hostile_corpus as corpus
import imageio_ffmpeg
import pytest
from hostile_runs import Bench, Judge, decode, run_process
from watching import CAN_WATCH_FILES, WHY_NOT, FolderWatch, Listener

import framencc
from framencc.config import make_spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses some of the names, and has other paths"),
]

CLIPS = sorted(corpus.RECIPES)
N_MUTATIONS = 7


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return corpus.make_clips(tmp_path_factory.mktemp("hostile") / "clips")


@pytest.fixture(scope="module")
def judge():
    return Judge()


@pytest.fixture(scope="module")
def undamaged(clips):
    return {clip: decode(clip) for clip in clips.values()}


@pytest.fixture
def bench(tmp_path, judge, undamaged, capfd, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield Bench(tmp_path, judge, undamaged, capfd)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", CLIPS)
def test_undamaged_clips_succeed(name, clips, bench):
    clip = clips[name]
    assert len(bench.undamaged[clip].frames) == corpus.N_FRAMES
    assert bench.wrong([corpus.Hostile(clip, clip, (0,))] * 2) == {}


@pytest.mark.parametrize("kind", corpus.MUTATIONS)
@pytest.mark.parametrize("name", CLIPS)
def test_damaged_clips(name, kind, clips, bench):
    assert bench.wrong(corpus.mutated(clips[name], bench.files, kind, N_MUTATIONS)) == {}


def test_spliced_clips(clips, bench):
    assert bench.wrong(corpus.spliced(clips, bench.files, 40)) == {}


def test_clips_under_other_endings(clips, bench):
    assert bench.wrong(corpus.renamed(clips, bench.files)) == {}


def test_next_to_nothing(bench):
    assert bench.wrong(corpus.nearly_nothing(bench.files)) == {}


def test_clips_that_change_their_size(bench):
    assert bench.wrong(corpus.changing_size(bench.files)) == {}


@pytest.fixture
def bait(tmp_path, clips):
    """Make a folder with a clip that only a playlist names."""
    folder = tmp_path / "bait"
    folder.mkdir()
    shutil.copy(clips["h264.ts"], folder / "clip.ts")
    return folder


@pytest.mark.skipif(not CAN_WATCH_FILES, reason=WHY_NOT)
def test_playlists_under_any_name_reach_no_file_and_no_network(bench, bait):
    with Listener() as listener, FolderWatch(bait) as watch:
        cases = list(corpus.disguised(bench.files, bait / "clip.ts", listener.url))
        assert bench.wrong(cases) == {}
        assert watch.touched() == set()
        assert listener.connections() == 0
        # The bait is live: ffmpeg by itself takes it.
        for case in cases:
            words = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet", "-rw_timeout", "200000", "-safe", "0"]
            if case.path.name in ("ffconcat.mp4", "m3u.m3u8"):
                words = [*words[:-2], "-f", "concat", *words[-2:]]
            if case.path.name in ("ffconcat.mp4", "hls.m3u8", "hls-url.m3u8", "dash.mp4"):
                options = ["-protocol_whitelist", "file,http,tcp,crypto"]
                subprocess.run([*words, *options, "-i", case.path, "-f", "null", "-"], check=False, timeout=60)
        assert watch.touched() == {"clip.ts"}
        assert listener.connections() >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
@pytest.mark.parametrize("name", corpus.odd_names(), ids=ascii)
def test_names_are_only_names(name, clips, tmp_path, monkeypatch, judge, undamaged):
    folder = tmp_path / "names"
    folder.mkdir()
    shutil.copy(clips["ffv1.mkv"], folder / name)
    monkeypatch.chdir(folder)
    report = framencc.run(make_spec({"input": name, "output": "../out/maps.npy", "reference": 0}))
    assert report.n_frames == corpus.N_FRAMES
    assert judge.wrong_maps(tmp_path / "out/maps.npy", undamaged[clips["ffv1.mkv"]], complete=True) is None
    assert [path.name for path in folder.iterdir()] == [name]


_OPENED = re.compile(r'\b(?:open|openat|openat2|creat)\((?:AT_FDCWD, )?"(?P<path>[^"]*)", (?P<how>[A-Z_|]*).*= \d+$')


@pytest.fixture(scope="module")
def tracer(tmp_path_factory):
    """Return the words that run a program under strace, and where that writes what it saw."""
    log = tmp_path_factory.mktemp("trace") / "log"
    words = ["strace", "-f", "-qq", "-s", "4096", "-o", str(log), "-e", "trace=network,open,openat,openat2,creat"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("strace is not installed here, or may not trace")
    return words, log


@pytest.mark.parametrize("name", ["ffconcat.mkv", "hls-url.mp4", "sdp.ts", "flipped.avi", "cut.ts", "whole.mp4"])
def test_a_process_opens_its_own_files_and_no_socket(name, clips, bait, bench, tmp_path, tracer, judge):
    words, log = tracer
    path = bench.files / name
    source = {"flipped.avi": "mjpeg.avi", "cut.ts": "h264.ts", "whole.mp4": "index-last.mp4"}.get(name)
    if source is None:
        path.write_text(corpus.texts(bait / "clip.ts", "http://127.0.0.1:9")[path.stem])
    else:
        content = clips[source].read_bytes()
        change = corpus.MUTATIONS.get(path.stem, lambda content, _: content)
        path.write_bytes(change(content, corpus.generator(name)))
    output = tmp_path / "out" / "maps.mkv"
    ending = run_process(path, output, "--reference", 0, prefix=words)
    truths = [decode(path)] if ending.code in (0, 3) else []
    assert judge.complaints(ending, output, truths) == []
    trace = log.read_text(errors="replace")
    assert re.findall(r"\b(?:socket|connect|bind|sendto)\(.*", trace) == []
    opened = [match for match in map(_OPENED.search, trace.splitlines()) if match]
    read = {match["path"] for match in opened if not Path(match["path"]).is_dir()}  # folders are flushed and listed
    own = (str(path), str(output.parent))
    assert [name for name in read if name.startswith(str(tmp_path)) and not name.startswith(own)] == []
    assert str(path) in read
    written = {match["path"] for match in opened if re.search("O_WRONLY|O_RDWR|O_CREAT", match["how"])}
    cache = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    kernels = str(Path(framencc.__file__).parent / "kernels" / "__pycache__")
    assert [name for name in written if not name.startswith((*own, cache, kernels, "/dev/", "/proc/self/"))] == []

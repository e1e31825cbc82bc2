"""Going on over damage: every frame keeps its place, and none that cannot be relied on passes for good."""

import json
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image
from running import command
from sink_readback import names

from framencc import run
from framencc.config import make_spec
from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.pipeline.job import Job
from framencc.sidecar import read_sidecar
from framencc.sources import ImageSequenceSource, Selection, VideoSource
from framencc.sources.timeline import AHEAD, Place, Places, Timeline
from framencc.sources.tolerant import TolerantVideoSource

FOOTAGE = media.footage()
N = 120
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "12")
FASTSTART = ("-movflags", "+faststart")
CODECS = {
    "h264.mp4": (*X264, *FASTSTART),
    "open.mp4": (*X264, "-x264-params", "open-gop=1", *FASTSTART),
    "prores.mov": ("-c:v", "prores_ks", *FASTSTART),
    "h264.mkv": X264,
    "ffv1.mkv": media.FFV1,
    "jpeg.avi": ("-c:v", "mjpeg"),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Make a clip of each kind, and decode it."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for name, codec in CODECS.items():
        media.ffmpeg("-i", FOOTAGE, "-vf", "crop=96:64", *codec, folder / name)
        with VideoSource(str(folder / name)) as source:
            made[name] = (folder / name, list(source.frames()))
    return made


def read(path, **options):
    with TolerantVideoSource(str(path), **options) as source:
        return list(source.frames())


def zeros(content, begin, n_bytes):
    at = int(len(content) * begin)
    return content[:at] + bytes(n_bytes) + content[at + n_bytes :]


def assert_right(frames, good):
    """Check that places and times are those of the whole clip, and that what passes for good is."""
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(frames) <= len(good)
    for frame, whole in zip(frames, good, strict=False):
        assert frame.pts_seconds == pytest.approx(whole.pts_seconds, abs=0.002)
        if frame.damaged is None:
            assert frame.pts_seconds == whole.pts_seconds
            np.testing.assert_array_equal(frame.data, whole.data)
        else:
            assert not frame.data.any()


# ---------------------------------------------------------------------------------------------------- videos


@pytest.mark.parametrize("name", CODECS)
def test_a_whole_clip_is_read_as_ever(clips, name):
    path, good = clips[name]
    frames = read(path)
    assert_right(frames, good)
    assert len(frames) == N
    assert all(frame.damaged is None for frame in frames)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("begin", [0.3, 0.55])
def test_damage_in_the_middle(clips, tmp_path, name, begin):
    path, good = clips[name]
    (tmp_path / name).write_bytes(zeros(path.read_bytes(), begin, 2500))
    frames = read(tmp_path / name)
    assert_right(frames, good)
    damaged = [frame.index for frame in frames if frame.damaged]
    assert damaged == list(range(damaged[0], damaged[-1] + 1))
    if name in ("h264.mp4", "open.mp4", "prores.mov", "ffv1.mkv"):
        assert len(frames) == N
        assert damaged[0] > 10
        assert damaged[-1] < N - 5


@pytest.mark.parametrize("name", CODECS)
def test_a_cut_clip(clips, tmp_path, name):
    path, good = clips[name]
    content = path.read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * 0.6)])
    frames = read(tmp_path / name)
    assert_right(frames, good)
    # Nothing tells how long a Matroska file was.
    assert len(frames) == N or name.endswith("mkv")
    n_good = sum(frame.damaged is None for frame in frames)
    assert 20 < n_good < 0.75 * N
    assert all(frame.damaged for frame in frames[n_good:])


def test_selected_frames_of_a_damaged_clip(clips, tmp_path):
    path, _ = clips["h264.mp4"]
    (tmp_path / "in.mp4").write_bytes(zeros(path.read_bytes(), 0.5, 2500))
    every = {frame.index: frame for frame in read(tmp_path / "in.mp4")}
    chosen = read(tmp_path / "in.mp4", selection=Selection(10, 110, 10))
    assert [frame.index for frame in chosen] == list(range(10, 110, 10))
    for frame in chosen:
        if frame.damaged is None and every[frame.index].damaged is None:
            np.testing.assert_array_equal(frame.data, every[frame.index].data)


def test_a_selection_beyond_the_end_is_refused(clips):
    with pytest.raises(SpecError, match=r"there is no frame 500, input .* has 120 frames"):
        read(clips["h264.mkv"][0], selection=Selection(500))


def test_a_change_of_size_is_for_good(tmp_path):
    for number, (size, n_frames) in enumerate([("96x64", 60), ("64x48", 100)]):
        options = ("-vf", f"crop={size.replace('x', ':')}", "-frames:v", n_frames, *X264)
        media.ffmpeg("-i", FOOTAGE, *options, tmp_path / f"{number}.h264")
    both = (tmp_path / "0.h264").read_bytes() + (tmp_path / "1.h264").read_bytes()
    (tmp_path / "in.h264").write_bytes(both)
    frames = read(tmp_path / "in.h264")
    assert [frame.index for frame in frames] == list(range(160))
    assert 10 < sum(frame.damaged is None for frame in frames) <= 60
    assert all(frame.damaged for frame in frames[60:])


def test_a_clip_without_one_certain_frame(clips, tmp_path):
    content = clips["jpeg.avi"][0].read_bytes()
    start = content.index(b"movi") + 4
    head = content[: start + 8 + int.from_bytes(content[start + 4 : start + 8], "little")]
    (tmp_path / "in.avi").write_bytes(head[:-100])
    with pytest.raises(SourceError):
        read(tmp_path / "in.avi")


# ---------------------------------------------------------------------------------------------------- places


def timeline(n, *keys):
    return Timeline([Fraction(k, 25) for k in range(n)], [k in keys for k in range(n)], n, True)


def follow(places, events, **end):
    """Let frames arrive, as their numbers or (number, complaint); return (index, good) of all that come of it."""
    found = []
    for event in events:
        number, why = event if isinstance(event, tuple) else (event, None)
        exact = Fraction(number, 25)
        found += places.arrive(float(exact), exact, why)
    found += places.end(end.get("why"), end.get("n_beyond", 0))
    assert all(place.seconds == pytest.approx(place.index / 25) for place in found)
    return [(place.index, place.damaged is None) for place in found]


def make(given, *, recovers=True, n_frames=None):
    return Places(given, recovers=recovers, rate=Fraction(25), n_frames=n_frames)


def test_without_complaints_frames_just_follow():
    assert follow(make(timeline(9, 0)), range(9)) == [(k, True) for k in range(9)]


@pytest.mark.parametrize("lost", [(), (20,), (20, 21, 22), tuple(range(20, 60))])
def test_after_a_complaint_all_is_damaged_up_to_a_key_frame_far_enough(lost):
    keys = (0, 10, 30, 20 + AHEAD, 70)
    arriving = [(k, "oh") if k == 19 else k for k in range(100) if k not in lost]
    # The key frame at 52 is one that may have been decoded before the complaint was heard, if it was about 19.
    first_good = 70 if 52 in lost else 52
    assert follow(make(timeline(100, *keys)), arriving) == [(k, k < 19 or k >= first_good) for k in range(100)]


def test_a_second_complaint_puts_it_off():
    arriving = [(k, "oh") if k in (10, 40) else k for k in range(200)]
    found = follow(make(timeline(200, *range(0, 200, 25))), arriving)
    assert found == [(k, k < 10 or k >= 75) for k in range(200)]


def test_what_does_not_arrive_at_the_end_is_damaged_if_anything_is_wrong():
    assert follow(make(timeline(50, 0)), range(40), why="cut", n_beyond=5) == [(k, k < 40) for k in range(55)]
    assert follow(make(timeline(50, 0)), range(40)) == [(k, True) for k in range(40)]
    assert follow(make(timeline(50, 0), n_frames=50), range(40)) == [(k, k < 40) for k in range(50)]


def test_without_times_nothing_after_a_complaint_is_good():
    arriving = [(k, "oh") if k == 10 else k for k in range(90)]
    found = follow(make(timeline(100, *range(100)), recovers=False), arriving)
    assert found == [(k, k < 10) for k in range(100)]


def test_a_frame_that_a_counted_clip_loses_without_a_word_is_damaged():
    arriving = [k for k in range(100) if k != 20]
    assert follow(make(timeline(100, *range(100)), n_frames=100), arriving) == [
        (k, k < 20 or k > 21 + AHEAD) for k in range(100)
    ]


def test_more_frames_than_there_can_be_are_dropped():
    assert follow(make(timeline(5, 0), n_frames=5, recovers=False), range(9)) == [(k, True) for k in range(5)]
    assert Place(3, 0.5).damaged is None


# ---------------------------------------------------------------------------------------------------- pictures


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Twelve pictures: 3 is missing, 5 is cut, 7 is of another size, 9 is none, and so is the first one."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    frames = media.random_frames(12)
    for number, picture in enumerate(frames):
        Image.fromarray(picture).save(f"in/f_{number + 100}.png")
    Path("in/f_103.png").unlink()
    Path("in/f_105.png").write_bytes(Path("in/f_105.png").read_bytes()[:-20])
    Image.fromarray(frames[7][:20]).save("in/f_107.png")
    Path("in/f_109.png").write_text("no picture")
    Path("in/f_100.png").write_bytes(b"")
    return frames


BROKEN = {0: "empty", 3: "missing", 5: "damaged", 7: "52 x 20", 9: "no PNG"}


def test_pictures_that_are_none_keep_their_place(pictures):
    with ImageSequenceSource("in", tolerant=True) as source:
        assert source.info.n_frames == source.n_input_frames == 12
        frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.pts_seconds for frame in frames] == [k / 25 for k in range(12)]
    for frame in frames:
        if frame.index in BROKEN:
            assert BROKEN[frame.index] in str(frame.damaged)
        else:
            assert frame.damaged is None
            np.testing.assert_array_equal(frame.data, pictures[frame.index])
    assert [frame.file_name for frame in frames[2:5]] == ["f_102.png", None, "f_104.png"]


def test_unless_asked_they_end_the_run(pictures):
    with pytest.raises(SpecError, match=r"lacks number 103, .*; allow_gaps accepts that$"):
        ImageSequenceSource("in")
    with pytest.raises(SourceError, match=r"f_100\.png' is empty"):
        ImageSequenceSource("in", allow_gaps=True)


def test_a_wild_number_is_no_gap(pictures):
    Path("in/f_104.png").rename("in/f_20240101.png")
    with pytest.raises(SpecError, match="has 11 pictures and lacks 20239991 between them"):
        ImageSequenceSource("in", tolerant=True)


# ---------------------------------------------------------------------------------------------------- runs


def job(**options):
    return make_spec({"input": "in", "output": "out.npy", "reference": 1, "tolerant": True} | options)


def test_a_run_over_damage(pictures):
    report = run(job(validity="why.npy", ncc={"fill": -1}, reference="in/f_101.png"))
    maps, codes, sidecar = np.load("out.npy"), np.load("why.npy"), read_sidecar("out.npy.json")
    assert (report.n_frames, report.n_damaged) == (12, len(BROKEN))
    assert sidecar["complete"] is True
    assert sidecar["summary"]["damaged_frames"] == len(BROKEN)
    assert sidecar["summary"]["code_shares"][8] == pytest.approx(len(BROKEN) / 12)
    assert sidecar["validity_codes"][8] == "damaged frame"
    for row, rho, why in zip(sidecar["frames"], maps, codes, strict=True):
        if row["index"] in BROKEN:
            assert BROKEN[row["index"]] in row["damaged"]
            assert (rho == -1).all()
            assert (why == 8).all()
            assert (row["mean_confidence"], row["code_shares"][8]) == (None, 1.0)
        else:
            assert "damaged" not in row
            assert (why == 0).all()
    expected = run(job(output="good.npy", input="in/f_10[12468].png", allow_gaps=True, reference="in/f_101.png"))
    assert expected.n_damaged == 0
    np.testing.assert_array_equal(np.load("good.npy"), maps[[1, 2, 4, 6, 8]])


def test_a_damaged_frame_is_no_reference(pictures):
    with pytest.raises(SourceError, match=r"f_105\.png' is damaged"):
        run(job(reference=5))


def test_a_warp_begins_anew_after_a_damaged_frame(pictures, monkeypatch):
    seen = []
    measure = Job._measure
    monkeypatch.setattr(
        Job, "_measure", lambda self, found, *rest: seen.append(found.frame.index) or measure(self, found, *rest)
    )
    warp = {"method": "translation", "on_failure": "previous"}
    run(job(warp=warp, warped="warped.npy", fields="fields.npy", validity="why.npy", reference="in/f_101.png"))
    assert seen == [k for k in range(12) if k not in BROKEN]
    sidecar = read_sidecar("out.npy.json")
    assert [row["index"] for row in sidecar["frames"] if "warp" not in row] == list(BROKEN)
    assert not np.load("warped.npy")[list(BROKEN)].any()
    assert np.isnan(np.load("fields.npy")[list(BROKEN)]).all()
    assert (np.load("why.npy")[list(BROKEN)] == 8).all()
    # Noise cannot be warped onto noise: what the frame after a damaged one falls back to is no warp of before it.
    after = [row["warp"]["status"] for row in sidecar["frames"] if row["index"] - 1 in BROKEN and "warp" in row]
    assert set(after) <= {"estimated", "identity"}


def test_masks_stay_in_step(pictures):
    Path("masks").mkdir()
    for number in range(12):
        mask = np.zeros((36, 52), np.uint8)
        mask[:, number * 4 :] = 255
        Image.fromarray(mask).save(f"masks/m_{number}.png")
    Path("masks/m_6.png").write_bytes(b"")
    Path("masks/m_8.png").unlink()
    run(job(validity="why.npy", ncc={"mask": "masks"}, reference="in/f_101.png"))
    rows, codes = read_sidecar("out.npy.json")["frames"], np.load("why.npy")
    damaged = {row["index"]: row["damaged"] for row in rows if "damaged" in row}
    assert sorted(damaged) == sorted([*BROKEN, 6, 8])
    assert damaged[6].startswith("ncc.mask: ")
    for number in (1, 2, 4, 10, 11):
        assert (codes[number][:, : number * 4] == 4).all()
        assert (codes[number][:, number * 4 :] != 4).all()


def test_the_command_warns_and_succeeds(clips, tmp_path):
    content = clips["h264.mp4"][0].read_bytes()
    (tmp_path / "in.mp4").write_bytes(content[: int(len(content) * 0.7)])
    words = ("run", tmp_path / "in.mp4", tmp_path / "out.mkv", "--reference", 0)
    strict = command(*words, "-q")
    assert strict.returncode == 3
    for name in names(tmp_path):
        if "partial" in name:
            (tmp_path / name).unlink()
    result = command(*words, "--tolerant", "-q")
    assert result.returncode == 0, result.stderr
    sidecar = json.loads((tmp_path / "out.mkv.json").read_text())
    n_damaged = sidecar["summary"]["damaged_frames"]
    assert 10 < n_damaged < 100
    assert sidecar["complete"] is True
    assert len(sidecar["frames"]) == N
    warning = (
        f"warning: {n_damaged} of {N} frames are damaged and marked invalid; {tmp_path / 'out.mkv.json'} says which"
    )
    assert warning in result.stderr
    said = [line for line in result.stderr.splitlines() if "not square" not in line]
    assert said == [f"framencc: {warning}, and why"]
    assert len(media.decode_luma(tmp_path / "out.mkv", 64, 96)) == N


def test_a_clip_whose_lost_frames_nobody_can_name_is_damage_all_the_same(clips, tmp_path):
    content = bytearray(clips["jpeg.avi"][0].read_bytes())
    position = content.index(b"movi") + 4
    for _ in range(30):
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    content[position : position + 4] = b"JUNK"
    (tmp_path / "in.avi").write_bytes(content)
    with pytest.raises(DamagedInputError, match="which are missing is not known"):
        read(tmp_path / "in.avi")

"""What happens to an output between the encoder and its name is found, whichever way outputs are verified."""

import random
from pathlib import Path

import media
import numpy as np
import pytest
from cut_off_runs import cut_off
from running import thinned
from sink_readback import visible

from framencc import stored_packets, verification
from framencc.cli.flags import spell_out
from framencc.config import make_spec
from framencc.errors import SinkError, SourceError, SpecError
from framencc.journal import Journal, read_journal
from framencc.pipeline import run
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.readback import LostWorkError, ReadBack
from framencc.sidecar import read_sidecar
from framencc.sinks.base import imprint
from framencc.sinks.matroska_file import MatroskaFile
from framencc.sinks.parts import ArrayParts, ImageParts, VideoParts
from framencc.spec import RunSpec
from framencc.stored_packets import stored_imprints

N_FRAMES, N_SEGMENT = 10, 4
OUTPUTS = {
    "ffv1": {"output": "out.mkv"},
    "one segment": {"output": "out.mkv", "segment_frames": 100, "output_format": {"bits": 16}},
    "mp4": {"output": "out.mp4"},
    "h264-mkv": {"output": "out.mkv", "output_format": {"codec": "h264"}},
    "png": {"output": "maps/%d.png"},
    "tif": {"output": "maps/%02d.tif"},
    "npy-per-frame": {"output": "maps/%d.npy"},
    "array": {"output": "out.npy"},
}
NOTICED = "what was written does not read back as it should: output '"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(N_FRAMES, 32, 48))
    return tmp_path


def job(**options):
    return make_spec({"input": "in.npy", "reference": 0, "segment_frames": N_SEGMENT, **options})


def file_of(whole: Path, index: int) -> Path:
    """Return the file that holds a map: the whole, or one of many."""
    return whole if whole.is_file() else next(path for path in whole.rglob("*") if path.stem.lstrip("0") == str(index))


def flip(whole: Path) -> None:
    path = file_of(whole, 6)
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


def cut(whole: Path) -> None:
    path = file_of(whole, 6)
    path.write_bytes(path.read_bytes()[:-40])


def exchange(whole: Path) -> None:
    """Let two maps in the midst of a segment take each other's place."""
    if whole.is_dir():
        one, other = file_of(whole, 5), file_of(whole, 6)
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    elif whole.suffix == ".npy":
        maps = np.load(whole)
        maps[[5, 6]] = maps[[6, 5]]
        np.save(whole, maps)
    else:  # two packets of one size are needed: the smaller one fills what is left with its own end
        places = packet_places(whole)
        content = bytearray(whole.read_bytes())
        (a, b), (c, d) = places[5], places[6]
        n_bytes = min(b - a, d - c)
        content[a : a + n_bytes], content[c : c + n_bytes] = content[c : c + n_bytes], content[a : a + n_bytes]
        whole.write_bytes(content)


def packet_places(path: Path) -> list[tuple[int, int]]:
    if path.suffix == ".mkv":
        with MatroskaFile(path) as video:
            return [(packet.begin, packet.end) for packet in video.packets()]
    samples = stored_packets._samples(path)
    return [(int(begin), int(end)) for begin, end in zip(samples.begins, samples.ends, strict=True)]


@pytest.mark.parametrize("verify", ["packets", "full", "off"])
@pytest.mark.parametrize("damage", [flip, cut, exchange])
@pytest.mark.parametrize("kind", thinned(OUTPUTS, "ffv1", "mp4", "h264-mkv", "png", "array"))
def test_damage_before_an_output_takes_its_name_is_found(kind, damage, verify, here, monkeypatch):
    for parts in (VideoParts, ImageParts, ArrayParts):

        def complete(*arguments, complete=parts.complete):
            whole = complete(*arguments)
            damage(whole)
            return whole

        monkeypatch.setattr(parts, "complete", complete)
    if verify == "off":
        assert run(job(verify=verify, **OUTPUTS[kind])).n_frames == N_FRAMES
    else:
        with pytest.raises(SinkError) as caught:
            run(job(verify=verify, **OUTPUTS[kind]))
        assert str(caught.value).startswith(NOTICED)
        assert [name for name in visible(here) if (here / name).is_file()] == ["in.npy"]


@pytest.mark.parametrize("kind", ["ffv1", "mp4", "png"])
def test_so_is_damage_to_a_segment_that_has_been_sealed(kind, here, monkeypatch):
    """Of a video it is passed on when the segments are joined."""
    suffix = "*.mkv" if kind != "png" else "*/*.png"
    end = Outputs.end

    def end_and_damage(outputs, damage):
        end(outputs, damage)
        path = sorted(outputs._work.folders["output"].path.glob(f"{suffix}"))[1]
        content = bytearray(path.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(Outputs, "end", end_and_damage)
    with pytest.raises(SinkError, match=r"does not read back as it should: output '|cannot be written"):
        run(job(**OUTPUTS[kind]))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    with pytest.raises(SinkError, match="cannot be gone on with"):
        run(job(**OUTPUTS[kind], resume=True))


@pytest.mark.parametrize("name", ["validity", "warped", "fields", "preview"])
def test_every_output_is_looked_at(name, here, monkeypatch):
    others = {"validity": "why/%d.png", "warped": "warped.mkv", "fields": "flow/%d.flo", "preview": "preview.mp4"}
    complete = {parts: parts.complete for parts in (VideoParts, ImageParts)}

    def complete_and_damage(parts, *arguments):
        whole = complete[type(parts)](parts, *arguments)
        if parts.target.name == Path(others[name]).name:
            flip(whole)
        return whole

    for parts in complete:
        monkeypatch.setattr(parts, "complete", complete_and_damage)
    with pytest.raises(SinkError, match=rf"does not read back as it should: {name} '"):
        run(job(output="out.npy", warp={"method": "translation"}, **others))


@pytest.mark.parametrize("kind", ["ffv1", "png", "tif"])
def test_what_the_encoder_gets_wrong_at_the_ends_of_a_segment_is_found(kind, here, monkeypatch):
    """An encoder that changes a map gives a packet that is as it was written, but decodes to another map."""
    for parts, index in ((VideoParts, 7), (ImageParts, 4)):

        def write(self, data, at, seconds, *, write=parts.write, changed=index):
            write(self, np.invert(data) if at == changed and data.dtype.kind == "u" else data * 1, at, seconds)

        monkeypatch.setattr(parts, "write", write)
    options = {"output_format": {"encoding": "clip"}}
    with pytest.raises(SinkError, match=r"frame [47] \(0\.\d+ s\) does not hold what was written"):
        run(job(**OUTPUTS[kind], **options))


@pytest.mark.parametrize("output", ["out.mkv", "out.mp4"])
def test_no_flipped_bit_of_a_finished_video_that_full_finds_escapes(output, here, monkeypatch):
    """Neither one in its tables and headers; those in packets are all found."""
    require, n_found = ReadBack.require_as_written, []

    def found(readback, whole, mode):
        readback._spec = readback._spec.model_copy(update={"verify": mode})
        try:
            require(readback, whole, progress=False)
        except LostWorkError:
            return True
        return False

    def flip_and_require(readback, whole, *, progress):
        path = whole["output"]
        good, places = path.read_bytes(), packet_places(path)
        outside = set(range(len(good))).difference(*(range(*place) for place in places))
        chance = random.Random(0)
        for place in chance.sample(sorted(outside), 12) + [chance.randrange(*place) for place in places]:
            bad = bytearray(good)
            bad[place] ^= 1 << chance.randrange(8)
            path.write_bytes(bad)
            is_found = found(readback, whole, "packets")
            assert is_found or (place in outside and not found(readback, whole, "full")), place
            n_found.append(is_found)
        path.write_bytes(good)
        require(readback, whole, progress=progress)

    monkeypatch.setattr(ReadBack, "require_as_written", flip_and_require)
    run(job(output=output))
    assert sum(n_found) >= N_FRAMES


@pytest.mark.parametrize("output", ["out.mkv", "out.mp4", "out.mov"])
def test_a_video_read_by_us_has_the_packets_and_times_that_ffmpeg_reads(output, here):
    run(job(output=output, frame_rate="30000/1001"))
    listed = media.ffmpeg("-i", output, "-map", "0:v:0", "-c", "copy", "-copyts", "-f", "framecrc", "-").decode()
    unit, expected = 0.0, []
    for line in listed.splitlines():
        if line.startswith("#tb 0: "):
            top, bottom = line.removeprefix("#tb 0: ").split("/")
            unit = int(top) / int(bottom)
        elif not line.startswith("#"):
            _, _, pts, _, size, *_ = line.split(",")
            expected.append((int(size), int(pts) * unit))
    found = list(stored_imprints(Path(output), ()))
    assert [one[0] for one, _ in found] == [size for size, _ in expected]
    assert [seconds for _, seconds in found] == pytest.approx([time for _, time in expected], abs=1e-9)


def test_an_imprint_tells_apart_size_order_and_content():
    contents = [b"", b"\0", b"\0\0", b"ab", b"ba", b"a\0"]
    assert len({tuple(imprint(content)) for content in contents}) == len(contents)
    picture = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert imprint(memoryview(picture)) == imprint(picture.tobytes())


@pytest.mark.parametrize("content", [b"", b"\x1a\x45\xdf\xa3", b"\0" * 100, bytes(range(256))])
@pytest.mark.parametrize("name", ["x.mkv", "x.mp4"])
def test_what_is_no_video_is_said_to_be_damaged(name, content, here):
    Path(name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"'{name}' is damaged: "):
        list(stored_imprints(Path(name), ()))


def test_the_sidecar_says_how_outputs_were_verified(here):
    for verify, said in {"packets": "packets", "full": "full", "off": "off", True: "full", False: "off"}.items():
        run(job(output="out.npy", verify=verify, overwrite=True))
        content = read_sidecar("out.npy.json")
        assert (content["verification"], content["spec"]["verify"]) == (said, said)
    run(job(output="out.npy", overwrite=True))
    assert read_sidecar("out.npy.json")["verification"] == "packets"
    with pytest.raises(SpecError, match="verify: "):
        job(output="out.npy", verify="some")


def test_lossless_maps_have_digests_and_lossy_ones_imprints_or_digests(here):
    run(job(output="out.mkv", preview="preview.mp4"))
    rows = read_sidecar("out.mkv.json")["frames"]
    assert all(row["digests"]["output"] and row["digests"]["preview"] is None for row in rows)
    assert [row["imprints"] for row in rows] == [
        {"preview": one} for one, _ in stored_imprints(Path("preview.mp4"), ())
    ]
    run(job(output="full.mkv", preview="full.mp4", verify="full"))
    rows = read_sidecar("full.mkv.json")["frames"]
    assert all(row["digests"]["preview"] and "imprints" not in row for row in rows)
    for output in ("out.mkv", "full.mkv"):
        found = verification.verify(output)
        assert (found.problems, found.uncompared) == ([], [])


@pytest.mark.parametrize("verify", ["packets", "full"])
def test_an_exchanged_lossy_video_is_found_later(verify, here):
    for name, style in (("one", "gray"), ("other", "heat")):
        options = {"output_format": {"preview_style": style}, "verify": verify}
        run(job(output=f"{name}.npy", preview=f"{name}.mp4", **options))
    Path("other.mp4").replace("one.mp4")
    assert any("preview" in problem and "frame 0 " in problem for problem in verification.verify("one.npy").problems)


@pytest.mark.parametrize(("first", "second"), [("off", "packets"), ("packets", "full"), ("full", "packets")])
def test_a_run_can_be_resumed_with_another_verification(first, second, here, monkeypatch):
    options = {"output": "out.mkv", "validity": "why/%d.png", "preview": "preview.mp4"}
    cut_off(job(**options, verify=first), monkeypatch, 6)
    report = run(job(**options, verify=second, resume=True))
    assert report.n_resumed == N_SEGMENT
    found = verification.verify("out.mkv")
    assert (found.problems, found.uncompared) == ([], [])
    rows = read_sidecar("out.mkv.json")["frames"]
    assert all(row["digests"]["preview"] or row["imprints"]["preview"] for row in rows)


def test_forged_imprints_in_a_journal_are_refused_in_one_line(here, monkeypatch):
    cut_off(job(output="maps/%d.png"), monkeypatch, 6)
    (journal,) = here.glob("maps/.*.framencc/journal")
    entries = list(read_journal(journal))
    for forged in ("text", {"output": "text"}, {"output": [1, 2, 3]}, {"output": [-1, 2]}, {"output": {"a": 1}}, [1]):
        entries[1]["rows"][0]["imprints"] = forged
        journal.unlink()
        rewritten = Journal(journal)
        for entry in entries:
            rewritten.append(entry)
        rewritten.close()
        with pytest.raises(SpecError, match="its journal is damaged"):
            run(job(output="maps/%d.png", resume=True))


def test_the_flag_is_a_choice_and_still_a_switch():
    spelled = {
        "run a b --verify": "run a b --verify=full",
        "run --verify a b": "run --verify=full a b",
        "run --verify packets a b": "run --verify packets a b",
        "run --verify=off a b": "run --verify=off a b",
        "run --verify=true a b": "run --verify=full a b",
        "run --verify=false a b": "run --verify=off a b",
        "run a b --no-verify -q": "run a b --verify=off -q",
        "run -- --verify --no-verify": "run -- --verify --no-verify",
    }
    assert {words: " ".join(spell_out(words.split())) for words in spelled} == spelled
    assert RunSpec.model_fields["verify"].default == "packets"

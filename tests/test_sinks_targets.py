import os
from pathlib import Path

import pytest
from sink_readback import KINDS, map_format, names, some_maps, write_maps

from framencc import staging
from framencc.config import make_spec
from framencc.errors import SinkError, SpecError
from framencc.sinks import ArraySink, ImageSink, VideoSink, check_targets, open_sink
from framencc.sinks.targets import try_folders

EXISTS = r"^output '.*' exists; give --overwrite to replace it$"
ITSELF = r"^output '.*' is the {} itself; choose another name$"
JOINS = r"^output '.*' would belong to the {} '.*' from then on; choose another folder$"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(output="out.mkv", **values):
    spec = make_spec({"input": "in.mp4", "reference": 0, "output": output, **values})
    check_targets(spec)
    try_folders(spec)


@pytest.mark.parametrize(
    ("output", "options", "sink", "dtype"),
    [
        ("out.mkv", {}, VideoSink, "uint8"),
        ("OUT.MKV", {"bits": 16}, VideoSink, "uint16"),
        ("out_%03d.mp4", {}, VideoSink, "uint8"),
        ("%06d.png", {}, ImageSink, "uint8"),
        ("%d.TIFF", {}, ImageSink, "float32"),
        ("%d.npy", {}, ImageSink, "float32"),
        ("out.npy", {}, ArraySink, "float32"),
    ],
)
def test_the_name_decides_the_sink(output, options, sink, dtype, here):
    spec = make_spec({"input": "in.mp4", "reference": 0, "output": output, "output_format": options})
    with open_sink(spec, map_format(dtype)) as opened:
        assert type(opened) is sink
        write_maps(opened, some_maps(2, dtype))
        assert opened.commit() == Path(output)
    assert len(names(here)) == (2 if sink is ImageSink else 1)


def test_nothing_there_is_fine_and_leaves_nothing(here):
    for output in ("out.mkv", "a/b/c/out.npy", "a/%d.png", "a/../out.mkv", str(here / "a" / "out.mp4")):
        check(output)
        assert names(here) == []


def test_an_existing_output_needs_overwrite(here):
    (here / "out.mkv").write_text("old")
    (here / "broken.mkv").symlink_to("nowhere")
    for output in ("out.mkv", "broken.mkv", "./out.mkv"):
        with pytest.raises(SpecError, match=EXISTS):
            check(output)
        check(output, overwrite=True)
    assert names(here) == ["broken.mkv", "out.mkv"]


def test_a_numbered_output_exists_when_any_of_its_files_does(here):
    for name in ("x.png", "7.png", "0000007.png", "-00001.png", "000007.png.json", "000007.tif"):
        Path(name).touch()
        check("%06d.png")
    for name in ("000007.png", "1000007.png", "000000.png"):
        Path(name).touch()
        with pytest.raises(SpecError, match=EXISTS):
            check("%06d.png")
        check("%06d.png", overwrite=True)
        Path(name).unlink()
    check("absent/%06d.png")


def test_a_folder_is_never_replaced(here):
    Path("out.mkv").mkdir()
    Path("seq/000003.png").mkdir(parents=True)
    for output in ("out.mkv", "seq/%06d.png"):
        for overwrite in (False, True):
            with pytest.raises(SpecError, match=r"cannot replace the folder"):
                check(output, overwrite=overwrite)


@pytest.mark.parametrize("role", ["input", "reference"])
def test_an_output_is_never_what_is_read(role, here):
    Path("here").mkdir()
    Path("read.mkv").write_text("precious")
    Path("hard.mkv").hardlink_to("read.mkv")
    Path("soft.mkv").symlink_to("read.mkv")
    Path("folder").symlink_to("here/..")
    for output in ("read.mkv", "hard.mkv", "soft.mkv", "here/../read.mkv", "folder/read.mkv", str(here / "read.mkv")):
        for overwrite in (False, True):
            with pytest.raises(SpecError, match=ITSELF.format(role)):
                check(output, **{role: "read.mkv"}, overwrite=overwrite)
    with pytest.raises(SpecError, match=ITSELF.format(role)):
        check("absent.mkv", **{role: "absent.mkv"})
    assert Path("read.mkv").read_text() == "precious"


@pytest.mark.parametrize("source", ["seq", "seq/%06d.png", "seq/*.png", "seq/000002.png", "link/%06d.png"])
def test_a_numbered_output_is_never_what_is_read(source, here):
    Path("seq").mkdir()
    Path("link").symlink_to("seq")
    for index in range(3):
        Path(f"seq/{index:06d}.png").touch()
    with pytest.raises(SpecError, match=ITSELF.format("input")):
        check("seq/%06d.png", input=source, overwrite=True)
    if source in ("seq", "seq/*.png"):
        with pytest.raises(SpecError, match=JOINS.format("input")):
            check("seq/map_%06d.png", input=source)
    else:
        check("seq/map_%06d.png", input=source)
    check("other/%06d.png", input=source)


@pytest.mark.parametrize(
    ("output", "source", "joins"),
    [
        ("seq/map_%06d.png", "seq/", True),
        ("seq/map_%06d.tif", "seq", True),  # a folder of two kinds cannot be read
        ("link/map_%06d.png", "seq", True),
        ("deep/../seq/map_%06d.png", "seq", True),
        ("seq/maps.npy", "seq", True),
        ("seq/maps.mkv", "seq", False),
        ("seq/maps/%06d.png", "seq", False),
        ("seq/map_%06d.png", "./seq/../seq/*", True),
        ("seq/map_%06d.png", "link/*.png", True),
        ("seq/map_%06d.png", "s?q/*.png", True),
        ("seq/map_%06d.png", "s?q/*.tif", False),
        ("seq/map_%06d.png", "seq/f_*.png", False),
        ("seq/maps/%06d.png", "seq/*.png", False),
        ("seq/maps.mkv", "seq/*", True),
        ("seq/map_%06d.png", "seq/f_%d.png", False),
    ],
)
def test_an_output_never_joins_what_is_read(output, source, joins, here):
    Path("seq").mkdir()
    Path("deep").mkdir()
    Path("link").symlink_to("seq")
    Path("seq/f_0.png").touch()
    for role, given in {"input": {"input": source}, "ncc.mask": {"ncc": {"mask": source}}}.items():
        if joins:
            with pytest.raises(SpecError, match=JOINS.format(role)):
                check(output, **given)
        else:
            check(output, **given)
    assert names(here) == ["deep", "link", "seq", "seq/f_0.png"]


def test_outputs_never_join_the_fields_that_are_read(here):
    Path("flow").mkdir()
    Path("flow/f_0.flo").touch()
    for output, joins in {"flow/maps.npy": True, "flow/m_%d.png": True, "flow/m_%d.tif": False}.items():
        warp = {"method": "field", "field": "flow"}
        if joins:
            with pytest.raises(SpecError, match=JOINS.format("warp.field")):
                check(output, warp=warp)
        else:
            check(output, warp=warp)
    with pytest.raises(SpecError, match=r"^fields 'flow/g_%d.flo' would belong to the warp.field 'flow'"):
        check("out.mkv", fields="flow/g_%d.flo", warp=warp)


@pytest.mark.parametrize(
    "output", ["take.npy", "./take.npy", "deep/../take.npy", "link/take.npy", "hard.npy", "soft.npy"]
)
@pytest.mark.parametrize("role", ["ncc", "warp", "validity"])
def test_masks_fields_and_other_outputs_are_safe_too(output, role, here):
    Path("deep").mkdir()
    Path("link").symlink_to(".")
    Path("take.npy").write_text("precious")
    Path("hard.npy").hardlink_to("take.npy")
    Path("soft.npy").symlink_to("take.npy")
    options, message = {
        "ncc": ({"ncc": {"mask": "take.npy"}}, ITSELF.format("ncc.mask")),
        "warp": ({"warp": {"method": "field", "field": "take.npy"}}, ITSELF.format("warp.field")),
        "validity": ({"validity": "take.npy"}, r"^validity 'take.npy' is the output itself; choose another name$"),
    }[role]
    with pytest.raises(SpecError, match=message):
        check(output, overwrite=True, **options)
    assert Path("take.npy").read_text() == "precious"


@pytest.mark.parametrize("name", ["out.mkv.json", "out.partial.mkv", "out.partial.mkv.json"])
@pytest.mark.parametrize("link", [False, True])
def test_what_goes_beside_an_output_is_never_what_is_read(name, link, here):
    Path(name).write_text("precious")
    Path("other").hardlink_to(name)
    for role in ("input", "reference"):
        with pytest.raises(SpecError, match=rf"^(sidecar|what a damaged .*) '{name}' is the {role} itself"):
            check(**{role: "other" if link else f"./{name}"}, overwrite=True)
    assert Path(name).read_text() == "precious"


def test_a_reference_by_index_is_no_file(here):
    Path("0").touch()
    check("out.mkv", reference=0)


@pytest.mark.parametrize("output", ["file/out.mkv", "file/deeper/%d.png", "/proc/absent/out.npy", "n" * 300 + ".mkv"])
@pytest.mark.skipif(os.name == "nt", reason="/proc and the messages are POSIX's")
def test_a_folder_that_cannot_be_written_is_one_clear_line(output, here):
    Path("file").touch()
    with pytest.raises(SinkError, match=r"^output '.*' cannot be written: \w+( \w+)*$"):
        check(output)
    assert names(here) == ["file"]


def test_a_half_made_path_is_removed_again(here, monkeypatch):
    make = Path.mkdir

    def fail_inside(path):
        if path.name == "c":
            raise PermissionError(13, "Permission denied")
        make(path)

    monkeypatch.setattr(Path, "mkdir", fail_inside)
    with pytest.raises(SinkError, match="Permission denied"):
        check("a/b/c/out.mkv")
    assert names(here) == []


def test_folders_that_another_job_makes_meanwhile_stay(here, monkeypatch):
    make = Path.mkdir

    def come_second(path):
        make(path)
        if path.name == "shared":
            make(path)

    monkeypatch.setattr(Path, "mkdir", come_second)
    assert staging.make_folders(here / "shared" / "own") == [here / "shared" / "own"]


def test_hidden_names(here):
    assert staging.hidden_name("take01.mkv").startswith(".take01.mkv.framencc-")
    assert staging.hidden_name("take01.mkv").endswith(".mkv")
    assert staging.hidden_name("a.mkv") != staging.hidden_name("a.mkv")
    for name in ("n" * 251 + ".mkv", "\u65e5" * 83 + ".npy", os.fsdecode(b"\xff" * 251 + b".mkv")):
        (here / staging.hidden_name(name)).touch()


def test_a_later_change_of_the_working_folder_strands_nothing(here, monkeypatch):
    Path("elsewhere").mkdir()
    for kind in KINDS.values():
        sink = kind.open(Path())
        write_maps(sink, some_maps(2, kind.dtype))
        monkeypatch.chdir("elsewhere")
        sink.commit()
        monkeypatch.chdir(here)
        assert names(Path("elsewhere")) == []
        for path in Path("new").iterdir():
            path.unlink()
        Path("new").rmdir()

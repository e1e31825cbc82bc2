"""What the documentation says is so: its pictures, its defaults, its snippets."""

import importlib.util
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from media import random_frames, write_clip
from PIL import Image

from framencc import Reference
from framencc.config import make_ncc_spec
from framencc.spec.ncc import NccSpec

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DEFINITION = ROOT / "docs" / "definition.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "make_definition_pictures.py"
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_that_is_linked_is_there(page: Path):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_table_names_every_option_with_its_default():
    table = DEFINITION.read_text(encoding="utf-8").split("## The options")[1].split("\n### ")[0]
    rows = re.findall(r"^\| \[?`(\w+)`\S* \| (\S+) \|", table, re.MULTILINE)
    options = dict(inspect.signature(Reference).parameters)
    del options["image"], options["threads"]
    expected = {name: as_written(option.default) for name, option in options.items()}
    # An array is never YUV.
    assert set(NccSpec.model_fields) - {"rgb_range"} <= set(expected)
    assert dict(rows) == expected
    assert len(rows) == len(expected)


def as_written(default: Any) -> str:
    if default is None:
        return "unset"
    return str(default).lower() if isinstance(default, bool | str) else f"{default:g}"


def test_settings_on_the_page_are_accepted():
    tables = [tomllib.loads(block) for block in blocks(DEFINITION, "toml")]
    assert tables
    for table in tables:
        make_ncc_spec(**table["ncc"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    clip = random_frames(3)
    write_clip(tmp_path / "take01.mp4", clip, "-pix_fmt", "yuv420p", codec=("-c:v", "libx264"))
    Image.fromarray(clip[0]).save(tmp_path / "neutral.png")
    names: dict[str, Any] = {"reference": clip[0], "frame": clip[1], "frames": clip}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_numbers_in_the_snippets_are_what_comes_out():
    names: dict[str, Any] = {}
    formula, codes, encodings = blocks(DEFINITION, "python")
    exec(formula, names)
    np.testing.assert_allclose(names["rho"], [[1.0, 0.5, -1.0]], rtol=0, atol=1e-6)  # the promise of accuracy
    exec(codes, names)
    assert names["rho"].tolist() == [[0.0, 0.0, 0.5, 0.0, 0.0]]
    assert names["validity"].tolist() == [[1, 1, 0, 2, 2]]
    exec(encodings, names)
    assert names["clip"] == pytest.approx([0, 0.502, 1], abs=0.0005)
    assert names["signed"] == pytest.approx([-1, 0.004, 1], abs=0.0005)


def test_every_picture_of_the_definition_is_shown_and_small(script: ModuleType):
    pictures = sorted((ROOT / "docs" / "definition").iterdir())
    assert [path.name for path in pictures] == sorted(f"{name}.png" for name in script.PICTURES)
    shown = LINK.findall(DEFINITION.read_text(encoding="utf-8"))
    assert {f"definition/{path.name}" for path in pictures} <= set(shown)
    sizes = [path.stat().st_size for path in pictures]
    assert max(sizes) <= 120_000
    assert sum(sizes) <= 900_000


@pytest.mark.parametrize("name", ["border", "mask"])
def test_remaking_a_picture_gives_the_committed_one(script: ModuleType, name: str):
    remade = script.PICTURES[name]()
    with Image.open(script.FOLDER / f"{name}.png") as committed:
        assert remade.size == committed.size
        # The panels only: another version of Pillow may draw the captions a shade differently.
        box = (0, script.TOP, remade.width, script.TOP + script.CELL)
        first, second = (np.asarray(picture.convert("RGB").crop(box)) for picture in (remade, committed))
    np.testing.assert_array_equal(first, second)

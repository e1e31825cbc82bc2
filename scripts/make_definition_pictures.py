"""Remake the pictures of docs/definition.md, all or some: ``python scripts/make_definition_pictures.py [NAME ...]``.

Everything comes from scikit-image's astronaut and the demo's glove, and all noise is seeded: the same bytes every time.
"""

import functools
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from framencc import local_ncc
from framencc.channels import to_luma
from framencc.demo.hand import Hand
from framencc.demo.motion import pixel_grid
from framencc.demo.take import Take
from framencc.render import encode
from framencc.spec import Encoding

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "definition"

CELL = 172
TOP = 30
"""Side of every panel, and where the first row of panels begins, in pixels."""
GAP, MARGIN, LINE = 6, 8, 24
PAPER, INK, FAINT, FRAME = 255, 40, 110, 150

Array = npt.NDArray[Any]
Colour = tuple[int, int, int]

# Okabe and Ito's colours, which can be told apart by everybody.
CODES: tuple[tuple[Colour, str], ...] = (
    ((226, 226, 226), "0  measured"),
    ((86, 180, 233), "1  flat reference"),
    ((0, 90, 160), "2  flat frame"),
    ((230, 159, 0), "3  outside"),
    ((204, 121, 167), "4  masked"),
    ((240, 228, 66), "5  too few valid"),
    ((213, 94, 0), "6  not finite"),
)
MASKED, TOO_FEW, OUTSIDE = 4, 5, 3

FACES: dict[str, Any] = {"noise_sigma": 3, "flat": 1}
FACES_TEXT = "noise_sigma = 3, flat = 1"


@dataclass(frozen=True)
class Panel:
    """A (CELL, CELL) gray or (CELL, CELL, 3) RGB uint8 picture with what stands above it."""

    caption: str
    picture: Array


@dataclass(frozen=True)
class Pair:
    """A reference, a frame that was warped onto it, and where a hand came between; (CELL, CELL) each."""

    reference: Array
    frame: Array
    hidden: Array


@functools.cache
def face(noise_sigma: float = 2.0) -> Pair:
    """Return the pair that most pictures show: the head turned and warped back, dimmer, noisy, with a hand."""
    take, index = Take(), 60
    hand = Hand(352.0, 432.0, -0.45)
    frame = hand.cover(take.warped(index, take.frame(index)).astype(np.float32), *pixel_grid())
    # A little more than the hand, as one would draw it: its outline is soft.
    hidden = np.where(hand.distance(*pixel_grid()) < 7, np.float32(255), np.float32(0))
    return Pair(_shrunk(take.reference), with_noise(_shrunk(frame), noise_sigma), _shrunk(hidden) > 127)


def with_noise(picture: Array, sigma: float) -> Array:
    """Return the picture as a camera with noise would see it."""
    noise = np.random.default_rng(2014).standard_normal(picture.shape)
    return np.clip(np.rint(picture + sigma * noise), 0, 255).astype(np.uint8)


def gray(rho: Array) -> Array:
    """Return the codes of the clip encoding: black is no confidence, white is full."""
    return encode(rho, "clip")


def radius_picture() -> Image.Image:
    """Show what the window's size decides."""
    pair = face()
    maps = [Panel(f"radius = {radius}", gray(local_ncc(pair.reference, pair.frame, radius))) for radius in (1, 3, 8)]
    return draw([[Panel("reference", pair.reference), Panel("frame, warped", pair.frame), *maps]], scale=True)


def radii_picture() -> Image.Image:
    """Show the three ways to combine radii."""
    pair = face()
    maps = [
        Panel(f"combine = {combine}", gray(local_ncc(pair.reference, pair.frame, (1, 3, 8), combine=combine, **FACES)))
        for combine in ("mean", "min", "max")
    ]
    return draw([[Panel("frame, warped", pair.frame), *maps]], f"radius = [1, 3, 8], {FACES_TEXT}", scale=True)


def border_picture() -> Image.Image:
    """Show at a corner, enlarged, which pixels a window holds and what becomes of the map."""
    radius, zoom, outside = 5, 4, 13
    inside = CELL // zoom - outside
    reference = to_luma(data.astronaut())
    frame = with_noise(reference, 12.0)
    whole = np.pad(frame[: 2 * inside, : 2 * inside], ((outside, 0), (outside, 0)), "symmetric")
    corner = whole[: CELL // zoom, : CELL // zoom]
    y = x = outside + 2
    window = np.zeros(corner.shape, bool)
    window[y - radius : y + radius + 1, x - radius : x + radius + 1] = True
    beyond = np.ones(corner.shape, bool)
    beyond[outside:, outside:] = False
    rows: list[list[Panel]] = [[], []]
    for border in ("shrink", "valid", "reflect"):
        rho, validity = local_ncc(reference, frame, radius, border=border, return_validity=True)
        shown = np.where(window, corner, 255 - (255 - corner) // 3)
        if border != "reflect":
            shown = np.where(beyond, PAPER, shown)
        picture = Image.fromarray(_enlarged(shown, zoom)).convert("RGB")
        ring = (CODES[OUTSIDE][0], CODES[2][0])[border != "valid"]
        first = outside if border == "shrink" else y - radius
        pen = ImageDraw.Draw(picture)
        pen.rectangle(
            (first * zoom, first * zoom, (y + radius + 1) * zoom, (x + radius + 1) * zoom), outline=ring, width=2
        )
        pen.rectangle((x * zoom - 1, y * zoom - 1, (x + 1) * zoom, (y + 1) * zoom), fill=ring)
        edge = outside * zoom - 1
        pen.line([(edge, CELL), (edge, edge), (CELL, edge)], fill=(INK,) * 3)
        rows[0].append(Panel(f"border = {border}", np.asarray(picture)))
        small = np.full((*corner.shape, 3), PAPER, np.uint8)
        small[outside:, outside:] = coloured(rho, validity)[:inside, :inside]
        picture = Image.fromarray(_enlarged(small, zoom))
        ImageDraw.Draw(picture).line([(edge, CELL), (edge, edge), (CELL, edge)], fill=(INK,) * 3)
        rows[1].append(Panel("", np.asarray(picture)))
    return draw(rows, "above: the window of one pixel; below: the map, radius = 5", legend=(OUTSIDE,))


def flat_picture() -> Image.Image:
    """Show what a window without texture, and one with nothing but noise, are worth."""
    pair = face(3.0)
    bars = np.ones((CELL, CELL), bool)
    bars[18:-18] = False
    reference, frame = (np.where(bars, np.uint8(16), picture) for picture in (pair.reference, pair.frame))
    maps = [
        Panel(f"noise_sigma = {sigma}, flat = {flat}", gray(local_ncc(reference, frame, flat=flat, noise_sigma=sigma)))
        for sigma in (0, 3)
        for flat in (0, 1)
    ]
    return draw([[Panel("frame, warped", frame), *maps]], "radius = 3", scale=True)


def mask_picture() -> Image.Image:
    """Show that masked pixels take no part in their neighbours' windows, and how many of these must be left."""
    pair = face()
    panels = [
        Panel("mask over the frame", _tinted(pair.frame, pair.hidden, CODES[MASKED][0])),
        Panel("no mask", coloured(local_ncc(pair.reference, pair.frame, 8, **FACES))),
    ]
    for fraction in (1, 0.5, 0.1):
        options = {"mask": ~pair.hidden, "min_valid_fraction": fraction, **FACES}
        rho, validity = local_ncc(pair.reference, pair.frame, 8, return_validity=True, **options)
        panels.append(Panel(f"min_valid_fraction = {fraction}", coloured(rho, validity)))
    return draw([panels], f"radius = 8, {FACES_TEXT}", legend=(MASKED, TOO_FEW))


def labels_picture() -> Image.Image:
    """Show that a picture of labels holds several masks."""
    pair = face()
    labels = np.zeros((CELL, CELL), np.uint8)
    y, x = np.indices(labels.shape)
    labels[np.hypot((x - 76) / 40, (y - 86) / 50) < 1] = 1
    labels[(np.hypot((x - 60) / 12, (y - 79) / 7) < 1) | (np.hypot((x - 93) / 12, (y - 80) / 7) < 1)] = 2
    labels[np.hypot((x - 79) / 19, (y - 117) / 11) < 1] = 3
    shown = np.repeat(pair.reference[..., np.newaxis], 3, axis=2)
    for label, code in ((1, 1), (2, 3), (3, 6)):
        shown = np.where((labels == label)[..., np.newaxis], shown // 2 + np.array(CODES[code][0]) // 2, shown)
    panels = [Panel("labels 1, 2 and 3", shown.astype(np.uint8))]
    for chosen in ([1, 2, 3], [1], [2, 3]):
        options = {"mask": labels, "mask_labels": chosen, **FACES}
        rho, validity = local_ncc(pair.reference, pair.frame, return_validity=True, **options)
        panels.append(Panel(f"mask_labels = {chosen}", coloured(rho, validity)))
    return draw([panels], f"radius = 3, {FACES_TEXT}", legend=(MASKED, TOO_FEW))


def alpha_picture() -> Image.Image:
    """Show a reference that was cut out."""
    pair = face()
    y, x = np.indices((CELL, CELL))
    opacity = np.where(np.hypot((x - 77) / 52, (y - 68) / 66) < 1, 255, 0).astype(np.uint8)
    reference = np.dstack([pair.reference, opacity])
    board = np.where((x // 8 + y // 8) % 2, np.uint8(205), np.uint8(240))
    panels = [Panel("reference with alpha", np.where(opacity > 0, pair.reference, board))]
    for alpha in ("ignore", "reference"):
        rho, validity = local_ncc(reference, pair.frame, alpha=alpha, return_validity=True, **FACES)
        panels.append(Panel(f"alpha = {alpha}", coloured(rho, validity)))
    return draw([panels], f"radius = 3, {FACES_TEXT}", legend=(MASKED, TOO_FEW))


def fill_picture() -> Image.Image:
    """Show what stands in the map where nothing was measured."""
    pair = face()
    maps = [
        Panel(f"fill = {fill}", gray(local_ncc(pair.reference, pair.frame, 5, mask=~pair.hidden, fill=fill, **FACES)))
        for fill in (0, 0.5, 1)
    ]
    panels = [Panel("mask over the frame", _tinted(pair.frame, pair.hidden, CODES[MASKED][0])), *maps]
    return draw([panels], f"radius = 5, {FACES_TEXT}", scale=True)


def validity_picture() -> Image.Image:
    """Show every code at once: only one of seven kinds of black in the map is a measurement."""
    pair = face()
    reference = np.maximum(pair.reference, 48).astype(np.float32)
    frame = np.minimum(pair.frame * 1.6, 255).astype(np.float32)
    frame[:, 58:60] = np.nan
    options: dict[str, Any] = {"border": "valid", "mask": ~pair.hidden, "min_valid_fraction": 0.75}
    rho, validity = local_ncc(reference, frame, return_validity=True, **options)
    colours = np.array([colour for colour, _ in CODES], np.uint8)
    panels = [
        Panel("reference", reference.astype(np.uint8)),
        Panel("frame, warped", np.nan_to_num(frame).astype(np.uint8)),
        Panel("map", gray(rho)),
        Panel("validity", colours[validity]),
    ]
    return draw([panels], legend_beside=range(len(CODES)))


def painted_face() -> tuple[Array, Array]:
    """Return a face, and the same with paint that has the skin's luma by BT.601; (CELL, CELL, 3) each."""
    reference = _shrunk(data.astronaut()[6:211, 125:330])
    y, x = np.indices((CELL, CELL))
    cheek = np.hypot(x - 88, y - 98) < 27
    stripe = (x - y) // 6 % 3
    # Of both, 0.299 R + 0.587 G + 0.114 B is 0.
    green, violet = np.array([-58.7, 29.9, 0.0]), np.array([0.0, -11.4, 58.7])
    paint = np.where((stripe == 0)[..., np.newaxis], green, np.where((stripe == 1)[..., np.newaxis], violet, 0.0))
    frame = np.clip(np.rint(reference + cheek[..., np.newaxis] * paint), 0, 255).astype(np.uint8)
    return reference, frame


def channel_picture() -> Image.Image:
    """Show a change of colour alone."""
    reference, frame = painted_face()
    maps = [
        Panel(f"channel = {channel}", gray(local_ncc(reference, frame, channel=channel, flat=1)))
        for channel in ("luma", "red", "joint")
    ]
    return draw([[Panel("reference", reference), Panel("frame", frame), *maps]], "radius = 3, flat = 1", scale=True)


def matrix_picture() -> Image.Image:
    """Show that which colours have equal luma depends on the weights."""
    reference, frame = painted_face()
    maps = [
        Panel(f"rgb_matrix = {matrix}", gray(local_ncc(reference, frame, rgb_matrix=matrix, flat=1)))
        for matrix in ("bt601", "bt709", "bt2020")
    ]
    text = "channel = luma, radius = 3, flat = 1"
    return draw([[Panel("reference", reference), Panel("frame", frame), *maps]], text, scale=True)


def smooth_picture() -> Image.Image:
    """Show a smoothed map."""
    pair = face()
    maps = [
        Panel(f"smooth_sigma = {sigma}", gray(local_ncc(pair.reference, pair.frame, smooth_sigma=sigma)))
        for sigma in (0, 2, 5)
    ]
    return draw([[Panel("frame, warped", pair.frame), *maps]], "radius = 3", scale=True)


def encoding_picture() -> Image.Image:
    """Show one map in both encodings of files."""
    pair = face()
    rho = local_ncc(pair.reference, pair.frame)
    encodings: tuple[Encoding, ...] = ("clip", "signed")
    maps = [Panel(f"encoding = {encoding}", encode(rho, encoding)) for encoding in encodings]
    return draw(
        [[Panel("frame, warped", pair.frame), *maps]],
        "radius = 3; white is 1, black is 0 or less (clip) or -1 (signed)",
    )


def coloured(rho: Array, validity: Array | None = None) -> Array:
    """Return a map in gray, with the colours of their codes where there is no measurement."""
    picture = np.repeat(gray(rho)[..., np.newaxis], 3, axis=2)
    if validity is not None:
        for code in (OUTSIDE, MASKED, TOO_FEW):
            picture[validity == code] = CODES[code][0]
    return picture


def draw(
    rows: Sequence[Sequence[Panel]],
    footer: str = "",
    *,
    scale: bool = False,
    legend: Sequence[int] = (),
    legend_beside: Sequence[int] = (),
) -> Image.Image:
    """Set panels in rows, the same scale in all pictures.

    Parameters
    ----------
    rows
        The panels.
    footer
        A line below them, at the left.
    scale
        Whether the grays are explained below them.
    legend, legend_beside
        Codes whose colours are explained below the panels, or at their right.
    """
    n_columns = len(rows[0]) + (1 if legend_beside else 0)
    width = 2 * MARGIN + n_columns * CELL + (n_columns - 1) * GAP
    has_footer = bool(footer or scale or legend)
    height = TOP + len(rows) * (CELL + GAP) + (LINE if has_footer else 2)
    sheet = Image.new("RGB", (width, height), (PAPER,) * 3)
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(14), ImageFont.load_default(13)
    for number, row in enumerate(rows):
        top = TOP + number * (CELL + GAP)
        for column, panel in enumerate(row):
            left = MARGIN + column * (CELL + GAP)
            if panel.caption:
                pen.text((left + CELL / 2, top - 13), panel.caption, fill=(INK,) * 3, font=font, anchor="mm")
            sheet.paste(Image.fromarray(panel.picture).convert("RGB"), (left, top))
            pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), outline=(FRAME,) * 3)
    middle = height - LINE / 2 - 2
    right = width - MARGIN
    pen.text((MARGIN, middle), footer, fill=(FAINT,) * 3, font=small, anchor="lm")
    for code in reversed(legend):
        colour, name = CODES[code]
        right -= round(pen.textlength(name[3:], small))
        pen.text((right, middle), name[3:], fill=(FAINT,) * 3, font=small, anchor="lm")
        right -= 20
        pen.rectangle((right, middle - 6, right + 13, middle + 6), fill=colour, outline=(FRAME,) * 3)
        right -= 16
    if scale:
        _draw_scale(sheet, right, round(middle), small)
    for number, code in enumerate(legend_beside):
        colour, name = CODES[code]
        left, y = width - MARGIN - CELL + 8, TOP + 12 + number * 24
        pen.rectangle((left, y - 7, left + 15, y + 7), fill=colour, outline=(FRAME,) * 3)
        pen.text((left + 24, y), name, fill=(INK,) * 3, font=font, anchor="lm")
    return _compact(sheet)


def _draw_scale(sheet: Image.Image, right: int, middle: int, font: Any) -> None:
    """Draw the grays from no to full correlation."""
    pen = ImageDraw.Draw(sheet)
    length = 100
    bar = np.tile(np.rint(np.linspace(0, 255, length)).astype(np.uint8), (10, 1))
    left = right - length - 14
    pen.text((right, middle), "1", fill=(FAINT,) * 3, font=font, anchor="rm")
    pen.text((left - 6, middle), "rho: 0 or less", fill=(FAINT,) * 3, font=font, anchor="rm")
    sheet.paste(Image.fromarray(bar).convert("RGB"), (left, middle - 5))
    pen.rectangle((left - 1, middle - 6, left + length, middle + 5), outline=(FRAME,) * 3)


def _compact(sheet: Image.Image) -> Image.Image:
    """Return the same picture in the mode that takes the fewest bytes."""
    pixels = np.asarray(sheet)
    if (pixels == pixels[..., :1]).all():
        return Image.fromarray(pixels[..., 0].copy())
    colours, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) > 256:
        return sheet
    compact = Image.fromarray(indices.reshape(pixels.shape[:2]).astype(np.uint8))
    compact.putpalette(colours.tobytes())
    return compact


def _shrunk(picture: Array) -> Array:
    codes = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(codes).resize((CELL, CELL), Image.Resampling.LANCZOS))


def _enlarged(picture: Array, zoom: int) -> Array:
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _tinted(picture: Array, where: Array, colour: Colour) -> Array:
    rgb = np.repeat(picture[..., np.newaxis], 3, axis=2)
    return np.where(where[..., np.newaxis], (rgb // 2 + np.array(colour) // 2).astype(np.uint8), rgb)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "radius": radius_picture,
    "radii": radii_picture,
    "border": border_picture,
    "flat": flat_picture,
    "mask": mask_picture,
    "labels": labels_picture,
    "alpha": alpha_picture,
    "fill": fill_picture,
    "validity": validity_picture,
    "channel": channel_picture,
    "matrix": matrix_picture,
    "smooth": smooth_picture,
    "encoding": encoding_picture,
}


def main(names: Sequence[str] = ()) -> None:
    """Remake the pictures of these names, or all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        content = io.BytesIO()
        PICTURES[name]().save(content, "PNG", optimize=True)
        target = FOLDER / f"{name}.png"
        target.write_bytes(content.getvalue())
        print(f"{target} ({target.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The contact sheet: pictures in rows and columns, captions, and what the grays of the last column mean."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from framencc.frames import Picture
from framencc.sinks.base import sink_error
from framencc.staging import Staged

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_WHITE, _INK = 255, 40


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet.

    Parameters
    ----------
    caption
        Stands upright at the row's left.
    pictures
        One (H, W) uint8 picture for every column, all of one size.
    """

    caption: str
    pictures: tuple[Picture, ...]


def draw_sheet(columns: Sequence[str], rows: Sequence[SheetRow], footer: str, *, width: int) -> Image.Image:
    """Draw a contact sheet.

    Parameters
    ----------
    columns
        Headings; the last column is the confidence, and a scale of its grays stands below it.
    rows
        What to show, from top to bottom.
    footer
        A line of text below the pictures, at the left.
    width
        Width of the sheet in pixels; its height follows.

    Returns
    -------
    PIL.Image.Image
        The sheet, in gray.
    """
    font_size = max(11, width // 62)
    font = ImageFont.load_default(font_size)
    line = round(1.6 * font_size)
    gap = max(4, width // 160)
    cell_width = (width - line - gap * (len(columns) + 1)) // len(columns)
    picture_height, picture_width = rows[0].pictures[0].shape
    cell_height = round(cell_width * picture_height / picture_width)
    bottom = gap + line + len(rows) * (cell_height + gap)
    sheet = Image.new("L", (width, bottom + line + gap), _WHITE)
    draw = ImageDraw.Draw(sheet)
    lefts = [line + gap + number * (cell_width + gap) for number in range(len(columns))]
    for left, heading in zip(lefts, columns, strict=True):
        draw.text((left + cell_width / 2, gap + line / 2), heading, fill=_INK, font=font, anchor="mm")
    for number, row in enumerate(rows):
        top = gap + line + number * (cell_height + gap)
        sheet.paste(_upright(row.caption, (cell_height, line), font), (gap // 2, top))
        for left, picture in zip(lefts, row.pictures, strict=True):
            shown = Image.fromarray(picture).resize((cell_width, cell_height), Image.Resampling.LANCZOS)
            sheet.paste(shown, (left, top))
            # The maps are white at their edges, and so is the paper.
            draw.rectangle((left, top, left + cell_width - 1, top + cell_height - 1), outline=150)
    draw.text((lefts[0], bottom + line / 2), footer, fill=_INK, font=font, anchor="lm")
    _draw_scale(sheet, (lefts[-1], bottom, cell_width, line), font)
    return sheet


def save_png(picture: Picture | Image.Image, target: Path) -> None:
    """Write a picture as PNG; it appears whole or not at all, in place of an older one.

    Raises
    ------
    SinkError
        When it cannot be written.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    try:
        staged = Staged(target)
        try:
            staged.path.write_bytes(content.getbuffer())
            staged.publish(target.name)
        except BaseException:
            staged.discard()
            raise
    except OSError as error:
        raise sink_error(target, error) from error


def _upright(text: str, size: tuple[int, int], font: Font) -> Image.Image:
    """Draw a line of text, read from below."""
    strip = Image.new("L", size, _WHITE)
    ImageDraw.Draw(strip).text((size[0] / 2, size[1] / 2), text, fill=_INK, font=font, anchor="mm")
    return strip.transpose(Image.Transpose.ROTATE_90)


def _draw_scale(sheet: Image.Image, box: tuple[int, int, int, int], font: Font) -> None:
    """Draw the grays from no to full confidence, with numbers at their ends."""
    left, top, width, height = box
    margin = round(height * 0.6)
    bar_width, bar_height = width - 2 * margin, round(height * 0.5)
    bar = np.tile(np.rint(np.linspace(0, 255, bar_width)).astype(np.uint8), (bar_height, 1))
    x, y = left + margin, top + (height - bar_height) // 2
    draw = ImageDraw.Draw(sheet)
    sheet.paste(Image.fromarray(bar), (x, y))
    draw.rectangle((x - 1, y - 1, x + bar_width, y + bar_height), outline=_INK)
    for number, centre in (("0", left + margin / 2), ("1", left + width - margin / 2)):
        draw.text((centre, top + height / 2), number, fill=_INK, font=font, anchor="mm")

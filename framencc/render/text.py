"""Text and scales on pictures, drawn by Pillow with its own font."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from framencc.frames import Picture
from framencc.render.colours import Table

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

LINE_HEIGHT = 1.6  # of a font's size
_SPACE = 0.33  # of it as well


@functools.cache
def font(size: int) -> Font:
    """Return Pillow's built-in font in a size."""
    return ImageFont.load_default(size)


def line_height(size: int) -> int:
    """Return what a line of a font takes, in pixels."""
    return round(LINE_HEIGHT * size)


def space_width(size: int) -> int:
    """Return how wide a space is, in pixels; the font's own lets words run together in small sizes."""
    return max(math.ceil(_SPACE * size), round(font(size).getlength(" ")))


def text_width(text: str, size: int) -> int:
    """Return how wide a line of text is, in pixels."""
    words = text.split(" ")
    return math.ceil(sum(font(size).getlength(word) for word in words)) + (len(words) - 1) * space_width(size)


def draw_text(draw: ImageDraw.ImageDraw, left: float, middle: float, text: str, size: int, ink: Colour) -> None:
    """Draw a line of text, given its left end and half its height."""
    for word in text.split(" "):
        draw.text((left, middle), word, fill=ink, font=font(size), anchor="lm")
        left += font(size).getlength(word) + space_width(size)


def draw_scale(image: Image.Image, box: Box, palette: Table, size: int, ink: Colour) -> None:
    """Draw the colours of no to full confidence, with ticks and numbers.

    Parameters
    ----------
    image
        What is drawn on, gray or RGB.
    box
        Left, top, width and height; two lines of text are high enough.
    palette
        (256 or more, 3) uint8, of the codes 0 to 255.
    size
        Of the font.
    ink
        Colour of text and lines; of gray pictures the first number.
    """
    left, top, width, height = box
    drawn = ink if image.mode == "RGB" else ink[0]
    # The numbers stand below the ends, so half of one reaches beyond the bar on each side.
    margin = math.ceil(text_width("0.5", size) / 2) + 2
    bar_left, bar_width, bar_height = left + margin, width - 2 * margin, max(2, round(0.4 * height))
    codes = np.rint(np.linspace(0, 255, bar_width)).astype(int)
    bar = np.broadcast_to(palette[codes], (bar_height, bar_width, 3))
    y = top + max(1, height // 10)
    image.paste(Image.fromarray(np.ascontiguousarray(bar)), (bar_left, y))
    draw = ImageDraw.Draw(image)
    draw.rectangle((bar_left - 1, y - 1, bar_left + bar_width, y + bar_height), outline=drawn)
    bottom = y + bar_height
    for quarter in range(5):
        x = bar_left + round(quarter * (bar_width - 1) / 4)
        draw.line((x, bottom, x, bottom + max(2, height // 12)), fill=drawn)
        if quarter % 2 == 0:
            place = (x, bottom + max(3, height // 9))
            draw.text(place, f"{quarter / 4:g}", fill=drawn, font=font(size), anchor="ma")


class Writer:
    """Writes lines that change from frame to frame: each character is drawn once and then copied.

    Parameters
    ----------
    size
        Of the font.
    ink, paper
        Colours of the text and of what it stands on.
    """

    def __init__(self, size: int, ink: Colour, paper: Colour) -> None:
        self._size, self._ink, self._paper = size, ink, paper
        self._glyphs: dict[str, Picture] = {}

    def write(self, canvas: Picture, text: str, left: int, top: int, width: int) -> None:
        """Write a line of text into an (H, W, 3) canvas; what does not fit into `width` is cut off."""
        end = left + width
        for character in text:
            glyph = self._glyph(character)
            shown = glyph[:, : max(0, end - left)]
            canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
            left += glyph.shape[1]

    def _glyph(self, character: str) -> Picture:
        if character not in self._glyphs:
            # All digits get one width, so that a number does not tremble as it counts.
            wide = "0" if character.isdigit() else character
            own = space_width(self._size) if character == " " else round(font(self._size).getlength(wide))
            cell = max(1, own), line_height(self._size)
            image = Image.new("RGB", cell, self._paper)
            place = (cell[0] / 2, round(0.5 * cell[1]))
            ImageDraw.Draw(image).text(place, character, fill=self._ink, font=font(self._size), anchor="mm")
            self._glyphs[character] = np.array(image)
        return self._glyphs[character]

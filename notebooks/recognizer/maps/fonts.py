"""Fonts for text in any script: which installed font has a character, and what replaces it if none has."""

import os
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, groupby

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

FONTS = f"{matplotlib.get_data_path()}/fonts/ttf"
PLAIN, BOLD = f"{FONTS}/DejaVuSans.ttf", f"{FONTS}/DejaVuSans-Bold.ttf"
CJK = "Noto Sans CJK (Debian, Ubuntu, Colab: apt install fonts-noto-cjk)"
PICTOGRAMS = "Symbola (Debian, Ubuntu, Colab: apt install fonts-symbola)"
OTHERS = "a Noto font for its script (fonts.google.com/noto)"

_files: dict[str, str | None] = {}  # character → font file that has it, or None
_recommended: set[str] = set()  # fonts that a message has already recommended


@cache
def font(size: int, bold: bool = False, file: str | None = None) -> ImageFont.FreeTypeFont:
    """The font of `file`. The default is DejaVu Sans from matplotlib, so that sheets look the same on every machine."""
    return ImageFont.truetype(file or (BOLD if bold else PLAIN), size)


def readable(text: str) -> str:
    """Replace the characters of `text` that no installed font has by words.

    A letter becomes its sound ('バ' becomes 'ba'), a pictogram its name, a Chinese character its code point. Control
    characters become spaces. The first time, a message says which font to install.
    """
    text = "".join(" " if unicodedata.category(c) == "Cc" and c != "\n" else c for c in text)
    files = fonts_of(text)
    runs = [(missing, "".join(run)) for missing, run in groupby(text, lambda c: files[c] is None)]
    if not any(missing for missing, _ in runs):
        return text
    words = (f" {'-'.join(filter(None, map(_word, run)))} " if missing else run for missing, run in runs)
    replaced = re.sub(r" +(?=[ ,;:)])", "", "".join(words)).strip()
    missing = "".join(c for c in text if files[c] is None)
    if re.search("CJK|HIRAGANA|KATAKANA|HANGUL", " ".join(unicodedata.name(c, "") for c in missing)):
        needed = CJK
    else:
        needed = PICTOGRAMS if any(unicodedata.category(c) == "So" for c in missing) else OTHERS
    if needed not in _recommended:
        _recommended.add(needed)
        print(f"No installed font has all characters, so pictures show «{replaced}». Install {needed} and start again.")
    return replaced


def fonts_of(text: str) -> dict[str, str | None]:
    """Character of `text` → font file that has it: DejaVu Sans if possible, else an installed font, else None."""
    missing = {c for c in text if c not in _files}
    for file in chain([PLAIN], _installed()):
        if not missing:
            break
        try:
            face = FT2Font(file)
        except (RuntimeError, OSError):  # matplotlib cannot read some formats, such as emoji in colour
            continue
        # Line breaks are not drawn. Bitmap fonts are left out, because they have only a few sizes.
        available = {c for c in missing if c == "\n" or face.scalable and face.get_char_index(ord(c))}
        _files.update(dict.fromkeys(available, file))
        missing -= available
    _files.update(dict.fromkeys(missing))
    return {c: _files[c] for c in text}


def draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    colour: str,
    size: int,
    bold: bool = False,
    width: float = float("inf"),
) -> None:
    """Draw one line of text with its top left corner at `place`. If it is wider than `width`, its middle is cut out."""
    text = readable(text.replace("\n", " "))
    if _width(text, size, bold) > width:
        kept = next((n for n in range(len(text) - 1, 0, -1) if _width(_shortened(text, n), size, bold) <= width), 1)
        text = _shortened(text, kept)
    x, y = place[0], place[1] + font(size, bold).getmetrics()[0]
    for run, face in _runs(text, size, bold):
        draw.text((x, y), run, colour, face, anchor="ls")
        x += face.getlength(run)


def _runs(text: str, size: int, bold: bool) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    files = fonts_of(text)
    for file, run in groupby(text, files.get):
        yield "".join(run), font(size, bold) if file in (PLAIN, None) else font(size, file=file)


def _width(text: str, size: int, bold: bool) -> float:
    return sum(face.getlength(run) for run, face in _runs(text, size, bold))


def _shortened(text: str, kept: int) -> str:
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def _installed() -> Iterator[str]:
    """Font files on this machine, plain ones first. Matplotlib's own list is not used, because it may be outdated."""

    from matplotlib.font_manager import findSystemFonts  # imported here: it reads all fonts, which few texts need

    def order(file: str) -> tuple[bool, bool, str]:
        name = os.path.basename(file).lower()
        return "regular" not in name, "serif" in name or "mono" in name, name

    yield from sorted(findSystemFonts(), key=order)


def _word(character: str) -> str:
    """The word that replaces a character."""
    name = unicodedata.name(character, "")
    if unicodedata.category(character) in ("Cf", "Mn"):
        return ""  # combining and format characters only modify their neighbours
    if not name or "IDEOGRAPH" in name:
        return f"U+{ord(character):04X}"
    return re.sub(r".*\b(LETTER|SYLLABLE|CHARACTER|SIGN|DIGIT) ", "", name).lower()

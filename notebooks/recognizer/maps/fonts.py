"""Letters for every name: which installed font has them, and what is written where none has."""

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
OTHERS = "a Noto font of its script (fonts.google.com/noto)"

_files: dict[str, str | None] = {}  # character → the font that draws it
_told: set[str] = set()  # the fonts whose installation was recommended already


@cache
def font(size: int, bold: bool = False, file: str | None = None) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, so that sheets look like figures on every machine; or another file."""
    return ImageFont.truetype(file or (BOLD if bold else PLAIN), size)


def readable(text: str) -> str:
    """`text` with other words for the characters that no installed font has.

    A letter becomes its sound ('バ' is 'ba'), a pictogram its name, a Chinese character its number; control characters
    disappear. The first time, a sentence is printed that says which font to install.
    """
    text = "".join(" " if unicodedata.category(c) == "Cc" and c != "\n" else c for c in text)
    files = fonts_of(text)
    runs = [(missing, "".join(run)) for missing, run in groupby(text, lambda c: files[c] is None)]
    if not any(missing for missing, _ in runs):
        return text
    words = (f" {'-'.join(filter(None, map(_word, run)))} " if missing else run for missing, run in runs)
    shown = re.sub(r" +(?=[ ,;:)])", "", "".join(words)).strip()
    missing = "".join(c for c in text if files[c] is None)
    if re.search("CJK|HIRAGANA|KATAKANA|HANGUL", " ".join(unicodedata.name(c, "") for c in missing)):
        needed = CJK
    else:
        needed = PICTOGRAMS if any(unicodedata.category(c) == "So" for c in missing) else OTHERS
    if needed not in _told:
        _told.add(needed)
        print(f"No font here has all characters, so pictures show «{shown}». Install {needed}, and start again.")
    return shown


def fonts_of(text: str) -> dict[str, str | None]:
    """The font file for each character of `text`: DejaVu Sans, else an installed one; None where none has it."""
    wanted = {c for c in text if c not in _files}
    for file in chain([PLAIN], _installed()):
        if not wanted:
            break
        try:
            face = FT2Font(file)
        except (RuntimeError, OSError):  # of a kind that matplotlib cannot read, such as emoji in colour
            continue
        # Line breaks are not drawn. A font of bitmaps has few sizes.
        has = {c for c in wanted if c == "\n" or face.scalable and face.get_char_index(ord(c))}
        _files.update(dict.fromkeys(has, file))
        wanted -= has
    _files.update(dict.fromkeys(wanted))
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
    """One line of text with its top left corner at `place`; what is wider than `width` loses its middle."""
    text = readable(text.replace("\n", " "))
    if _width(text, size, bold) > width:
        kept = next((n for n in range(len(text) - 1, 0, -1) if _width(_short(text, n), size, bold) <= width), 1)
        text = _short(text, kept)
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


def _short(text: str, kept: int) -> str:
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def _installed() -> Iterator[str]:
    """Font files of this machine, plain ones first: not those that matplotlib keeps a list of, which may be old."""

    from matplotlib.font_manager import findSystemFonts  # reads a list of all fonts; most names do without

    def order(file: str) -> tuple[bool, bool, str]:
        name = os.path.basename(file).lower()
        return "regular" not in name, "serif" in name or "mono" in name, name

    yield from sorted(findSystemFonts(), key=order)


def _word(character: str) -> str:
    """What stands for a character that cannot be drawn."""
    name = unicodedata.name(character, "")
    if unicodedata.category(character) in ("Cf", "Mn"):
        return ""  # it only changes its neighbours
    if not name or "IDEOGRAPH" in name:
        return f"U+{ord(character):04X}"
    return re.sub(r".*\b(LETTER|SYLLABLE|CHARACTER|SIGN|DIGIT) ", "", name).lower()

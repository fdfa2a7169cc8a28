"""Record the page that notebook 03 writes: explorer.gif for the README and explorer.png for notebook 03.

    .venv/bin/python docs/make_explorer_pictures.py explorer.html    # after make run DATASET=sample

Both go to notebooks/pictures/.
"""

import io
import os
import shutil
import sys
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FOLDER = Path(__file__).parent.parent / "notebooks/pictures"
SIZE = (960, 620)
BAR = 38  # pixels for the caption
WAIT = "new Promise((done) => { const look = () => (running ? setTimeout(look, 50) : setTimeout(done, 400)); look(); })"


def scenes(page: Page):
    """Does one thing after another in the page. Yields a caption and how many seconds it is shown."""
    page.evaluate("chooseLayer('relu1')")
    yield "Every map of every layer, computed in the page. Here: the first layer", 2.2
    page.evaluate("chooseLayer('relu3')")
    yield "Choose another layer …", 1.6
    page.evaluate("chooseLayer('relu5')")
    yield "… and another one: the maps become coarser", 1.8
    page.evaluate("choosePicture(5)")
    yield "Choose another picture, or drop one of your own", 2.2
    page.evaluate("choosePicture(2)")
    yield "Back to the bike. Which filters does its answer need?", 2.2
    # The order is kept, because a filter that is off no longer varies.
    strongest = page.evaluate(
        "[...view.order].sort((a, b) => variation(mapOf(view.first, b).data) - variation(mapOf(view.first, a).data))"
    )
    for count in (4, 8, 16, 24):
        page.evaluate("(filters) => toggle(filters, true)", strongest[:count])
        yield f"Switch off {count} of the 64 filters, and see how the answer changes", 1.5
    page.evaluate("$('all-on').onclick()")
    yield "All filters are on again. Now cover a part of the picture", 1.6
    page.evaluate("$('brush').click(); $('brush-size').value = 24")
    for x, y in ((98, 90), (90, 100), (28, 88), (30, 100), (64, 50), (80, 60)):
        page.evaluate(f"cover([{x}, {y}], [{x}, {y}])")
        yield "Cover parts of the picture with a brush, and see how the answer changes", 0.8
    yield "Cover parts of the picture with a brush, and see how the answer changes", 1.2
    page.evaluate("$('uncover').onclick(); $('brush').click(); chooseLayer('relu5')")
    page.evaluate("(filter) => chooseFilter(filter)", strongest[0])
    page.wait_for_timeout(1500)
    yield "Enlarge a filter: its map, where it responds most, and in which pictures", 3.0


def captioned(screenshot: bytes, caption: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    image = Image.new("RGB", SIZE, "#1f2933")
    ImageDraw.Draw(image).text((SIZE[0] // 2, BAR // 2), caption, "white", font, anchor="mm")
    page = Image.open(io.BytesIO(screenshot)).convert("RGB")
    image.paste(page.resize((SIZE[0], SIZE[1] - BAR), Image.Resampling.LANCZOS), (0, BAR))
    return image


def main() -> None:
    source = Path(sys.argv[1]).resolve()
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 19)
    frames, seconds = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 776}, color_scheme="light")
        page.goto(source.as_uri())
        page.evaluate("window.explorer.ready")
        for caption, shown in scenes(page):
            page.evaluate(WAIT)
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            frames.append(captioned(page.screenshot(), caption, font))
            seconds.append(shown)
        still = Image.open(io.BytesIO(page.screenshot())).convert("RGB")  # the last scene
        browser.close()
    still.quantize(256, dither=Image.Dither.NONE).save(FOLDER / "explorer.png", optimize=True)
    # One palette for all frames, so that what stays the same costs nothing.
    sheet = Image.new("RGB", (SIZE[0], SIZE[1] * len(frames)))
    for number, frame in enumerate(frames):
        sheet.paste(frame, (0, SIZE[1] * number))
    palette = sheet.quantize(160, Image.Quantize.MEDIANCUT)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    target = FOLDER / "explorer.gif"
    durations = [int(1000 * shown) for shown in seconds]
    flat[0].save(target, save_all=True, append_images=flat[1:], duration=durations, loop=0, optimize=True)
    print(f"{target.name}: {len(frames)} frames, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""How quickly the page of `explore` answers, in a headless Chromium with one core.

    python benchmarks/explorer_speed.py    # CHROMIUM=path says where the browser is

The page has the default network (with random weights) and eight drawn pictures. Times are medians of several tries, as
the page itself measures them: from the call until the browser has painted the next frame.
"""

import os
import shutil
import tempfile
from pathlib import Path
from statistics import median

import torch
from playwright.sync_api import sync_playwright
from torch import nn

from recognizer import BikeCarCNN, explore
from recognizer.drawings import draw

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
TRIES = 9
PAINTED = "const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
LAYER = f"""async (name) => {{
  {PAINTED}
  const started = performance.now();
  chooseLayer(name);
  await painted();
  return performance.now() - started;
}}"""
PICTURE = """async (seed) => {
  const pixels = Float32Array.from({length: CHANNELS * HEIGHT * WIDTH}, (_, i) => ((i * 7919 + seed) % 256) / 255);
  const started = performance.now();
  await window.explorer.forward(pixels);
  return performance.now() - started;
}"""
SCROLL = """async () => {
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < 90; i++) {
    scrollBy(0, 40);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""
FIRST_MAPS = """() => new Promise((done) => {
  const look = () => {
    if (document.querySelector("#grid li") && view) setTimeout(() => done(performance.now()));
    else requestAnimationFrame(look);
  };
  look();
})"""


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium here; install one, or say where it is with CHROMIUM=path.")
    torch.manual_seed(0)
    model = BikeCarCNN().eval()
    images = {
        name: [draw(name, number, seed=0, size=model.image_size).image for number in range(4)] for name in model.classes
    }
    wide = nn.Sequential(nn.Conv2d(3, 624, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wide.append(nn.Linear(624, 2))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the browser inherits it
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = [Path(folder) / "default.html", Path(folder) / "wide.html"]
        explore(model, images, path=pages[0])
        explore(wide.eval(), images, path=pages[1], classes=model.classes)
        print(f"the file: {pages[0].stat().st_size / 1e6:.2f} MB")
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        firsts = []
        for _ in range(TRIES):
            page = browser.new_page()
            page.goto(pages[0].as_uri(), wait_until="commit")
            firsts.append(page.evaluate(FIRST_MAPS))
            page.close()
        print(f"first maps after opening: {median(firsts):.0f} ms")
        page = browser.new_page()
        page.goto(pages[0].as_uri())
        page.evaluate("window.explorer.ready")
        names = [layer["name"] for layer in page.evaluate("window.explorer.layers")]
        times = {name: median(page.evaluate(LAYER, name) for _ in range(3)) for name in names}
        slowest = max(times, key=times.get)
        print(f"another layer: {median(times.values()):.0f} ms, at most {times[slowest]:.0f} ms ({slowest})")
        print(f"a new picture: {median(page.evaluate(PICTURE, seed) for seed in range(TRIES)):.0f} ms")
        page.close()
        page = browser.new_page()
        page.goto(pages[1].as_uri())
        page.evaluate("window.explorer.ready")
        times = [page.evaluate(LAYER, name) for _ in range(TRIES) for name in ("0", "1")]
        print(f"a layer of 624 maps: {median(times):.0f} ms")
        page.evaluate("chooseLayer('0')")
        frames = sorted(page.evaluate(SCROLL))
        print(f"frames while it scrolls: {median(frames):.0f} ms, 95 % below {frames[int(0.95 * len(frames))]:.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()

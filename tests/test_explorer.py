"""The page of `explore` in a real browser without a network, against PyTorch."""

import base64
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from recognizer import BikeCarCNN, LayerByLayerCNN, capture, explore, layer_names, to_input
from recognizer.evidence.receptive_field import receptive_fields
from recognizer.explorer.program import program_of
from recognizer.network.models import save_model
from recognizer.settings import Problem

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# Maps are many numbers; as base64 they arrive ten times sooner than as a list.
FORWARD = """async ({pixels, off, epoch}) => {
  const {probabilities, logits, maps} = await window.explorer.forward(Float32Array.from(pixels), off, epoch);
  const text = (data) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let letters = "";
    for (let i = 0; i < bytes.length; i += 8192) letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(letters);
  };
  const packed = Object.entries(maps).map(([name, {shape, data}]) => [name, {shape, data: text(data)}]);
  return {probabilities, logits, maps: Object.fromEntries(packed)};
}"""


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives a browser, is not here")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: install one, or say where it is with CHROMIUM=path")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Opened:
    """A page that is open, with all that it asked for and complained of."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.evaluate("window.explorer.ready")
        self.address = path.as_uri()

    def forward(self, pixels, off=(), epoch=None) -> dict:
        given = {"pixels": pixels.flatten().tolist(), "off": list(off), "epoch": epoch}
        found = self.page.evaluate(FORWARD, given)
        for name, each in found["maps"].items():
            numbers = np.frombuffer(base64.b64decode(each["data"]), np.float32)
            found["maps"][name] = numbers.reshape(each["shape"])
        return found

    def close(self) -> None:
        self.context.close()
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert {url.partition("#")[0] for url in outside} == {self.address}, "a request left the page"
        assert self.complaints == []


@pytest.fixture
def opened(chromium):
    pages = []

    def open_(path: Path, **options) -> Opened:
        pages.append(Opened(chromium, path, **options))
        return pages[-1]

    yield open_
    for page in pages:
        page.close()


def warmed_up(model: nn.Module, size: int) -> nn.Module:
    """With batch norm that has seen images, so that no layer is all but silent."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(4, 3, size, size))
    return model.eval()


def pictures(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Random images with large and small structures, in 8 bits as files have them."""
    torch.manual_seed(seed)
    coarse = torch.nn.functional.interpolate(torch.rand(count, 3, 5, 5), (size, size), mode="bilinear")
    return ((0.7 * coarse + 0.3 * torch.rand(count, 3, size, size)) * 255).round() / 255


def networks() -> dict[str, tuple[nn.Module, int]]:
    models = torchvision.models
    return {
        "BikeCarCNN": (BikeCarCNN(image_size=64), 64),
        "LayerByLayerCNN": (LayerByLayerCNN(image_size=64), 64),
        "resnet18": (models.resnet18(num_classes=5), 64),
        "squeezenet1_1": (models.squeezenet1_1(num_classes=5), 64),
        "mobilenet_v2": (models.mobilenet_v2(num_classes=5), 64),
    }


@pytest.mark.parametrize("name", networks())
def test_page_computes_what_pytorch_does(name, tmp_path, opened):
    torch.manual_seed(0)
    model, size = networks()[name]
    model = warmed_up(model, size)
    images = pictures(4, size)
    page = opened(explore(model, [*images[:2]], ["a", "b"], path=tmp_path / "page.html"))
    names = [layer for layer in layer_names(model) if not isinstance(model.get_submodule(layer), nn.Sequential)]
    wanted = capture(model, names, images)
    with torch.no_grad():
        logits = model(images)
    for number, image in enumerate(images):
        found = page.forward(image)
        np.testing.assert_allclose(found["logits"], logits[number], atol=1e-2)
        second = logits[number].sigmoid() if logits.shape[1] == 1 else None
        probabilities = logits[number].softmax(0) if second is None else torch.cat([1 - second, second])
        np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-2)
        for layer, maps in wanted.items():
            assert found["maps"][layer].shape == maps[number].shape, layer
            error = np.abs(found["maps"][layer] - maps[number]).max()
            assert error <= 1e-2 * max(np.abs(maps[number]).max(), 1e-6), layer

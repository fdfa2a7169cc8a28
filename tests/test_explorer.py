"""The page of `explore` in a real browser that is offline, compared with PyTorch."""

import base64
import functools
import io
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
import torchvision
from PIL import ExifTags, Image
from torch import nn

from recognizer import BikeCarCNN, LayerByLayerCNN, capture, explore, layer_names, load_model, to_input
from recognizer.drawings import draw
from recognizer.evidence.ablation import ablate
from recognizer.explorer.packing import Packed
from recognizer.explorer.program import program_of
from recognizer.maps.windows import Window
from recognizer.network.models import save_model
from recognizer.settings import Problem

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# Maps arrive ten times faster as base64 than as lists of numbers.
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
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which controls a browser, is missing")
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: install it, or set CHROMIUM to its path")
    with playwright.sync_playwright() as running:
        try:
            browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


class Opened:
    """An open page with its network requests and console messages."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.requests, self.messages = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.evaluate("window.explorer.ready")
        self.address = path.as_uri()

    def forward(self, pixels, off=(), epoch=None) -> dict:
        result = self.page.evaluate(FORWARD, {"pixels": pixels.flatten().tolist(), "off": list(off), "epoch": epoch})
        for name, maps in result["maps"].items():
            values = np.frombuffer(base64.b64decode(maps["data"]), np.float32)
            result["maps"][name] = values.reshape(maps["shape"])
        return result

    def close(self) -> None:
        self.context.close()
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert {url.partition("#")[0] for url in outside} == {self.address}, "the page requested something else"
        assert self.messages == []


@pytest.fixture
def opened(chromium):
    """Opens a page for one test."""
    yield from _opening(chromium)


@pytest.fixture(scope="module")
def opened_once(chromium):
    """Opens a page that several tests share. They must not change its state."""
    yield from _opening(chromium)


def _opening(browser):
    pages = []

    def open_(path: Path, **options) -> Opened:
        pages.append(Opened(browser, path, **options))
        return pages[-1]

    yield open_
    for page in pages:
        page.close()


def warmed_up(model: nn.Module, size: int) -> nn.Module:
    """The model with batch norm statistics of some images, so that all layers have activations of a usual size."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(4, 3, size, size))
    return model.eval()


def pictures(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Random images with large and small structures, rounded to 8 bits as in files."""
    torch.manual_seed(seed)
    coarse = torch.nn.functional.interpolate(torch.rand(count, 3, 5, 5), (size, size), mode="bilinear")
    return ((0.7 * coarse + 0.3 * torch.rand(count, 3, size, size)) * 255).round() / 255


def networks() -> dict[str, tuple[nn.Module, int]]:
    """Small networks that together have every kind of layer and shortcut."""
    models = torchvision.models
    resnet = models.resnet.ResNet(models.resnet.BasicBlock, [2, 1, 1, 1], num_classes=5)
    resnet.layer4, resnet.fc = (
        nn.Identity(),
        nn.Linear(256, 5),
    )  # layer4 has most of the weights but no new kind of layer
    return {
        "BikeCarCNN": (BikeCarCNN(image_size=32), 32),
        "LayerByLayerCNN": (LayerByLayerCNN(image_size=48), 48),
        "resnet": (resnet, 48),
        "squeezenet1_1": (models.squeezenet1_1(num_classes=5), 48),
        "mobilenet_v2": (models.mobilenet_v2(num_classes=5, width_mult=0.5), 48),
    }


def assert_equal_to_pytorch(result: dict, model: nn.Module, image: torch.Tensor) -> None:
    """Check that the page's prediction and every map of every layer equal PyTorch's."""
    containers = (nn.Sequential, nn.ModuleList)
    names = [name for name in layer_names(model) if not isinstance(model.get_submodule(name), containers)]
    with torch.no_grad():
        logits = model(image[None])[0]
    second = logits.sigmoid()
    probabilities = logits.softmax(0) if len(logits) > 1 else torch.cat([1 - second, second])
    np.testing.assert_allclose(result["logits"], logits, atol=1e-2)
    np.testing.assert_allclose(result["probabilities"], probabilities, atol=1e-2)
    for name, expected in capture(model, names, image).items():
        maps = result["maps"][name]
        assert maps.shape == expected[0].shape, name
        assert np.abs(maps - expected[0]).max() <= 1e-2 * max(np.abs(expected).max(), 1e-6), name


@pytest.fixture(scope="module")
def page_of(tmp_path_factory, opened_once):
    """A function from a name in `networks` to (network, image size, page). Every page is written once."""
    folder = tmp_path_factory.mktemp("pages")

    @functools.cache
    def make(name: str) -> tuple[nn.Module, int, Opened]:
        torch.manual_seed(0)
        model, size = networks()[name]
        model = warmed_up(model, size)
        return model, size, opened_once(explore(model, pictures(1, size), path=folder / f"{name}.html"))

    return make


@pytest.mark.parametrize("name", networks())
def test_the_page_computes_the_same_values_as_pytorch(name, page_of):
    model, size, page = page_of(name)
    for image in pictures(2, size):
        assert_equal_to_pytorch(page.forward(image), model, image)


class Unusual(nn.Module):
    """Operations that the networks above do not use: ceil_mode, oblong kernels, all kinds of arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]))
        self.wide = nn.Conv2d(3, 6, (3, 5), stride=(2, 1), padding=(0, 2), dilation=(2, 1))
        self.same = nn.Conv2d(6, 6, 4, padding="same", groups=2)
        self.largest = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        self.average = nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False)
        self.padded = nn.AvgPool2d(3, 1, padding=1, ceil_mode=True)
        self.grouped = nn.Conv2d(6, 12, 3, groups=6, bias=False)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Hardsigmoid())
        self.functions = nn.ModuleList([nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.LeakyReLU(0.2), nn.ELU(), nn.ReLU6()])
        self.adaptive = nn.AdaptiveMaxPool2d((3, 2))
        self.end = nn.Linear(12 * 6 * 3 * 2, 4)

    def forward(self, x):
        x = self.wide((x - self.mean[:, None, None]) / 0.2)
        x = 1 - self.average(nn.functional.relu(self.largest(self.same(x)), inplace=True))
        x = self.grouped(self.padded(x))
        x = torch.cat([function(4 * x * self.squeeze(x)) for function in self.functions], dim=1)
        x += x.mean((2, 3), keepdim=True)
        return self.end(self.adaptive(x).view(x.size(0), -1)).softmax(dim=1)


def test_unusual_layers(tmp_path, opened):
    torch.manual_seed(0)
    model = Unusual().eval()
    image = pictures(1, 49)[0]
    page = opened(explore(model, [image], path=tmp_path / "page.html"))
    result = page.forward(image)
    # The network ends in a softmax, so its outputs are already probabilities.
    assert result["probabilities"] == result["logits"]
    result["probabilities"] = torch.tensor(result["logits"]).softmax(0)
    assert_equal_to_pytorch(result, model, image)


@pytest.mark.parametrize(
    ("num_outputs", "end"),
    [(2, [nn.Softmax(1), nn.Flatten()]), (3, [nn.Flatten(), nn.Sigmoid()]), (1, [nn.Sigmoid(), nn.Flatten()])],
)
def test_a_network_that_ends_in_probabilities(num_outputs, end, tmp_path, opened):
    """The page and Python use the outputs as probabilities, even if they are reshaped afterwards."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, num_outputs, 3), nn.AdaptiveAvgPool2d(1), *end).eval()
    image, names = pictures(1, 16)[0], ["a", "b", "c"][: max(2, num_outputs)]
    page = opened(explore(model, [image], path=tmp_path / "page.html", classes=names))
    with torch.no_grad():
        expected = model(image[None])[0].tolist()
    expected = expected if num_outputs > 1 else [1 - expected[0], expected[0]]
    assert page.forward(image)["probabilities"] == pytest.approx(expected, abs=1e-3)
    assert page.page.evaluate("DATA.pictures[0].probabilities") == pytest.approx(expected, abs=1e-3)


class Grouped(nn.Module):
    """Channels in two groups, as in a channel shuffle, so that values have one more dimension than maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.end = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x).view(-1, 2, 2, 14, 14)
        return self.end((x + x).view(-1, 4, 14, 14).mean((2, 3)))


def test_arithmetic_with_more_dimensions_than_maps_have(tmp_path, opened):
    torch.manual_seed(0)
    model, image = Grouped().eval(), pictures(1, 16)[0]
    page = opened(explore(model, [image], path=tmp_path / "page.html"))
    assert_equal_to_pytorch(page.forward(image), model, image)


class InPlace(nn.Module):
    """Steps that overwrite a value in place before it is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.end = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x):
        y = self.conv(x)
        self.relu(y)  # changes y; the return value is not used
        z = y.sub_(0.2)
        return self.end((y + z).mean((2, 3)))


def test_a_value_that_was_overwritten_in_place_is_used_with_its_new_values(tmp_path, opened):
    torch.manual_seed(0)
    model, image = InPlace().eval(), pictures(1, 16)[0]
    page = opened(explore(model, [image], path=tmp_path / "page.html"))
    assert_equal_to_pytorch(page.forward(image), model, image)


def test_filters_that_are_off_output_zero(page_of):
    model, size, page = page_of("resnet")
    image = pictures(1, size)
    off = {"layer1.0.conv2": [3, 5], "bn1": list(range(0, 64, 2))}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda layer, inputs, output, filters=filters: output.index_fill(1, torch.tensor(filters), 0)
        )
        for name, filters in off.items()
    ]
    with torch.no_grad():
        without = model(image)[0]
        for hook in hooks:
            hook.remove()
        assert (model(image)[0] - without).abs().max() > 0.03, "these filters have no effect"
    result = page.forward(image, off.items())
    np.testing.assert_allclose(result["logits"], without, atol=3e-3)
    assert not result["maps"]["bn1"][::2].any()
    assert result["maps"]["bn1"][1::2].any()


@pytest.fixture(scope="module")
def bike_car(tmp_path_factory) -> tuple[nn.Module, Path]:
    """The default network for small images, and its page with drawings and two saved epochs."""
    folder = tmp_path_factory.mktemp("explorer")
    torch.manual_seed(0)
    model = warmed_up(BikeCarCNN(image_size=64), 64)
    (folder / "epochs").mkdir()
    for number in (1, 2):
        torch.manual_seed(number)
        save_model(warmed_up(BikeCarCNN(image_size=64), 64), folder / f"epochs/epoch_00{number}.pt")
    images = {name: [draw(name, number, seed=0, size=64).image for number in (1, 2)] for name in model.classes}
    path = explore(model, images, path=folder / "page.html", epochs=folder / "epochs")
    return model, path


@pytest.fixture(scope="module")
def bike_car_page(bike_car, opened_once) -> Opened:
    """The open page, for tests that do not change its state."""
    return opened_once(bike_car[1])


def test_switching_filters_off_equals_ablation(bike_car, bike_car_page):
    model, page = bike_car[0], bike_car_page
    images = pictures(2, 64)
    expected = ablate(model, "relu3", (images * 255).round().to(torch.uint8), torch.tensor([0, 1]))
    for number, (image, label) in enumerate(zip(images, (0, 1))):
        for filters in (0, 17):
            logits = page.forward(image, [("relu3", [filters])])["logits"]
            assert logits[label] - logits[1 - label] == pytest.approx(expected.log_odds[filters, number], abs=1e-2)


def test_saved_epochs(bike_car, opened):
    _, path = bike_car
    page = opened(path)
    image = pictures(1, 64)[0]
    torch.manual_seed(1)
    first = warmed_up(BikeCarCNN(image_size=64), 64)
    with torch.no_grad():
        expected = first(image[None])[0]
    np.testing.assert_allclose(page.forward(image, epoch=0)["logits"], expected, atol=1e-2)
    slider = page.page.locator("#epoch")
    slider.evaluate("(slider) => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    assert page.page.locator("#epoch-name").inner_text() == "epoch 1"
    page.page.locator("#answer", has_text="without changes").wait_for()


def test_epochs_that_do_not_fit_are_stored_without_linear_layers(bike_car, opened, tmp_path, capsys):
    model, path = bike_car
    images = pictures(1, 64)
    alone = explore(model, images, ["Bike"], path=tmp_path / "alone.html").stat().st_size
    room = alone / 1e6 + 0.4  # enough for the convolutions of one epoch in 8 bits (0.3 MB), but not of two
    page = explore(model, images, path=tmp_path / "page.html", epochs=path.parent / "epochs", megabytes=room)
    assert alone < page.stat().st_size <= room * 1e6
    assert "The slider of the explorer leaves out epoch 2:" in capsys.readouterr().out
    result = opened(page).forward(images[0], epoch=0)
    assert result["logits"] is None
    assert "fc1" not in result["maps"]
    first = load_model(path.parent / "epochs/epoch_001.pt")
    expected = capture(first, "relu7", images[0])["relu7"][0]
    assert np.abs(result["maps"]["relu7"] - expected).max() <= 0.05 * expected.max()  # weights have 8 bits


def test_an_epoch_equal_to_the_trained_network_takes_no_space(tmp_path, opened):
    model = warmed_up(BikeCarCNN(image_size=32), 32)
    save_model(model, tmp_path / "epoch_003.pt")
    images = pictures(1, 32)
    alone = explore(model, images, path=tmp_path / "alone.html").stat().st_size
    page = explore(model, images, path=tmp_path / "page.html", epochs=tmp_path, megabytes=alone / 1e6 + 0.01)
    page = opened(page)
    assert page.forward(images[0], epoch=0)["logits"] == page.forward(images[0])["logits"]


def test_an_epoch_that_diverged_is_left_out(tmp_path, capsys):
    model = BikeCarCNN(image_size=32).eval()
    diverged = BikeCarCNN(image_size=32).eval()
    nn.init.constant_(diverged.conv1.weight, float("nan"))
    save_model(diverged, tmp_path / "epoch_001.pt")
    page = explore(model, pictures(1, 32), path=tmp_path / "page.html", epochs=tmp_path)
    assert "epoch 1 is left out: The network outputs" in capsys.readouterr().out
    assert '"epochs":[]' in page.read_text(encoding="utf-8")


def test_the_strongest_places_equal_those_of_pytorch(bike_car, opened):
    model, path = bike_car
    page = opened(path).page
    page.evaluate("chooseLayer('relu3', 7)")
    page.locator("#patches canvas").nth(3).wait_for()
    pixels = [page.evaluate(f"loaded(pictures[{n}].address, DATA.input).then((p) => [...p])") for n in range(4)]
    maps = capture(model, "relu3", torch.tensor(pixels).reshape(4, 3, 64, 64))["relu3"][:, 7]
    shown = [float(text) for text in page.locator("#patches small").all_inner_texts()]
    np.testing.assert_allclose(shown, sorted(maps.max(axis=(1, 2)), reverse=True), rtol=0.02)


def test_a_new_address_changes_the_state_of_the_page(bike_car, opened):
    page = opened(bike_car[1]).page
    page.evaluate("location.hash = '#layer=relu2&filter=5&picture=2&second=1&epoch=1&scale=map'")
    page.locator("#filter-title", has_text="relu2 · filter 5").wait_for()
    page.locator("#epoch-name", has_text="epoch 2").wait_for()
    assert page.locator("#scale").input_value() == "map"
    page.locator("#grid .map").nth(63).wait_for(state="attached")
    assert page.locator("#problem").is_hidden()


def test_keys_clicks_and_menus(bike_car, opened):
    model, path = bike_car
    page = opened(path).page
    texts = lambda selector: page.locator(selector).all_inner_texts()  # noqa: E731
    assert texts("#strip h3") == ["Bike", "Car"]
    assert page.locator("#grid li").count() == 16
    page.keyboard.press("/")
    page.keyboard.type("relu5")
    page.keyboard.press("Enter")
    assert page.locator("#layer-title").inner_text() == "relu5"
    assert "64 maps of 8×8" in page.locator("#layer-facts").inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("#filter-title").inner_text() == "relu5 · filter 1"
    page.keyboard.press("x")
    page.locator("#off-text", has_text="relu5").wait_for()
    assert "layer=relu5&filter=1&off=relu5:1" in page.url
    page.locator("#big-map").hover()
    assert re.match(r"Filter 1 at row 3, column 3: 0; it sees 58×58", page.locator("#reading").inner_text())
    page.reload()
    page.evaluate("window.explorer.ready")
    assert page.locator("#filter-title").inner_text() == "relu5 · filter 1 · switched off"
    page.locator("#all-on").click()
    assert page.locator("#off-box").is_hidden()
    page.select_option("#second", label="Car 1")
    page.locator("#grid .map").nth(127).wait_for(state="attached")
    page.select_option("#order", "difference")
    page.locator("#grid li:first-child:not([data-filter='0'])").wait_for()


def test_covering_the_picture_changes_the_prediction(bike_car, opened):
    _, path = bike_car
    page = opened(path).page
    page.locator("#brush").click()
    box = page.locator("#marks").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 150, steps=4)
    page.mouse.up()
    page.locator("#answer", has_text="without changes").wait_for()
    page.locator("#uncover").click()
    page.locator("#answer", has_not_text="without changes").wait_for()


def test_covering_the_picture_with_the_keyboard(bike_car, opened):
    page = opened(bike_car[1]).page
    place = lambda: page.evaluate("brushAt")  # noqa: E731
    page.locator("#brush").focus()
    page.keyboard.press("Enter")
    assert "arrow keys" in page.locator("#brush-help").inner_text()
    assert page.evaluate("document.activeElement.id") == "stage"
    assert place() == [32, 32]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert place()[0] == place()[1] < 32
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    assert place()[1] == 63.5, "the brush must stay on the picture"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    page.locator("#answer", has_text="without changes").wait_for()
    row, column = int(place()[1]), int(place()[0])
    assert page.evaluate(f"covered[{row} * 64 + {column}]") == 0.5
    assert f"row {row}, column {column}" in page.locator("#reading").inner_text()
    assert page.evaluate("focused()") is None, "arrow keys must not also move the focus in the grid"
    page.keyboard.press("Escape")
    page.locator("#answer", has_not_text="without changes").wait_for()
    assert page.evaluate("covered") is None
    assert page.evaluate("document.activeElement.id") == "stage"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # presses the button again, which switches the brush off
    assert page.locator("#brush-help").is_hidden()
    assert page.locator("#stage").get_attribute("tabindex") is None


def test_the_smallest_brush_covers_at_least_one_pixel(bike_car_page):
    covers = "(() => { $('brush-size').value = 2; dab([32, 32]); const count = covered.filter((v) => v === 0.5).length;"
    covers += " $('brush-size').value = 12; covered = null; return count; })()"
    assert bike_car_page.page.evaluate(covers) > 0


def test_keys_keep_the_focus(bike_car, opened):
    page = opened(bike_car[1]).page
    page.locator("#strip button").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Car 1"
    page.locator("#uncover").evaluate("(button) => button.focus()")
    page.locator("#strip button").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    ring = "getComputedStyle(document.querySelector('label[for=file]')).outlineStyle"
    assert page.evaluate(ring) == "solid", "the focus must be visible on this button"
    # [ and ] need AltGr (on Windows: Ctrl and Alt) on many keyboards.
    press = "(key) => document.body.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, ...key}))"
    page.evaluate(press, {"key": "]", "ctrlKey": True, "altKey": True})
    assert page.evaluate("state.layer === LAYERS[1].name")
    page.evaluate(press, {"key": "[", "metaKey": True})
    assert page.evaluate("state.layer === LAYERS[1].name")


def test_choices_made_while_a_picture_is_being_read(bike_car, opened):
    """The page waits for the pixels of a picture, and stores predictions for the right picture and epoch."""
    opening = opened(bike_car[1])
    page = opening.page
    page.evaluate("chooseLayer('relu1', 3)")
    page.select_option("#second", label="Car 1")
    page.locator("#grid .map").nth(31).wait_for(state="attached")
    page.wait_for_function("!running && !lookingAhead")
    page.evaluate("strongest.clear(); pictures.forEach((picture) => (picture.pixels = null))")
    page.evaluate(
        "choosePicture(1); chooseFilter(5); point({filter: 5, row: 0, column: 0, second: true}); point(null);"
    )
    page.evaluate("cover([3, 3], [3, 3])")
    page.locator("#picture[aria-label$='image 2']").wait_for()
    page.evaluate("state.second = null; point({filter: 5, row: 0, column: 0, second: true}); point(null)")
    # Choose an epoch while the picture is being read.
    before, after = page.evaluate(
        """async () => {
          await choosePicture(0);
          while (running) await new Promise((done) => setTimeout(done, 20));
          const before = pictures[0].probabilities;
          pictures[0].pixels = null;
          recompute();
          state.epoch = 0;
          await recompute();
          while (running) await new Promise((done) => setTimeout(done, 20));
          return [before, pictures[0].probabilities];
        }"""
    )
    assert before == after


def test_an_address_with_another_layer_while_the_page_is_computing(bike_car, opened):
    """At any time, the chosen filter belongs to the chosen layer."""
    page = opened(bike_car[1]).page
    page.evaluate(
        """async () => {
          while (lookingAhead || running) await new Promise((done) => setTimeout(done, 20));
          chooseLayer("relu1", 2);
          window.addEventListener("hashchange", () => showPatches());  // lookAhead may call it at any time
          location.hash = "#layer=relu7&filter=60&order=difference";
        }"""
    )
    page.locator("#filter-title", has_text="relu7 · filter 60").wait_for()
    assert page.locator("#order").input_value() == "number", "there is no second picture to compare with"


def test_layers_that_are_missing_in_an_epoch(bike_car, opened, tmp_path):
    model, path = bike_car
    images = pictures(1, 64)
    alone = explore(model, images, ["Bike"], path=tmp_path / "alone.html").stat().st_size
    saved = path.parent / "epochs"
    page = opened(explore(model, images, path=tmp_path / "page.html", epochs=saved, megabytes=alone / 1e6 + 0.4)).page
    page.evaluate("chooseLayer('relu1', 0); state.epoch = 0; recompute();")
    page.locator("#answer", has_text="no answer").or_(page.locator("#answer", has_text="It says")).wait_for()
    page.wait_for_function("!running")
    # The kernel arrives when the page already shows another layer.
    page.evaluate("kernels.clear(); chooseFilter(1); chooseLayer('fc1');")
    page.wait_for_function("kernels.size")
    assert "layer=fc1" in page.url
    page.keyboard.press("/")
    page.keyboard.type("fc1")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")


def test_values_far_beyond_the_scale_get_the_colours_of_its_ends(bike_car_page):
    drawn = """() => {
      const canvas = document.createElement("canvas");
      const values = Float32Array.from([1e12, 3e9, -1e12, 0.5]);
      paint(canvas, values, 1, 4, {low: 0, high: 1}, DATA.palettes.gray);
      return [...canvas.getContext("2d").getImageData(0, 0, 4, 1).data].filter((_, i) => i % 4 === 0);
    }"""
    assert bike_car_page.page.evaluate(drawn) == [255, 255, 0, 128]


class Strange(nn.Sequential):
    classes = ("<b>&'\"</script>", "C#")
    image_size = 16


def test_names_with_special_characters(tmp_path, opened):
    """Special characters in the names of layers, classes and files.

    The test also checks that flattened maps have no kernels, and that channels of other shapes are divided correctly.
    """
    torch.manual_seed(0)
    model = Strange()
    for name, layer in {
        "<i>\":,&%'": nn.Conv2d(3, 4, 3),
        "rows": nn.Flatten(2),
        "flat": nn.Flatten(),
        "end": nn.Linear(4 * 196, 2),
    }.items():
        model.add_module(name, layer)
    card = tmp_path / "results_C#/filter_cards/rows/filter_2.png"
    card.parent.mkdir(parents=True)
    card.touch()
    file = tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.new("RGB", (16, 16), "red").save(file)
    page = opened(explore(model.eval(), [file], ["</script>"], path=tmp_path / "page.html")).page
    page.evaluate("chooseLayer(LAYERS[0].name, 1); toggle([1, 2])")
    assert page.locator("#layer-title").inner_text() == "<i>\":,&%'"
    page.locator("#off-text", has_text="<i>\":,&%'").wait_for()
    page.reload()
    page.evaluate("window.explorer.ready")
    assert page.evaluate("offList()") == [["<i>\":,&%'", [1, 2]]]
    assert page.locator("#filter-title").inner_text() == "<i>\":,&%' · filter 1 · switched off"
    assert page.evaluate("chooseLayer('rows', 2), view.first.count") == 4
    rows = "mapOf(view.first, 3).data.every((value, i) => value === runs.first.maps.rows.data[3 * 196 + i])"
    assert page.evaluate(rows)
    assert page.evaluate("[view.first.height, view.first.width]") == [14, 14]
    assert page.locator("#filter-facts a").get_attribute("href") == "results_C%23/filter_cards/rows/filter_2.png"
    assert page.evaluate("LAYERS.map(({kernels}) => kernels)") == [1, 1, None, None]
    assert page.locator("#problem").is_hidden()


ADD = """async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  await window.explorer.addPicture(new Blob([bytes], {type: "image/png"}), "own.png");
  return Array.from(pictures[pictures.length - 1].pixels);
}"""


def test_own_picture_is_resized_as_in_python(bike_car, opened):
    model, path = bike_car
    page = opened(path).page
    for size in ((300, 200), (40, 90), (64, 64)):
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        pixels_in_page = page.evaluate(ADD, base64.b64encode(buffer.getvalue()).decode())
        expected = to_input(Image.open(buffer), model.image_size)
        # Transparent parts may differ by one step of 8 bits.
        np.testing.assert_allclose(np.reshape(pixels_in_page, expected.shape), expected, atol=1.01 / 255)
    turned = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 90, 3), np.uint8))
    exif, buffer = turned.getexif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6  # stored sideways, as on phones
    turned.save(buffer, "PNG", exif=exif)
    pixels_in_page = page.evaluate(ADD, base64.b64encode(buffer.getvalue()).decode())
    expected = to_input(Image.open(buffer), model.image_size)
    np.testing.assert_allclose(np.reshape(pixels_in_page, expected.shape), expected, atol=1.01 / 255)
    assert page.locator("#strip h3").last.inner_text() == "Yours"
    assert page.locator("#strip div").last.locator("button").count() == 4


def test_a_file_that_is_not_a_picture_gets_a_clear_message(bike_car, opened):
    page = opened(bike_car[1]).page
    drop = """(files) => {
      const transfer = new DataTransfer();
      files.forEach(([name, letters]) =>
        transfer.items.add(new File([Uint8Array.from(atob(letters), (c) => c.charCodeAt(0))], name)));
      document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, cancelable: true}));
    }"""
    page.evaluate(drop, [["letter.txt", ""]])
    page.locator("#problem", has_text="This browser cannot read letter.txt as a picture").wait_for()
    page.evaluate(drop, [["IMG_1.HEIC", ""]])
    page.locator("#problem", has_text="IMG_1.HEIC is a HEIC photograph").wait_for()
    # A large picture takes longer than a small one. The page still shows the picture that was dropped last.
    buffers = [io.BytesIO(), io.BytesIO()]
    Image.new("RGB", (2000, 2000), "red").save(buffers[0], "PNG")
    Image.new("RGB", (64, 64), "blue").save(buffers[1], "PNG")
    names = ["large.png", "small.png"]
    page.evaluate(drop, [[n, base64.b64encode(b.getvalue()).decode()] for n, b in zip(names, buffers)])
    page.locator("#strip div:last-child button").nth(1).wait_for()
    page.locator("#strip button[aria-pressed=true][title^='small.png']").wait_for()
    assert page.locator("#problem").is_hidden()
    # If only some of the files are pictures, the message about the others stays.
    page.evaluate(drop, [["letter.txt", ""], ["small.png", base64.b64encode(buffers[1].getvalue()).decode()]])
    page.locator("#strip div:last-child button").nth(2).wait_for()
    page.evaluate("adding")
    assert "letter.txt" in page.locator("#problem").inner_text()


def test_scales(bike_car_page):
    page = bike_car_page.page
    with_outliers, extremes, signed, broken, constant, zeros = page.evaluate(
        """() => {
          const values = Float32Array.from({length: 10000}, (_, i) => i / 10000);
          const planted = Float32Array.from([...values, 1e6, -1e6]);
          const broken = Float32Array.from([0, 1, NaN, Infinity]);
          return [
            endsOf([planted], "percentiles", false), endsOf([planted], "extremes", false),
            endsOf([Float32Array.from([-1, 3])], "extremes", true), range([broken]),
            endsOf([new Float32Array(9).fill(2)], "percentiles", false),
            endsOf([new Float32Array(9)], "percentiles", true),
          ].map(({low, high, broken}) => [low, high, broken]);
        }"""
    )
    assert with_outliers[:2] == pytest.approx([0.005, 0.995], abs=2e-3)
    assert extremes[:2] == [-1e6, 1e6]
    assert signed[:2] == [-3, 3]
    assert broken == [0, 1, 2]
    assert constant[:2] == [2, 2]
    assert zeros[0] < 0 < zeros[1], "a signed map of zeros must have the colour of zero"


def test_small_screen_sandboxed_frame_and_screen_reader(bike_car, opened):
    _, path = bike_car
    page = opened(path, viewport={"width": 390, "height": 844}).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    nameless = """[...document.querySelectorAll("button")]
      .filter((button) => !(button.getAttribute("aria-label") || button.textContent || button.title).trim())
      .map((button) => button.id)"""
    assert page.evaluate(nameless) == ["switch"]  # it gets its name when it becomes visible
    page.goto("about:blank")
    page.evaluate(
        """(text) => {
          const frame = document.createElement("iframe");
          frame.setAttribute("sandbox", "allow-scripts");  // as in notebooks
          frame.srcdoc = text;
          document.body.replaceChildren(frame);
        }""",
        path.read_text(encoding="utf-8"),
    )
    page.wait_for_selector("iframe")
    frame = page.frames[-1]
    frame.wait_for_selector("#sheets canvas", state="attached")
    assert "It says" in frame.locator("#answer").inner_text()


def test_a_network_in_channels_last_format(tmp_path):
    model = BikeCarCNN(image_size=32).eval().to(memory_format=torch.channels_last)
    assert explore(model, [torch.rand(3, 32, 32)], path=tmp_path / "page.html").stat().st_size > 100_000


def test_a_filter_links_to_its_card_for_any_class_name(opened, tmp_path):
    name = "Bike #1 [50%]"
    card = tmp_path / f"results_{name}" / "filter_cards" / "relu1" / "filter_003.png"
    card.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(card)
    model = BikeCarCNN([name, "Car"], 32).eval()
    page = opened(explore(model, [torch.rand(3, 32, 32)], path=tmp_path / "page.html")).page
    page.evaluate("location.hash = 'layer=relu1&filter=3'")
    link = page.locator("#filter-facts a")
    assert link.inner_text() == f"Its card for {name}, from notebook 04"
    assert Path(unquote(urlsplit(link.evaluate("link => link.href")).path)) == card


def test_the_default_page_is_small_and_contains_no_path(tmp_path):
    model = BikeCarCNN().eval()
    images = {name: [draw(name, number, seed=0, size=128).image for number in range(4)] for name in model.classes}
    page = explore(model, images, path=tmp_path / "page.html")
    assert page.stat().st_size <= 4e6
    text = page.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text


def test_the_centre_crop_equals_that_of_torchvision(tmp_path, opened):
    """Half pixels are rounded to the even number, as in Python."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    preset = torchvision.transforms._presets.ImageClassification(crop_size=16, resize_size=16)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    page = opened(explore(model, [picture], path=tmp_path / "page.html", transform=preset)).page
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    for width in (17, 18, 19, 21, 23):
        pixels = np.random.default_rng(width).integers(0, 256, (16, width, 3), np.uint8)
        rgba = np.dstack([pixels, np.full((16, width), 255, np.uint8)]).flatten().tolist()
        cropped = page.evaluate(f"(rgba) => [...explorer.fitted(Uint8ClampedArray.from(rgba), {width}, 16)]", rgba)
        expected = preset(Image.fromarray(pixels)) * deviation + mean
        np.testing.assert_allclose(np.reshape(cropped, expected.shape), expected, atol=1.01 / 255)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_transform_of_torchvision(interpolation, tmp_path, opened):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    preset = torchvision.transforms._presets.ImageClassification(
        crop_size=64, resize_size=72, interpolation=torchvision.transforms.InterpolationMode(interpolation)
    )
    picture = Image.fromarray(draw("Car", 1, seed=0, size=128).image).crop((0, 0, 128, 100))
    page = opened(explore(model, [picture], path=tmp_path / "page.html", transform=preset)).page
    with torch.no_grad():
        expected = model(preset(picture)[None])[0]
    pixels = np.dstack([np.array(picture), np.full((100, 128), 255, np.uint8)]).flatten().tolist()
    logits = page.evaluate(
        "async (rgba) => (await explorer.forward(explorer.fitted(Uint8ClampedArray.from(rgba), 128, 100))).logits",
        pixels,
    )
    resized = page.evaluate("(rgba) => [...explorer.fitted(Uint8ClampedArray.from(rgba), 128, 100)]", pixels)
    resized = torch.tensor(resized).reshape(3, 64, 64)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    np.testing.assert_allclose(resized, preset(picture) * deviation + mean, atol=1.01 / 255)
    np.testing.assert_allclose(logits, expected, atol=3e-2)  # the page stores pictures in 8 bits


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.InstanceNorm2d(8)
        self.end = nn.Linear(8, 2)

    def forward(self, x):
        return self.end(self.norm(self.conv(x)).mean((2, 3)))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3)) if x.mean() > 0 else x.mean((2, 3))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Normalised, "Layer 'norm' uses something that the page cannot compute: the operation InstanceNorm2d."),
        (Branches, "torch.fx cannot trace this Branches"),
    ],
)
def test_an_unknown_operation(network, message, tmp_path, opened, capsys):
    torch.manual_seed(0)
    model = network().eval()
    images = pictures(2, 32)
    path = explore(model, images, ["a", "b"], path=tmp_path / "page.html")
    assert capsys.readouterr().out.startswith(message)
    page = opened(path).page
    assert page.locator("#problem").inner_text().startswith(message)
    assert page.locator("#grid li").count() == 8
    assert page.locator("#brush-row").is_hidden()
    maps = page.evaluate("Array.from(runs.first.maps.conv.data)")
    expected = capture(model, "conv", images[0])["conv"][0]
    np.testing.assert_allclose(np.reshape(maps, expected.shape), expected, atol=np.abs(expected).max() / 100)
    refused = "explorer.forward(new Float32Array(3 * 32 * 32)).catch((error) => error.message)"
    assert page.evaluate(refused).startswith(message)


def test_precomputed_maps_fit_into_the_page(tmp_path):
    torch.manual_seed(0)
    images = pictures(4, 96)
    path = explore(Normalised().eval(), images, list("abab"), path=tmp_path / "page.html", megabytes=0.5)
    assert path.stat().st_size <= 0.5e6


def test_windows_of_pictures_and_kernels_that_are_not_square():
    """The vertical and the horizontal window have different kernels, strides, padding and picture sizes."""
    model = nn.Sequential(nn.Conv2d(3, 4, (3, 5), stride=(2, 1), padding=(1, 0)), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(4 * 8 * 20, 2))
    layers = {layer.name: layer.windows for layer in program_of(model.eval(), (3, 16, 24)).layers}
    assert layers["0"] == layers["1"] == (Window(3, 2, -1), Window(5, 1, 0))
    assert layers["3"] == (Window(16, 0, 0), Window(24, 0, 0))


def test_marks_are_in_the_right_place_on_a_wide_picture(tmp_path, opened):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 9, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    page = opened(explore(model, [torch.rand(3, 200, 400)], path=tmp_path / "page.html")).page
    page.evaluate("point({filter: 0, row: 40, column: 10, second: false})")
    rows = """(() => {
      const {width, height} = $("marks");
      const {data} = $("marks").getContext("2d").getImageData(0, 0, width, height);
      const drawn = Array.from({length: height}, (_, y) => y).filter((y) => {
        for (let x = 0; x < width; x++) if (data[4 * (y * width + x) + 3]) return true;
        return false;
      });
      return [drawn[0] / height, drawn[drawn.length - 1] / height];
    })()"""
    top, bottom = page.evaluate(rows)
    assert (top, bottom) == pytest.approx((160 / 200, 169 / 200), abs=0.02)


def test_a_layer_sees_the_whole_picture_only_if_all_its_positions_do(tmp_path, opened):
    """A window as large as the picture no longer covers all of it if it is moved by one pixel."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 15, padding=7), nn.Conv2d(2, 2, 31, padding=15), nn.Flatten())
    model.append(nn.Linear(2 * 16 * 16, 2))
    page = opened(explore(model.eval(), [torch.rand(3, 16, 16)], path=tmp_path / "page.html")).page
    assert page.evaluate("LAYERS.map(windowText)") == [
        "sees 15×15 pixels",
        "sees the whole picture",
        "sees the whole picture",
        "sees the whole picture",
    ]
    page.evaluate("LAYERS[1].window.size = [17, 17]; LAYERS[1].window.start = [-8, -8]")
    assert page.evaluate("windowText(LAYERS[1])") == "sees up to the whole picture"


def test_dropout_that_stays_active_is_reported(tmp_path, capsys):
    """`functional.dropout` is active by default, even in eval mode."""

    class Dropping(nn.Module):
        def __init__(self, training: bool) -> None:
            super().__init__()
            self.conv, self.options = nn.Conv2d(3, 2, 3), {"training": training}

        def forward(self, x):
            return nn.functional.dropout(self.conv(x), 0.1, **self.options).mean((2, 3))

    explore(Dropping(True).eval(), pictures(1, 16), path=tmp_path / "page.html")
    assert "dropout that is active" in capsys.readouterr().out
    explore(Dropping(False).eval(), pictures(1, 16), path=tmp_path / "page.html")
    assert capsys.readouterr().out == ""


def test_one_infinite_or_undefined_weight_does_not_affect_the_others():
    packed = Packed()
    packed.add(np.array([[1.0, np.nan], [0.5, -2.0]]))
    packed.add(np.array([[1.0, np.inf], [0.5, -2.0]]), "int8")
    assert packed.entries[0]["scale"] == 2
    assert np.isfinite(packed.entries[1]["scale"]).all()


def test_unusable_arguments_raise_a_clear_error(tmp_path):
    model, path = BikeCarCNN(image_size=32).eval(), tmp_path / "page.html"
    for images, labels, message in (
        ([], None, "There are no images"),
        (pictures(2, 32), ["Bike"], "2 images and 1 labels"),
        ([pictures(1, 32)[0] * 3], None, "values from"),
        ([pictures(1, 32)[0], pictures(1, 48)[0]], None, "have the shapes"),
    ):
        with pytest.raises(Problem, match=message):
            explore(model, images, labels, path=path)
    diverged = BikeCarCNN(image_size=32).eval()
    nn.init.constant_(diverged.conv1.weight, float("nan"))
    with pytest.raises(Problem, match="infinite or undefined values"):
        explore(diverged, pictures(1, 32), path=path)
    unnamed = type("Unnamed", (nn.Module,), {"forward": lambda self, x: x.mean((2, 3))})
    with pytest.raises(Problem, match="Unnamed has no named layers"):
        explore(unnamed(), pictures(1, 32), path=path)
    with pytest.raises(Problem, match="2 classes and 1 class names"):
        explore(model, pictures(1, 32), path=path, classes=["one"])
    assert not path.exists()


def test_the_modes_of_all_layers_are_unchanged(tmp_path):
    """Layers may be in different modes, for example if batch norm is frozen during training."""
    model = BikeCarCNN(image_size=32).train()
    frozen = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)).eval()
    explore(model, pictures(2, 32), path=tmp_path / "page.html")
    assert model.training and not frozen.training


def test_a_network_that_fails_on_the_images_raises_a_clear_error(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(Problem, match="The model failed on images of shape 2×3×32×32"):
        explore(model, list(pictures(2, 32)), path=tmp_path / "page.html")

"""Networks of torchvision: their weights from a server, a new last layer, and what is kept of them."""

import hashlib
import io

import numpy as np
import pytest
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.v2.functional import normalize

from recognizer import capture, load_model
from recognizer.data import downloads
from recognizer.data.dataset import PixelSet
from recognizer.network import name_of_run, start_of
from recognizer.network.models import save_model
from recognizer.network.torchvision_networks import TorchvisionNetwork, pretrained
from recognizer.network.transfer import features_of, fit_last_layer, which_is_better
from recognizer.settings import Problem

from . import server as answers

NAME, SIZE = "squeezenet1_1", 64
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, as torchvision's documentation has them


@pytest.fixture(scope="module")
def original() -> nn.Module:
    torch.manual_seed(7)
    return torchvision.models.get_model(NAME).eval()


@pytest.fixture(scope="module")
def content(original) -> bytes:
    buffer = io.BytesIO()
    torch.save(original.state_dict(), buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder for weights, and no pauses between attempts."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0)
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 1)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def address(monkeypatch):
    """Tell torchvision another address for the weights of `NAME`."""
    weights = torchvision.models.get_model_weights(NAME).DEFAULT
    return lambda url: monkeypatch.setattr(weights.value, "url", url)


def file_name(content: bytes) -> str:
    return f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def test_weights_come_from_the_server_once_and_then_without_a_connection(hub, address, original, content):
    image = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = create_feature_extractor(original, ["features.12"])(normalize(image, MEAN, DEVIATION))["features.12"]
    with answers.running() as server:
        address(server.serve(file_name(content), content))
        for _ in range(2):
            model, sentence = pretrained(NAME, ["Bike", "Car"], SIZE)
            found = capture(model, "network.features.12", image)["network.features.12"]
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
            assert "ImageNet" in sentence
        assert len(server.requests) == 1
    model, sentence = pretrained(NAME, ["Bike", "Car"], SIZE)  # the server is gone
    assert torch.equal(model.network.features[0].weight, original.features[0].weight) and "ImageNet" in sentence


def test_weights_that_are_cut_off_go_on_where_they_stopped(hub, address, content):
    with answers.running() as server:
        address(server.serve(file_name(content), content, answers.breaks_off(0.5), answers.whole))
        assert "ImageNet" in pretrained(NAME, ["Bike", "Car"], SIZE)[1]
        assert [request[1].get("Range") is None for request in server.requests] == [True, False]


@pytest.mark.parametrize(
    "reply, sentence",
    [
        (answers.sends(b"x" * 5000), r"net-.*\.pth was not used, because its sha256 is"),
        (answers.status(404), "answered «404 Not Found».*PRETRAINED=no"),
        (answers.status(503), "could not be downloaded.*PRETRAINED=no"),
    ],
)
def test_weights_that_are_not_what_was_published_are_a_sentence_and_leave_no_file(
    hub, address, content, reply, sentence
):
    with answers.running() as server:
        address(server.serve(file_name(content), content, reply))
        with pytest.raises(Problem, match=sentence):
            pretrained(NAME, ["Bike", "Car"], SIZE)
    assert not list(hub.glob("*.pth"))


def test_a_name_without_a_digest_is_taken_as_it_comes(hub, address, content):
    with answers.running() as server:
        address(server.serve("net.pth", content))
        assert "ImageNet" in pretrained(NAME, ["Bike", "Car"], SIZE)[1]


def test_without_a_connection_the_start_is_random_and_a_sentence_says_where_weights_belong(hub, address, content):
    with answers.running() as server:
        url = server.serve(file_name(content), content)
    address(url)
    model, sentence = pretrained(NAME, ["Bike", "Car"], SIZE)
    assert isinstance(model, TorchvisionNetwork) and "random weights" in sentence and file_name(content) in sentence
    hub.mkdir(parents=True)
    (hub / file_name(content)).write_bytes(content)  # by hand, as the sentence says
    assert "ImageNet" in pretrained(NAME, ["Bike", "Car"], SIZE)[1]


def test_pretrained_no_asks_no_server(hub, address, monkeypatch):
    monkeypatch.setenv("PRETRAINED", "no")
    monkeypatch.setattr(downloads.requests, "head", lambda *_, **__: pytest.fail("a server was asked"))
    assert name_of_run(NAME) != NAME, "the run with pretrained weights has a folder of its own"
    first, second = (start_of(NAME, ["Bike", "Car"], SIZE, seed=3)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


@pytest.mark.parametrize("name", ["resnet18", NAME])
@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_the_last_layer_is_scikit_learns_logistic_regression(name, classes):
    torch.manual_seed(0)
    model = TorchvisionNetwork(name, classes, SIZE).eval()
    labels = torch.arange(60) % len(classes)
    pixels = torch.randint(0, 120, (60, 3, SIZE, SIZE), dtype=torch.uint8)
    pixels[torch.arange(60), labels] += 90  # every class has a colour
    pictures = PixelSet(pixels, labels, classes, SIZE)
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    fit_last_layer(model, pictures, pictures)
    changed = {key for key, value in model.network.state_dict().items() if not torch.equal(value, before[key])}
    assert len(changed) == 2  # weight and bias of the last layer
    features = features_of(model, pictures)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0).clip(1e-9)
    with torch.no_grad():
        ours = model(pixels.float() / 255).softmax(dim=1).numpy()
    theirs = [LogisticRegression(C=c, max_iter=1000).fit(scaled, labels).predict_proba(scaled) for c in (1e-3, 0.1, 1)]
    assert min(np.abs(ours - each).max() for each in theirs) < 0.02
    assert (ours.argmax(axis=1) == labels.numpy()).mean() > 0.95


def test_a_saved_network_of_torchvision_answers_the_same(tmp_path):
    model = TorchvisionNetwork("mobilenet_v3_small", ["a", "b", "c"], SIZE).eval()
    save_model(model, tmp_path / "model.pt")
    again, images = load_model(tmp_path / "model.pt"), torch.rand(2, 3, SIZE, SIZE)
    assert (again.classes, again.image_size, again.name) == (["a", "b", "c"], SIZE, "mobilenet_v3_small")
    assert torch.equal(again(images), model(images))


@pytest.mark.parametrize(
    "name, size, sentence",
    [
        ("resnet19", 64, "no network 'resnet19'; the closest names are resnet18"),
        ("bikecarcnn", 64, "closest names are BikeCarCNN"),
        ("alexnet", 32, "alexnet cannot take images of 32×32 pixels .*IMAGE_SIZE=224"),
    ],
)
def test_a_network_that_cannot_be_made_is_a_sentence(name, size, sentence):
    with pytest.raises(Problem, match=sentence):
        TorchvisionNetwork(name, ["a", "b"], size)


def test_which_of_two_models_is_better():
    both, first = np.ones(40, bool), np.ones(40, bool)
    first[:4] = False
    assert which_is_better({"one": first, "two": both}).startswith("These images cannot tell")  # p = 2 / 2**4
    first[:6] = False  # p = 2 / 2**6 = 0.03
    sentence = which_is_better({"one": first, "two": both})
    assert sentence.startswith("«two» is better") and "0.031" in sentence


def test_layers_of_a_torchvision_network_have_their_names_there_as_well():
    model = TorchvisionNetwork("squeezenet1_1", ["Bike", "Car"], 64)
    image = torch.rand(3, 64, 64)
    captured = capture(model, ["network.features.0", "features.0"], image)
    assert (captured["features.0"] == captured["network.features.0"]).all()

"""Every layer of other kinds of networks gives maps or a clear error. The full table: benchmarks/architectures.py."""

import importlib.util

import pytest
import torch

from recognizer.settings import PROJECT

SCRIPT = PROJECT / "benchmarks" / "architectures.py"
# Classification, segmentation (a dictionary of two tensors) and detection (a list of boxes, a layer called transform).
NETWORKS = [
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "lraspp_mobilenet_v3_large",
    "ssdlite320_mobilenet_v3_large",
    "swin_t",
]


@pytest.fixture(scope="module")
def architectures():
    specification = importlib.util.spec_from_file_location("architectures", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_gives_maps_equal_to_torchvisions_or_a_clear_error(architectures, name):
    torch.manual_seed(0)
    make = next(make for library, known, make in architectures.networks([name]) if known == name)
    model, image = make().eval(), torch.rand(1, 3, 64, 64)
    outcomes, failures, outputs = architectures.tried(model, image)
    assert not failures and outcomes["maps"] > 0.7 * outcomes["layers"]
    comparison = architectures.differs(model, image, outputs)
    if name != "ssdlite320_mobilenet_v3_large":  # torchvision's extractor cannot trace it
        num_compared, num_different = comparison
        assert num_different == 0 and num_compared > 0.2 * outcomes["layers"]  # it does not look inside other layers

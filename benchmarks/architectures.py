"""Every layer of many networks through `capture` and the colours of a grid: how many give maps, and what the rest says.

    python benchmarks/architectures.py            # torchvision, and timm where it is installed (pip install timm)
    python benchmarks/architectures.py resnet18   # those whose names contain one of these words

Weights are random. A layer counts as maps where its output has a value for each image and is coloured as a grid colours
it, as a sentence where `capture` or the colours raise `Problem` (layers that do not run are asked together), and as a
traceback where anything else is raised. Where torchvision's `create_feature_extractor` can follow a network, both have
to agree on every layer that it offers.
"""

import sys
import time
import warnings
from collections import Counter
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from recognizer import capture, layer_names
from recognizer.maps.activations import layer_of
from recognizer.maps.colours import colour
from recognizer.maps.hooks import run
from recognizer.maps.layers import layers_by_name
from recognizer.maps.pictures import maps_of
from recognizer.settings import Problem

TORCHVISION = """
    alexnet vgg11 vgg11_bn vgg13 vgg16_bn vgg19 resnet18 resnet34 resnet50 resnet101 wide_resnet50_2 resnext50_32x4d
    resnext101_32x8d densenet121 densenet161 densenet169 squeezenet1_0 squeezenet1_1 inception_v3 googlenet
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x2_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
    mnasnet0_5 mnasnet1_0 mnasnet1_3 efficientnet_b0 efficientnet_b1 efficientnet_b3 efficientnet_v2_s
    regnet_x_400mf regnet_x_1_6gf regnet_y_400mf regnet_y_1_6gf convnext_tiny convnext_small maxvit_t swin_t
    swin_v2_t swin_s vit_b_16 vit_b_32 fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large
    lraspp_mobilenet_v3_large fasterrcnn_mobilenet_v3_large_320_fpn fasterrcnn_resnet50_fpn retinanet_resnet50_fpn
    ssd300_vgg16 ssdlite320_mobilenet_v3_large fcos_resnet50_fpn maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn
    r3d_18 mc3_18 swin3d_t
"""
TIMM = """
    resnet10t convnext_atto convnextv2_atto vit_tiny_patch16_224 vit_small_patch16_dinov3 deit_tiny_patch16_224
    deit_tiny_distilled_patch16_224 swin_tiny_patch4_window7_224 mixer_s32_224 resmlp_12_224 poolformer_s12
    pvt_v2_b0 mobilevit_xxs efficientnet_lite0 ghostnet_100 hrnet_w18_small coat_lite_tiny edgenext_xx_small
    levit_128s mobileone_s0 repvgg_a0 crossvit_tiny_240 xcit_nano_12_p16_224 efficientformer_l1 fastvit_t8
    maxvit_rmlp_pico_rw_256 cait_xxs24_224 volo_d1_224
"""


def networks(words: list[str]):
    """(library, name, maker) of each network whose name contains one of `words`, or of all."""
    for name in TORCHVISION.split():
        if not words or any(word in name for word in words):
            yield "torchvision", name, lambda name=name: _torchvision(name)
    try:
        import timm
    except ModuleNotFoundError:
        print("timm is not installed, so its networks are left out: pip install timm")
        return
    for name in TIMM.split():
        if not words or any(word in name for word in words):
            yield "timm", name, lambda name=name: timm.create_model(name, pretrained=False)


def _torchvision(name: str) -> torch.nn.Module:
    try:
        return torchvision.models.get_model(name, weights=None, weights_backbone=None)
    except TypeError:  # it has no backbone with weights of its own
        return torchvision.models.get_model(name, weights=None)


def image_for(name: str, model: torch.nn.Module) -> torch.Tensor:
    if name in ("r3d_18", "mc3_18", "swin3d_t"):
        return torch.rand(1, 3, 8, 64, 64)
    size = (
        299
        if name == "inception_v3"
        else 240
        if "240" in name
        else 256
        if "256" in name or "mobilevit" in name
        else 224
    )
    return torch.rand(1, 3, size, size)


def tried(model: torch.nn.Module, image: torch.Tensor) -> tuple[Counter, list[str], dict[str, np.ndarray]]:
    """What became of each layer of `model`, the first lines of tracebacks, and the maps of all that have some."""
    outcomes, complaints, outputs = Counter(), [], {}
    layers = layers_by_name(model)

    def ask(names: list[str]) -> None:
        """All at once; where that fails, half of them and the other half, down to the layer that it fails for."""
        try:
            captured = capture(model, names, image)
            for key, output in captured.items():
                colour(maps_of(key, model, layers[layer_of(key, names)], output[0], image[0])[0])
        except Exception as error:
            if len(names) > 1:
                ask(names[: len(names) // 2])
                ask(names[len(names) // 2 :])
            elif isinstance(error, Problem):
                outcomes["sentences"] += 1
            else:
                outcomes["tracebacks"] += 1
                complaints.append(f"{names[0]}: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
        else:
            outputs.update(captured)
            outcomes["maps"] += len(names)

    names = layer_names(model)
    ran = {name for name, _ in run(model, names, image)}
    ask([name for name in names if name in ran])
    if idle := [name for name in names if name not in ran]:
        try:
            capture(model, idle, image)
        except Problem:
            outcomes["sentences"] += len(idle)
    outcomes["layers"] = len(names)
    return outcomes, complaints, outputs


def differs(model: torch.nn.Module, image: torch.Tensor, outputs: dict[str, np.ndarray]) -> tuple[int, int] | None:
    """(layers that torchvision's extractor gives as well, those that differ), or None where it cannot follow."""
    names = [name for name in outputs if "#" not in name and "[" not in name]
    for layer in model.modules():  # the extractor hands out what a later layer in place writes over
        if hasattr(layer, "inplace"):
            layer.inplace = False

    def extracted(names: list[str]) -> dict[str, torch.Tensor]:
        relu = torch.nn.functional.relu
        out_of_place = patch.object(torch.nn.functional, "relu", lambda x, inplace=False: relu(x))
        with torch.no_grad(), out_of_place:
            return create_feature_extractor(model, names, suppress_diff_warning=True)(image)

    def same(name: str, value: object) -> bool:
        """Whether the extractor's value is what one call of this layer gave. For some, it gives only the last call."""
        if isinstance(value, tuple):
            value = value[0]  # `capture` gives the other tensors of a tuple other names
        calls = [ours.ravel() for key, ours in outputs.items() if key.split("#")[0] == name and "[" not in key]
        if not isinstance(value, torch.Tensor):
            return False
        value = value.numpy().ravel()
        return any(len(ours) == len(value) and np.allclose(ours, value, atol=1e-4, rtol=1e-3) for ours in calls)

    try:
        offered = get_graph_node_names(model, suppress_diff_warning=True)[1]
        names = [name for name in names if any(node == name or node.startswith(f"{name}.") for node in offered)]
        expected = extracted(names)
        different = [name for name, value in expected.items() if not same(name, value)]
        # Asked for a block and its last layer together, the extractor confuses their calls; alone it does not.
        different = [name for name in different if not same(name, extracted([name])[name])]
    except Exception:
        return None
    return len(expected), len(different)


def main() -> None:
    warnings.simplefilter("ignore")
    print("| network | layers asked | maps | sentences | tracebacks | agree with torchvision's extractor | seconds |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: | ---: |")
    total = Counter()
    for library, name, make in networks(sys.argv[1:]):
        torch.manual_seed(0)
        started = time.perf_counter()
        try:
            model = make().eval()
        except Exception as error:
            print(f"{library}'s {name} cannot be made here: {str(error).splitlines()[0][:100]}")
            continue
        image = image_for(name, model)
        outcomes, complaints, outputs = tried(model, image)
        compared = differs(model, image, outputs)
        agree = "cannot follow" if compared is None else f"{compared[0] - compared[1]} of {compared[0]}"
        counts = [outcomes[what] for what in ("layers", "maps", "sentences", "tracebacks")]
        total.update(outcomes, networks=1)
        print(
            f"| {library}: {name} |", " | ".join(map(str, counts)), f"| {agree} | {time.perf_counter() - started:.0f} |"
        )
        print(*complaints, sep="\n", end="\n" * bool(complaints), flush=True)
    print("in all:", dict(total))


if __name__ == "__main__":
    main()

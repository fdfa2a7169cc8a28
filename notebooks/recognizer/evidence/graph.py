"""A network as a list of steps, so that the steps after a layer can run without the steps before it."""

import copy
import operator
from collections.abc import Sequence

import torch
from torch import nn
from torch.fx import GraphModule, Node, Tracer
from torch.nn import functional

from ..maps.activations import capture
from ..maps.layers import unknown_layer
from ..maps.tracing import trace
from ..settings import Problem

SMALL = 64  # pixels on each side
IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    torch.relu_: functional.relu,
    functional.relu_: functional.relu,
}


class _ByLayer(Tracer):
    """Makes each layer one step. `torch.fx` itself traces into layers that are not PyTorch's own."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return not any(module.children())


def traced(model: nn.Module) -> GraphModule:
    """A copy of `model` in eval mode as a graph of steps (`torch.fx`). No step overwrites the output of another.

    Raises `Problem` for a network that `torch.fx` cannot trace.
    """
    model = copy.deepcopy(model).eval()
    graph = GraphModule(model, trace(model, _ByLayer()))
    for module in graph.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    for node in graph.graph.nodes:
        node.target = IN_PLACE.get(node.target, node.target)
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "inplace"}
        if node.target is functional.relu:
            node.args = node.args[:1]  # the second argument is `inplace`
        if node.op == "call_method" and node.target.endswith("_"):
            node.target = node.target.removesuffix("_")
    graph.recompile()
    return graph


def node_of(graph: GraphModule, layer_name: str) -> Node:
    """The step at which the layer `layer_name` runs, or the last step of a block of layers.

    Raises `Problem` if the layer does not run, or runs several times.
    """
    last_steps = {}  # torch.fx writes the second call of a layer as 'name@1'
    for node in graph.graph.nodes:
        last_steps |= dict.fromkeys(node.meta.get("nn_module_stack", ()), node)
    calls = [call for call in last_steps if call.partition("@")[0] == layer_name]
    if not calls:
        raise Problem(unknown_layer(layer_name, [call for call in last_steps if call and "@" not in call]))
    if len(calls) > 1:
        raise Problem(f"Layer {layer_name!r} runs {len(calls)} times; choose one that runs once.")
    return last_steps[calls[0]]


def start_of(model: nn.Module, layer_names: Sequence[str], image_size: int) -> tuple[nn.Module, int]:
    """The steps of `model` up to the last of these layers, and the side of the images to test them with.

    Early layers see only a few pixels of an image, so images with a side of `SMALL` are enough and save time. This is
    not possible if the network cannot be traced or does not accept such images. Then the whole network and `image_size`
    are returned.
    """
    try:
        graph = traced(model)
        steps = [node for node in graph.graph.nodes if node.op == "call_module" and node.target in layer_names]
        if {node.target for node in steps} != set(layer_names):
            return model, image_size
        for node in reversed(graph.graph.nodes):
            if node is steps[-1]:
                break
            graph.graph.erase_node(node)
        graph.graph.output(steps[-1])
        graph.recompile()
        graph.delete_all_unused_submodules()
        capture(graph, layer_names, torch.zeros(1, 3, SMALL, SMALL))
    except Problem:
        return model, image_size
    return graph, min(SMALL, image_size)


def following(node: Node) -> list[Node]:
    """The steps that depend on `node`, in the order in which they run."""
    dependent = {node}
    for later in node.graph.nodes:
        if dependent.intersection(later.all_input_nodes):
            dependent.add(later)
    return [later for later in node.graph.nodes if later in dependent and later is not node]

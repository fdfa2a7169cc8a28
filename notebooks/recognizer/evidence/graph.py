"""A network as the list of its steps, so that what follows a layer can be run without what comes before it."""

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

SMALL = 64  # pixels
IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    torch.relu_: functional.relu,
    functional.relu_: functional.relu,
}


class _ByLayer(Tracer):
    """Makes one step of each layer, while `torch.fx` itself looks into layers that are not PyTorch's own."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return not any(module.children())


def traced(model: nn.Module) -> GraphModule:
    """A copy of `model` in eval mode as a graph of its steps (`torch.fx`), none of which overwrites what another made.

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
            node.args = node.args[:1]  # the second would be inplace as well
        if node.op == "call_method" and node.target.endswith("_"):
            node.target = node.target.removesuffix("_")
    graph.recompile()
    return graph


def node_of(graph: GraphModule, layer_name: str) -> Node:
    """The step at which the layer `layer_name` runs; of a block of layers, its last step.

    Raises `Problem` where it does not run, or several times.
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
    """The steps of `model` up to the last of these layers, and the side of the images to ask them about.

    Early layers see a few pixels and need no large image: a side of `SMALL` is an eighth of the work where the network
    takes 128. Where that is not possible, because the network cannot be traced or does not take such images, it is the
    whole network and `image_size`.
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
    """The steps that depend on that step, in their order."""
    found = {node}
    for later in node.graph.nodes:
        if found.intersection(later.all_input_nodes):
            found.add(later)
    return [later for later in node.graph.nodes if later in found and later is not node]

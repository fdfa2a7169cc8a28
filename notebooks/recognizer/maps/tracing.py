"""The steps of a network, as `torch.fx` sees them."""

from torch import nn
from torch.fx import Graph, Tracer

from ..settings import Problem

# What tracing raises in a forward that needs real numbers: for a branch (TraceError, which is a ValueError), int() or
# torch.zeros of a shape (TypeError), len() (RuntimeError), an assertion of its own (AssertionError), or a layer that it
# makes in passing (NameError).
UNTRACEABLE = (ValueError, TypeError, RuntimeError, AssertionError, NameError)


def trace(model: nn.Module, tracer: Tracer) -> Graph:
    """The steps of `model` as `tracer` sees them. Raises `Problem` for a network that `torch.fx` cannot trace."""
    try:
        return tracer.trace(model)
    except UNTRACEABLE as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Problem(
            f"torch.fx cannot trace this {type(model).__name__} ({why}); use a network whose forward has no branches "
            "that depend on its input."
        ) from error

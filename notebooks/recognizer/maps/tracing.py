"""The operations of a network in order, as `torch.fx` traces them."""

from torch import nn
from torch.fx import Graph, Tracer

from ..settings import Problem

# Exceptions that tracing raises when a forward pass needs actual values: a branch (TraceError, which is a ValueError),
# int() or torch.zeros of a shape (TypeError), len() (RuntimeError), an assertion (AssertionError), or a layer that is
# created in the forward pass (NameError).
UNTRACEABLE = (ValueError, TypeError, RuntimeError, AssertionError, NameError)


def trace(model: nn.Module, tracer: Tracer) -> Graph:
    """The graph of operations in `model`. Raises `Problem` for a network that `torch.fx` cannot trace."""
    try:
        return tracer.trace(model)
    except UNTRACEABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Problem(
            f"torch.fx cannot trace this {type(model).__name__} ({reason}); use a network whose forward pass has no "
            "branches that depend on the input."
        ) from error

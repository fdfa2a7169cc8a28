"""Training in several processes: the part of each one, and what they tell each other.

torchrun starts the processes, and `joined` connects them. Each holds the whole network. It takes its own part of every
batch, and the gradients of all parts are averaged before each step. So the weights are the same in all processes.
In a single process, the functions of this file change nothing. All processes must call them in the same order,
otherwise they wait for each other.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..data.dataset import PixelSet
from ..settings import Problem
from .hardware import choose_device, device_of

Result = TypeVar("Result")
PATIENCE = timedelta(hours=2)  # how long the others wait for the first process, which may have to prepare images

_stop_asked = False
_answer: tuple | None = None  # whether any process was asked, once it has arrived


def is_joined() -> bool:
    """Whether this process trains together with others (or was at least started by torchrun)."""
    return dist.is_available() and dist.is_initialized()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if is_joined() else 1


def rank() -> int:
    """The number of this process, from 0. Only process 0 writes files."""
    return dist.get_rank() if is_joined() else 0


def is_first() -> bool:
    """Whether this is process 0."""
    return rank() == 0


def own_share() -> slice:
    """Which images of a batch this process takes: every N-th one of N processes."""
    return slice(rank(), None, count())


def own_part(pictures: PixelSet) -> PixelSet:
    """The images of a set that this process evaluates; all of them if there are fewer than processes."""
    if count() == 1 or len(pictures) < count():
        return pictures
    share = own_share()
    return PixelSet(pictures.pixels[share], pictures.labels[share], pictures.classes, pictures.image_size)


def gathered(rows: Tensor, total: int) -> Tensor:
    """The rows of all processes in the order of the images. `rows`, M×K on the CPU, are those of `own_part`."""
    if len(rows) == total:
        return rows
    whole = rows.new_zeros(total, *rows.shape[1:])
    whole[own_share()] = rows
    dist.all_reduce(whole)
    return whole


def weight_of_share(batch_size: int) -> float:
    """How often the mean over the own share of a batch counts among those of all processes; 1 if shares are equal."""
    return len(range(batch_size)[own_share()]) * count() / batch_size


def mean(values: Sequence[float]) -> list[float]:
    """The mean of each value over all processes."""
    if count() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return (total / count()).tolist()


def from_first(make: Callable[[], Result]) -> Result:
    """What `make` returns in process 0, in all processes. Only process 0 calls it. Tensors must be on the CPU."""
    if count() == 1:
        return make()
    box = [make() if is_first() else None]
    dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def from_all(value: Result) -> list[Result]:
    """The `value` of each process, in the order of their numbers."""
    if count() == 1:
        return [value]
    values = [None] * count()
    dist.all_gather_object(values, value)
    return values


def in_turns(make: Callable[[], Result]) -> Result:
    """What `make` returns. Process 0 calls it first, then the first of each other machine, then all others.

    So each finds the files of those before it, whether the machines share a folder or not.
    """
    own_turn = 0 if is_first() else 1 if not int(os.environ.get("LOCAL_RANK", 0)) else 2
    for turn in range(3):
        if turn == own_turn:
            result = make()
        mean([0])  # waits for all
    return result


def averaging_gradients(model: nn.Module, weight: float = 1) -> nn.Module:
    """`model`, wrapped so that each backward pass averages the gradients of all processes.

    Those of this process count `weight` times (see `weight_of_share`).

    Batch norm uses the statistics of all images of a batch on NVIDIA GPUs. On processors it uses those of the own
    part, because PyTorch's `SyncBatchNorm` does not run there.
    """
    if count() == 1:
        return model
    device = device_of(model)
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # replaces the layers in `model`
    replica = DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    if weight != 1:
        # At the output, because the synchronized statistics mix the gradients of all processes further down.
        replica.register_forward_hook(lambda _module, _images, logits: _weighted(logits, weight))
    return replica


def _weighted(logits: Tensor, weight: float) -> None:
    if logits.requires_grad:
        logits.register_hook(lambda gradient: gradient * weight)


def copy_from_first(model: nn.Module) -> None:
    """Give `model` the weights and running statistics that it has in process 0."""
    if count() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)


def stop_if_asked() -> None:
    """Raise `KeyboardInterrupt` in all processes at the same step, if one of them has received Ctrl-C.

    The answer of the others arrives during the step, so that nobody waits for it. It counts from the next step on.
    """
    global _answer
    if not is_joined():
        return
    if _answer:
        work, asked = _answer
        work.wait()
        _answer = None
        if asked.item():
            raise KeyboardInterrupt
    asked = torch.tensor(int(_stop_asked))
    _answer = dist.all_reduce(asked, dist.ReduceOp.MAX, async_op=True), asked


def check_shares(batch_size: int, num_processes: int) -> None:
    """Raise `Problem` if so many processes cannot take equal parts of a batch."""
    if batch_size % num_processes:
        raise Problem(
            f"{num_processes} processes cannot take equal parts of a batch of {batch_size} images. "
            f"Use a multiple of {num_processes}, such as BATCH_SIZE={-(-batch_size // num_processes) * num_processes}."
        )


def check_device(num_processes: int) -> None:
    """Raise `Problem` if so many processes cannot train on the devices of this machine."""
    device = choose_device()
    if num_processes > 1 and device.type not in ("cpu", "cuda"):
        raise Problem(f"Several processes train on processors or NVIDIA GPUs, not on {device.type}; use DEVICE=cpu.")
    if device.type == "cuda" and num_processes > torch.cuda.device_count():
        raise Problem(
            f"{num_processes} processes need as many GPUs, but this machine has {torch.cuda.device_count()}. "
            "Use fewer PROCESSES, or DEVICE=cpu."
        )


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Connect this process with the others that torchrun started, until the block ends. Each GPU gets one process.

    Ctrl-C is only noted in this block; `stop_if_asked` acts on it.
    Raises `Problem` if there are more processes than GPUs, and if another process dies.
    """
    check_device(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    backend = "gloo"
    if choose_device().type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        os.environ["DEVICE"] = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(choose_device())
    store, number, total = next(dist.rendezvous("env://", timeout=PATIENCE))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # When torchrun starts the processes again, its own store still has the addresses of those that died. Any other
        # store is new. There, the count must not matter, because each machine has its own.
        store = dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=total, timeout=PATIENCE)
    before = signal.signal(signal.SIGINT, _note)
    try:
        yield
        mean([0])  # nobody leaves while others still need it
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise Problem("Another process died, so this one cannot go on.") from error
    finally:
        signal.signal(signal.SIGINT, before)
        dist.destroy_process_group()


def _note(*_) -> None:
    global _stop_asked
    _stop_asked = True

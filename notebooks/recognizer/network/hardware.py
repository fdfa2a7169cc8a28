"""What the machine has, and what each kind of device gets. An environment variable switches each choice off.

| device | computes in | images and weights in memory | pixels stay on it | optimizer |
| :--- | :--- | :--- | :--- | :--- |
| CPU | bfloat16 where it multiplies that, else float32 | channels last | no | fused |
| NVIDIA or AMD GPU (`cuda`) | the same | channels last | where they fit | fused |
| Apple GPU (`mps`) | float32 | contiguous | no | fused |
| Intel GPU (`xpu`) | as a CPU | contiguous | no | fused |
| any other | float32 | contiguous | no | plain |
"""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

import torch
from torch import nn

from ..settings import Problem, parameter


def choose_device() -> torch.device:
    """The GPU where there is one, else the CPU; or what the environment variable DEVICE says, such as cpu or cuda:1.

    Raises `Problem` for a device that this machine does not have.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    here = ["cpu"]
    if accelerator:
        here += [accelerator.type, *(f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count()))]
    name = parameter("DEVICE", "auto").lower()
    if name == "auto":
        return accelerator or torch.device("cpu")
    if name not in here:
        raise Problem(f"DEVICE={name!r} is not a device of this machine; use auto or {', '.join(here)}.")
    return torch.device(name)


def device_of(model: nn.Module) -> torch.device:
    """Where the weights of `model` are."""
    return next(model.parameters()).device


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, which is about three times as fast as float32; else float32.

    The environment variable BFLOAT16=0 switches it off.
    """
    has_bfloat16 = {
        "cpu": lambda: torch.cpu.get_capabilities().get("avx512_bf16", False),
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        "xpu": lambda: torch.xpu.is_bf16_supported(including_emulation=False),
    }
    asked = device.type in has_bfloat16 and parameter("BFLOAT16", True)
    return torch.bfloat16 if asked and has_bfloat16[device.type]() else torch.float32


def fastest_memory_format(device: torch.device) -> torch.memory_format:
    """Channels last, the order of numbers in memory that convolutions are fastest with, where it is known to be right.

    On Apple GPUs, releases of PyTorch that this project runs on compute wrong gradients of batch norm in that order, or
    end the process in pooling (PyTorch's issues 175189 and 175190). CHANNELS_LAST=0 switches it off.
    """
    asked = device.type in ("cpu", "cuda") and parameter("CHANNELS_LAST", True)
    return torch.channels_last if asked else torch.contiguous_format


def room_for_pixels(device: torch.device) -> int:
    """How many bytes of pixels may stay on `device`: half of what is free on an NVIDIA or AMD GPU, elsewhere none."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 0


def has_fused_optimizers(device: torch.device) -> bool:
    """Whether PyTorch's optimizers can take a step there in one kernel."""
    return device.type in ("cpu", "cuda", "mps", "xpu")


def autocast(device: torch.device) -> torch.autocast:
    """Compute in `fastest_dtype`; weights, and what is summed up, stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fastest_dtype(device) == torch.bfloat16)


@contextlib.contextmanager
def fast_forward(model: nn.Module) -> Iterator[None]:
    """While it lasts, `model` computes its outputs under `autocast`. Loss and backward pass are outside of it."""
    model.forward = autocast(device_of(model))(model.forward)
    try:
        yield
    finally:
        del model.forward  # that of its class is back


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees, for the next batch; KEEP_FREED_MEMORY=0 switches it off.

    The C library of Linux returns large blocks to the system at once. When they are asked for again, they come as new
    pages, and each must be cleared first: some 10,000 in a step of training, a fifth of its time. With musl, on macOS
    and on Windows nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc" or not parameter("KEEP_FREED_MEMORY", True):
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h
    # Older versions of the library refuse more than 32 MiB. Without the first, the second alone would do harm.
    if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 1 << 25):
        mallopt(trim_threshold, 1 << 30)

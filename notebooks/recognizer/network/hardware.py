"""Choose the device and its settings. Environment variables, named below, switch off some of these settings.

| device | computes in | images and weights in memory | pixels stay on the device | optimizer |
| :--- | :--- | :--- | :--- | :--- |
| CPU | bfloat16 if the hardware multiplies it, else float32 | channels last | no | fused |
| NVIDIA or AMD GPU (`cuda`) | as a CPU | channels last | if they fit | fused |
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
    """The GPU if there is one, else the CPU; or the device in the environment variable DEVICE, such as cpu or cuda:1.

    Raises `Problem` for a device that this machine does not have.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    available = ["cpu"]
    if accelerator:
        available += [accelerator.type, *(f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count()))]
    name = parameter("DEVICE", "auto").lower()
    if name == "auto":
        return accelerator or torch.device("cpu")
    if name not in available:
        raise Problem(f"DEVICE={name!r} is not a device of this machine; use auto or {', '.join(available)}.")
    return torch.device(name)


def device_of(model: nn.Module) -> torch.device:
    """Where the weights of `model` are."""
    return next(model.parameters()).device


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 if the hardware multiplies it, which is about three times as fast as float32; otherwise float32.

    The environment variable BFLOAT16=0 switches it off.
    """
    has_bfloat16 = {
        "cpu": lambda: torch.cpu.get_capabilities().get("avx512_bf16", False),
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
        "xpu": lambda: torch.xpu.is_bf16_supported(including_emulation=False),
    }
    is_enabled = device.type in has_bfloat16 and parameter("BFLOAT16", True)
    return torch.bfloat16 if is_enabled and has_bfloat16[device.type]() else torch.float32


def fastest_memory_format(device: torch.device) -> torch.memory_format:
    """Channels last, the memory layout in which convolutions are fastest, on devices where it is known to be correct.

    On Apple GPUs, PyTorch releases that this project supports compute wrong gradients of batch norm in this layout, or
    crash in pooling (PyTorch issues 175189 and 175190). The environment variable CHANNELS_LAST=0 switches it off.
    """
    is_enabled = device.type in ("cpu", "cuda") and parameter("CHANNELS_LAST", True)
    return torch.channels_last if is_enabled else torch.contiguous_format


def room_for_pixels(device: torch.device) -> int:
    """How many bytes of pixels may stay on `device`: half of an NVIDIA or AMD GPU's free memory, none elsewhere."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 0


def has_fused_optimizers(device: torch.device) -> bool:
    """Whether PyTorch's optimizers can take a step on `device` in one kernel."""
    return device.type in ("cpu", "cuda", "mps", "xpu")


def autocast(device: torch.device) -> torch.autocast:
    """Compute in `fastest_dtype`; weights and sums stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fastest_dtype(device) == torch.bfloat16)


@contextlib.contextmanager
def fast_forward(model: nn.Module) -> Iterator[None]:
    """In this block, `model` computes its outputs under `autocast`. Loss and backward pass are not affected."""
    model.forward = autocast(device_of(model))(model.forward)
    try:
        yield
    finally:
        del model.forward  # restores the method of its class


def keep_freed_memory() -> None:
    """Make this process keep the memory that it frees, for the next batch; KEEP_FREED_MEMORY=0 switches it off.

    The C library of Linux returns large blocks to the system at once. When they are allocated again, they are new pages
    that must be cleared first: some 10,000 in a training step, a fifth of its time. With musl, on macOS and on Windows,
    nothing changes.
    """
    if platform.libc_ver()[0] != "glibc" or not parameter("KEEP_FREED_MEMORY", True):
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h
    # Older versions of the library reject more than 32 MiB. The second setting without the first would do harm.
    if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 1 << 25):
        mallopt(trim_threshold, 1 << 30)

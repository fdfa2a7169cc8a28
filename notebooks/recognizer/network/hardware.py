"""What the machine has, and how training makes use of it. Each choice can be switched off by an environment variable."""

import ctypes
import platform

import torch

from ..settings import parameter


def choose_device() -> torch.device:
    """The GPU where there is one (NVIDIA's or Apple's), else the CPU; the environment variable DEVICE=cpu says otherwise."""
    if (name := parameter("DEVICE", "auto")) != "auto":
        return torch.device(name)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, which is about three times as fast as float32; else float32.

    The environment variable BFLOAT16=0 switches it off.
    """
    if not parameter("BFLOAT16", True):
        return torch.float32
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bfloat16 = device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if has_bfloat16 else torch.float32


def fastest_memory_format() -> torch.memory_format:
    """Channels last, the order of numbers in memory that convolutions are fastest with; CHANNELS_LAST=0 switches it off."""
    return torch.channels_last if parameter("CHANNELS_LAST", True) else torch.contiguous_format


def autocast(device: torch.device) -> torch.autocast:
    """Compute in `fastest_dtype`; weights, and what is summed up, stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fastest_dtype(device) == torch.bfloat16)


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees, for the next batch; KEEP_FREED_MEMORY=0 switches it off.

    The C library of Linux gives large blocks back to the system at once, and what is asked for again comes as new pages, each
    to be emptied first: some 10,000 in a step of training, a fifth of its time. With musl, on macOS and on Windows
    nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc" or not parameter("KEEP_FREED_MEMORY", True):
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h
    # Older versions of the library refuse more than 32 MiB. Without the first, the second alone would do harm.
    if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 1 << 25):
        mallopt(trim_threshold, 1 << 30)

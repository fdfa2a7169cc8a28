"""Data augmentation of whole batches."""

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    images: Tensor,
    generator: torch.Generator,
    image_size: int | None = None,
    *,
    batch_size: int | None = None,
    share: slice = slice(None),
) -> Tensor:
    """Flip, rotate, stretch, zoom and shift each image at random, and change its light a little.

    `images` is float B×3×D×D in [0, 1]; the result is float B×3×S×S with S = `image_size` (default D). The whole batch
    is resampled once.
    If `images` are only the `share` of a batch of `batch_size` images, they change as they would in the whole batch.
    """
    count, device = len(images), images.device
    randoms = torch.rand(11, batch_size or count, generator=generator)[:, share]
    randoms = randoms.to(device, non_blocking=device.type == "cuda")

    def uniform(number: int, low: float, high: float) -> Tensor:
        return randoms[number] * (high - low) + low

    flip = (randoms[0] < 0.5) * 2.0 - 1
    angle, stretch = uniform(1, -0.15, 0.15), uniform(2, 0.85, 1.18).sqrt()
    zoom = uniform(3, 0.55, 1.1)
    room = (1 - zoom).clamp(min=0.1)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # Where each output pixel is sampled: one affine map per image, in coordinates from -1 to 1 (see grid_sample).
    height, width = (image_size, image_size) if image_size else images.shape[2:]
    x = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, device=device).view(1, 1, width)
    y = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, device=device).view(1, height, 1)
    grid = torch.empty(count, height, width, 2, device=device)
    for axis, (by_x, by_y, shift) in enumerate(
        (
            (cos * stretch * flip, -sin / stretch, uniform(4, -1, 1) * room),
            (sin * stretch * flip, cos / stretch, uniform(5, -1, 1) * room),
        )
    ):
        by_x, by_y, shift = (value.view(-1, 1, 1) for value in (by_x, by_y, shift))
        torch.add(by_x * x, by_y * y + shift, out=grid[..., axis])
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    # Light: contrast and tint around the image's mean, and brightness. Each channel gets one factor and one offset.
    tint = torch.stack([uniform(6 + channel, 0.9, 1.1) for channel in range(3)], dim=1)
    gain = (tint * uniform(9, 0.7, 1.4)[:, None]).view(-1, 3, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    brightness = uniform(10, -0.15, 0.15).view(-1, 1, 1, 1)
    return images.mul_(gain).add_(mean * (1 - gain) + brightness).clamp_(0, 1)

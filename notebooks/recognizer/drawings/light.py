"""Light, and what the camera does with it: shadows, exposure, blur, noise, JPEG."""

import cv2
import numpy as np

from .backdrop import grains
from .camera import NEAREST, OUTSIDE, Camera
from .painting import Light
from .solids import NO_PART, Origin, Shape

Random = np.random.Generator


def any_light(random: Random, yaw: float | None = None) -> Light:
    """Sun or lamp, hard or soft, from any side; with `yaw` (radians), mostly from the camera, which stands there."""
    azimuth = random.uniform(0, 2 * np.pi) if yaw is None else random.normal(yaw, 0.9)
    elevation = np.radians(random.uniform(30, 80))
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    ambient = random.uniform(0.45, 0.8) + (0.15 if yaw is not None else 0)
    sky = np.array([(0.75, 0.86, 1.0), (0.95, 0.95, 0.95), (1.0, 0.9, 0.78)][random.integers(3)])
    sky *= random.uniform(0.6, 1.1)
    return Light(
        direction=direction,
        ambient=ambient,
        diffuse=random.uniform(1.1, 1.55) - ambient,
        sky=sky,
        ground=np.array([0.30, 0.29, 0.27]) * random.uniform(0.4, 1.3),
        shadow=random.uniform(0.15, 0.75),
        softness=random.uniform(0.004, 0.03),
    )


def cast_shadow(picture: np.ndarray, shape: Shape, camera: Camera, light: Light) -> None:
    """Darken the ground (uint8, H×W×3, in place) where the vehicle blocks the light."""
    size = len(picture)
    points = np.concatenate(shape.points)
    dark = np.zeros((size // 2, size // 2), np.uint8)  # it is soft, so half the resolution is enough
    flat = points - points[:, 2:] / light.direction[2] * light.direction
    pixels, depth = camera.project(flat)
    pixels[depth < NEAREST] = OUTSIDE
    pixels = (pixels / 2).astype(np.float32)
    sun = 255 * min(1.0, light.shadow * light.diffuse / 0.7)
    start = 0
    for part, look in zip(shape.points, shape.looks):
        if look.part != NO_PART:  # details lie on something that already casts a shadow
            cv2.fillConvexPoly(dark, cv2.convexHull(pixels[start : start + len(part)]).astype(np.int32), sun)
        start += len(part)
    # Directly under the vehicle, it is dark in any light.
    for above in standing(shape):
        pixels, depth = camera.project(above[above[:, 2] < 0.45] * (0.96, 0.9, 0))
        if len(depth) and depth.min() > NEAREST:
            under = np.zeros_like(dark)
            outline = cv2.convexHull((pixels / 2).astype(np.float32)).astype(np.int32)
            cv2.fillConvexPoly(under, outline, 255 * (0.3 + 0.4 * light.shadow))
            dark = np.maximum(dark, under)
    dark = cv2.GaussianBlur(dark, (0, 0), 0.25 + light.softness * size / 2)
    dark = cv2.resize(dark, (size, size), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(picture, cv2.merge([255 - dark] * 3), dst=picture, scale=1 / 255)


def standing(shape: Shape) -> list[np.ndarray]:
    """Points (N×3) of each thing that stands on the ground: one, unless the part that joins the pieces is removed."""
    if {"body", "frame"} & {origin.piece for origin in shape.origins}:
        return [np.concatenate(shape.points)]
    groups: dict[Origin, list[np.ndarray]] = {}
    for points, origin in zip(shape.points, shape.origins):
        groups.setdefault(origin._replace(piece="wheel") if origin.wheel >= 0 else origin, []).append(points)
    return [np.concatenate(group) for group in groups.values()]


def round_off(picture: np.ndarray, parts: np.ndarray) -> None:
    """Brighten the upper edges of the subject (uint8, H×W×3, in place) and darken the lower ones, as the sky does.

    Faces are flat, and tubes are lines. This makes them look round. `parts` (uint8, H×W) says where the subject is.
    """
    solid, reach = cv2.threshold(parts, 0, 160, cv2.THRESH_BINARY)[1], max(1, len(parts) // 28)
    heap = cv2.blur(solid, (2 * reach + 1, 2 * reach + 1))
    gain = np.full_like(parts, 128)
    cv2.addWeighted(heap[2 * reach :], 0.3, heap[: -2 * reach], -0.3, 128, dst=gain[reach:-reach])
    cv2.copyTo(cv2.multiply(picture, cv2.merge([gain] * 3), scale=1 / 128), solid, picture)


def tint(picture: np.ndarray, random: Random) -> None:
    """Make the light (on uint8, H×W×3, in place) a little uneven in brightness and colour."""
    strength = random.uniform(0, 0.12)
    grid = 128 * (1 + strength * (random.standard_normal((3, 3, 1)) + 0.4 * random.standard_normal((3, 3, 3))))
    field = cv2.resize(grid.clip(64, 255).astype(np.uint8), picture.shape[:2], interpolation=cv2.INTER_LINEAR)
    cv2.multiply(picture, field, dst=picture, scale=1 / 128)


def exposure(picture: np.ndarray, parts: np.ndarray) -> float:
    """The exponent (1 or less) with which a camera brightens a dark picture or subject, but only partly.

    `parts` (uint8, H×W) is not 0 where the subject is.
    """
    mean, subject_mean = (min(max(sum(cv2.mean(picture, mask)) / 3 / 255, 0.02), 0.9) for mask in (None, parts))
    return min(1.0, np.log(0.45) / np.log(np.sqrt(mean * subject_mean))) ** 0.6


def photograph(
    picture: np.ndarray, exponent: float, contrast: float, random: Random
) -> tuple[np.ndarray, bytes]:
    """Photograph the scene (uint8, H×W×3). Returns the pixels of a JPEG file, and the file.

    `exponent` is what `exposure` returns. `contrast` is the mean of a random gain: 0 leaves most
    pictures as they are, 1 adds about half to the contrast of middle tones.
    """
    # Widths are shares of the picture's, so that small and large drawings are equally sharp.
    if random.random() < 0.25:
        image = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.001, 0.005) * len(picture))
    else:  # as phones and web sites do
        width = 2 * max(1, round(0.012 * len(picture))) + 1
        smooth = cv2.blur(picture, (width, width))
        amount = random.uniform(0.0, 1.0)
        image = cv2.addWeighted(picture, 1 + amount, smooth, -amount, 0)
    saturation = 0.0 if random.random() < 0.06 else random.uniform(0.45, 1.15)
    image = cv2.transform(image, saturation * np.eye(3) + (1 - saturation) / 3)
    # The other steps are the same for every pixel: one table from 256 values to 256 values per channel.
    tone = np.linspace(0, 1, 256)[:, None] ** (np.exp(random.normal(-0.05, 0.2)) * exponent)
    # Film has more contrast in middle tones and less towards black and white, where a plain gain would clip tones.
    # At 1 or more the curve would no longer rise at black and white.
    tone += min(random.normal(contrast, 0.25), 0.92) * tone * (1 - tone) * (2 * tone - 1)
    black, white = random.normal(0, 0.025), random.normal(1.08, 0.06)
    tone = (black + (white - black) * tone) * np.exp(random.normal(0, 0.04, 3))
    pixels = cv2.LUT(image, (255 * tone).clip(0, 255).astype(np.uint8)[None])
    if random.random() < 0.6:
        grain, strength = grains(random, len(image)), random.exponential(0.04)
        pixels = cv2.addWeighted(pixels, 1, cv2.merge([grain] * 3), strength, -127.5 * strength)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(45, 96))]
    file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)[1]
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), file.tobytes()

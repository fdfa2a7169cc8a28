"""Light before the lens and what the camera does behind it: shadows, exposure, blur, noise, JPEG."""

import cv2
import numpy as np

from .camera import NEAREST, OUTSIDE, Camera
from .painting import Light
from .solids import NO_PART, Shape

Random = np.random.Generator


def any_light(random: Random, yaw: float | None = None) -> Light:
    """Sun or lamp, hard or soft, from any side or rather from that of the camera, which stands at `yaw` radians."""
    azimuth = random.uniform(0, 2 * np.pi) if yaw is None else random.normal(yaw, 0.9)
    elevation = np.radians(random.uniform(30, 80))
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    ambient = random.uniform(0.35, 0.75) + (0.15 if yaw is not None else 0)
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
    """Darken the ground (uint8, H×W×3, in place) where the vehicle keeps the light away."""
    size = len(picture)
    points = np.concatenate(shape.points)
    dark = np.zeros((size, size), np.uint8)
    flat = points - points[:, 2:] / light.direction[2] * light.direction
    pixels, depth = camera.project(flat)
    pixels[depth < NEAREST] = OUTSIDE
    pixels = pixels.astype(np.float32)
    sun = 255 * min(1.0, light.shadow * light.diffuse / 0.7)
    start = 0
    for part, look in zip(shape.points, shape.looks):
        if look.part != NO_PART:  # details lie on something that throws a shadow already
            cv2.fillConvexPoly(dark, cv2.convexHull(pixels[start : start + len(part)]).astype(np.int32), sun)
        start += len(part)
    # Right under the vehicle it is dark in any light.
    pixels, depth = camera.project(points[points[:, 2] < 0.45] * (0.96, 0.9, 0))
    if depth.min() > NEAREST:
        under = np.zeros_like(dark)
        cv2.fillConvexPoly(under, cv2.convexHull(pixels.astype(np.float32)).astype(np.int32), 255 * 0.6 * light.shadow)
        dark = np.maximum(dark, under)
    dark = cv2.GaussianBlur(dark, (0, 0), 0.5 + light.softness * size)
    picture[:] = cv2.multiply(picture, cv2.merge([255 - dark] * 3), scale=1 / 255)


def photograph(picture: np.ndarray, contrast: float, random: Random) -> tuple[np.ndarray, bytes]:
    """What a camera makes of the scene (uint8, H×W×3): the pixels of a JPEG file, and the file.

    `contrast`: 0 leaves most pictures as they are, 1 makes it e times stronger.
    """
    # Widths are shares of the picture's, so that small and large drawings are equally sharp.
    image, softness = picture, random.uniform(0.001, 0.011) * len(picture)
    if random.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), softness)
    else:  # as phones and web sites do
        smooth = cv2.GaussianBlur(image, (0, 0), 0.008 * len(image))
        amount = random.uniform(0.2, 1.8)
        image = cv2.addWeighted(image, 1 + amount, smooth, -amount, 0)
    saturation = 0.0 if random.random() < 0.06 else random.uniform(0.5, 1.25)
    image = cv2.transform(image, saturation * np.eye(3) + (1 - saturation) / 3)
    # What is left is the same for every pixel: a table from 256 values to 256 values for each channel.
    table = np.linspace(0, 1, 256)[:, None] ** np.exp(random.normal(-0.12, 0.16))
    table = (table - 0.5) * np.exp(random.normal(contrast, 0.22)) + 0.54 + random.normal(0, 0.08)
    table = table * np.exp(random.normal(0, 0.05, 3)) * np.exp(random.normal(0, 0.12))
    pixels = cv2.LUT(image, (255 * table).clip(0, 255).astype(np.uint8)[None])
    if random.random() < 0.6:
        grain = random.standard_normal(image.shape[:2], np.float32) * np.float32(255 * random.exponential(0.02))
        pixels = cv2.add(pixels, cv2.merge([grain] * 3), dtype=cv2.CV_8U)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(45, 96))]
    file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)[1]
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), file.tobytes()

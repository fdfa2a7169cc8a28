"""The camera that looks at a vehicle: from metres in the world to pixels in the picture.

World: x forward along the vehicle, y to its left, z up, metres, origin on the ground under the vehicle's middle.
Picture: x to the right, y down, pixels; pixel (0, 0) covers the square from 0 to 1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from .solids import cross

NEAREST = 0.15  # metres in front of the lens; nearer things are not painted
OUTSIDE = -1e4  # a coordinate outside every picture


class View(NamedTuple):
    """Where the camera stands, in radians and metres."""

    yaw: float  # 0 looks at the vehicle's front, pi/2 at its left side, pi at its rear
    pitch: float  # above the horizontal
    roll: float
    distance: float
    stretch: float  # width over height of a square, as in pictures squeezed into another format


class Camera(NamedTuple):
    """A pinhole camera: `matrix` (3×4) maps homogeneous world points to homogeneous pixels."""

    position: np.ndarray
    matrix: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N×2) and depth in metres (N) of world points (N×3). Points behind the lens are moved far outside."""
        homogeneous = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        return homogeneous[:, :2] / np.maximum(homogeneous[:, 2:], 1e-3), homogeneous[:, 2]

    def lines(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Pixels (N×2×2) of straight lines between N×3 points, clipped where they would pass behind the lens."""
        both = np.stack([starts, ends], axis=1)
        depth = both @ self.matrix[2, :3] + self.matrix[2, 3]
        other, deeper = both[:, ::-1], depth[:, ::-1]
        share = np.clip((NEAREST - depth) / np.where(depth < deeper, deeper - depth, np.inf), 0, 1)
        both = both + share[..., None] * (other - both)
        pixels = self.project(both.reshape(-1, 3))[0].reshape(-1, 2, 2)
        pixels[depth.max(axis=1) <= NEAREST] = OUTSIDE
        return pixels

    def scale(self, point: np.ndarray) -> float:
        """Pixels per metre at a point of the world (3)."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :3]))) / self.project(point[None])[1][0])

    def horizon(self, size: int) -> np.ndarray:
        """Pixels (2×2) of the horizon at the left and right edge of the picture."""
        # Two directions on the ground, on either side of the middle, give two points of the vanishing line.
        ahead = -self.position * (1, 1, 0)
        ahead = ahead / max(np.linalg.norm(ahead), 1e-6)
        aside = np.array([-ahead[1], ahead[0], 0])
        (x0, y0, w0), (x1, y1, w1) = (self.matrix[:, :3] @ (ahead + s * aside) for s in (-0.5, 0.5))
        (x0, y0), (x1, y1) = (x0 / w0, y0 / w0), (x1 / w1, y1 / w1)
        slope = (y1 - y0) / (x1 - x0)
        return np.array([[0, y0 - slope * x0], [size, y0 + slope * (size - x0)]])

    def ellipses(self, circles: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
        """The exact images of circles (centre, u, v) with the points centre + u cos t + v sin t.

        One row per circle: x, y, two semi-axes, and the angle of the first in radians. The circle's plane maps to the
        picture by a homography, and a homography maps a conic to a conic.
        """
        planes = np.zeros((len(circles), 4, 3))
        for plane, (centre, u, v) in zip(planes, circles):
            plane[:3] = np.stack([u, v, centre], axis=1)
        planes[:, 3, 2] = 1
        inverse = np.linalg.inv(self.matrix @ planes)
        conic = inverse.transpose(0, 2, 1) @ np.diag([1.0, 1.0, -1.0]) @ inverse
        middle = np.linalg.solve(conic[:, :2, :2], -conic[:, :2, 2:])[..., 0]
        level = -(conic[:, 2, 2] + (conic[:, 2, :2] * middle).sum(axis=1))
        values, vectors = np.linalg.eigh(conic[:, :2, :2] / level[:, None, None])
        angle = np.arctan2(vectors[:, 1, 0], vectors[:, 0, 0])
        return np.concatenate([middle, 1 / np.sqrt(np.abs(values)), angle[:, None]], axis=1)


def aim(view: View, target: np.ndarray) -> Camera:
    """A camera of focal length 1 that looks at `target`."""
    towards = -np.array(
        [np.cos(view.pitch) * np.cos(view.yaw), np.cos(view.pitch) * np.sin(view.yaw), np.sin(view.pitch)]
    )
    position = target - view.distance * towards
    right = np.array([towards[1], -towards[0], 0]) / np.hypot(*towards[:2])
    down = cross(towards, right)
    c, s = np.cos(view.roll), np.sin(view.roll)
    turn = np.stack([c * right + s * down, c * down - s * right, towards])
    return Camera(position, np.concatenate([turn, -(turn @ position)[:, None]], axis=1))


def frame(
    view: View,
    points: np.ndarray,
    share: float,
    filling: tuple[float, float],
    place: tuple[float, float],
    size: int,
    longest: float,
) -> Camera:
    """A camera whose picture shows `points` (N×3) at the given size and position.

    The vehicle covers `share` of the picture's pixels, given how it fills its own convex outline (see `FILLING`).
    `place` (two numbers from -1 to 1) is its position in the free space; 0 is the middle. A vehicle longer than
    `longest` pictures is shown smaller, because too little of it would be visible to tell what it is.
    """
    columns = np.ascontiguousarray(points.T)
    camera = aim(view, (columns.min(axis=1) + columns.max(axis=1)) / 2)
    flat = (camera.project(points)[0] * (view.stretch**0.5, view.stretch**-0.5)).astype(np.float32)
    outline = cv2.convexHull(flat)[:, 0]
    low, high = outline.min(axis=0), outline.max(axis=0)
    zoom = size * np.sqrt(share / (filling[0] * cv2.contourArea(outline)))
    zoom = min(zoom, longest * size / (high - low).max())
    extent = zoom * (high - low)
    room = np.abs(size - extent) / 2 + 0.06 * np.minimum(extent, size)
    shift = size / 2 + np.array(place) * room - zoom * (low + (0.5, filling[1]) * (high - low))
    inner = np.diag([zoom * view.stretch**0.5, zoom * view.stretch**-0.5, 1.0])
    inner[:2, 2] = shift
    return Camera(camera.position, inner @ camera.matrix)

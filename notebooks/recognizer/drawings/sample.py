"""The sample on disk: a zip a class, as a download brings it, and the part masks beside them."""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from .drawing import draw, drawing_with
from .stage import VEHICLES

# A zip holds the time of each file; the same moment for all keeps the bytes the same from day to day.
MOMENT = (2000, 1, 1, 0, 0, 0)


def write_zips(
    folder: Path | str,
    classes: tuple[str, ...] = VEHICLES,
    *,
    images_per_class: int = 500,
    seed: int = 0,
    size: int = 160,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """Write a zip a class, such as `Bike.zip`, into `folder`, and each drawing's part mask into `folder/masks`.

    The zips hold `Bike/bike_0001.jpg` and so on: pictures as cameras make them, with the artefacts of JPEG. The mask of
    that picture is `masks/Bike/bike_0001.png`, one channel, each value an index into `PARTS`. `progress` is called with
    the number of drawings done and wanted. Returns the path of each class's zip.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = images_per_class * len(classes)
    done, zips = 0, {}
    with drawing_with(workers) as run:
        for name in classes:
            masks = folder / "masks" / name
            masks.mkdir(parents=True, exist_ok=True)
            zips[name] = folder / f"{name}.zip"
            with zipfile.ZipFile(zips[name], "w") as archive:
                drawings = run(partial(draw, name, seed=seed, size=size), range(images_per_class))
                for number, drawing in enumerate(drawings, start=1):
                    stem = f"{name.lower()}_{number:04d}"
                    archive.writestr(zipfile.ZipInfo(f"{name}/{stem}.jpg", MOMENT), drawing.jpeg)
                    (masks / f"{stem}.png").write_bytes(cv2.imencode(".png", drawing.parts)[1].tobytes())
                    done += 1
                    if progress:
                        progress(done, wanted)
    return zips

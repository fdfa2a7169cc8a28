"""The drawn sample on disk: one zip per class, as in a download, and the part masks beside them."""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from .drawing import draw, drawing_with
from .stage import VEHICLES

# A zip stores the time of each file. A fixed time for all keeps the bytes the same from day to day.
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
    """Write one zip per class, such as `Bike.zip`, into `folder`, and the drawings' part masks into `folder/masks`.

    The zips hold `Bike/bike_0001.jpg` and so on: pictures as from a camera, with JPEG artefacts. The mask of this
    picture is `masks/Bike/bike_0001.png`; its one channel holds indices into `PARTS`. `progress` is called with the
    number of drawings that are done and their total number. Returns the path of the zip of each class.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    total = images_per_class * len(classes)
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
                        progress(done, total)
    return zips

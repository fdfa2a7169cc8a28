"""Training runs: the folder of a run, and the newest run on the images that are now in Train."""

import glob
import itertools
import re
from pathlib import Path

import torch
from torch import nn

from .. import settings
from ..data import Record
from ..data.dataset import Pictures
from ..data.neither import scenes_to_learn_from
from ..settings import Problem, parameter, shown
from .hardware import choose_device
from .models import BikeCarCNN, load_model
from .recipe import Recipe
from .training import fit, save_epochs

# Images of Train are stored this many times larger than the network's input, so that zooming in shows detail.
DETAIL = 1.25


def run_folder(record: Record, image_size: int, recipe: Recipe, name: str = "") -> Path:
    """The folder for the logs of a run: one folder for each combination of images and recipe.

    `name` names any other difference from notebook 02.
    """
    numbers = f"{recipe.num_epochs}epochs-batch{recipe.batch_size}-lr{recipe.lr:g}-seed{recipe.seed}"
    return settings.LOGS / "-".join([record.name, f"{image_size}px", numbers, *([name] if name else [])])


def new_network(
    network: type[nn.Module], record: Record, train: Pictures, recipe: Recipe, name: str = ""
) -> tuple[nn.Module, Path]:
    """An untrained `network` for the classes and the image size of `train`, on the training device; its `run_folder`.

    The seed of `recipe` determines the initial weights.
    """
    torch.manual_seed(recipe.seed)
    model = network(train.classes, train.image_size).to(choose_device())
    return model, run_folder(record, train.image_size, recipe, name)


def recipe_of(path: Path) -> Recipe:
    """The recipe of the run that left the file `path` in its folder, as far as the folder's name contains it.

    Raises `Problem` if the folder does not have a name from `run_folder`.
    """
    matches = re.findall(r"-(\d+)epochs-batch(\d+)-lr([^/]*?)-seed(\d+)", path.parent.name)
    if not matches:
        raise Problem(f"The name of {shown(path.parent)} does not contain its run's recipe; run notebook 02 again.")
    num_epochs, batch_size, lr, seed = matches[-1]
    return Recipe(int(num_epochs), int(batch_size), float(lr), int(seed))


def usual_epochs(record: Record, num_images: int) -> int:
    """The default number of epochs for `num_images` training images.

    Drawings cost little, so there are many, and each is seen 11 times (with 1,400 of them; more often with fewer).
    Photographs are limited, so each is seen more often: 40 times up to 1,400 images, less often with more, but at least
    8 times.
    """
    fewest, images = (11, 15_400) if record.dataset == "sample" else (8, 56_000)
    return max(fewest, min(40, images // num_images))


def trained(record: Record) -> Path:
    """The newest `model.pt` of a BikeCarCNN that was trained on the images that are now in Train (`record`).

    If there is none, one is trained as in notebook 02. A network of notebook 06 has other layers and does not count.
    A `model.pt` that cannot be read is left as it is: the new model goes to a folder of its own.
    """
    for path in sorted(
        settings.LOGS.glob(f"{glob.escape(record.name)}-*/model.pt"),
        key=lambda p: p.stat().st_mtime,
        reverse=True,
    ):
        try:
            model = load_model(path)
        except Problem as problem:
            print(problem)
            continue
        if isinstance(model, BikeCarCNN) and set(model.classes) == set(record.classes):
            return path
    print("There is no model for these images yet: training one as notebook 02 does, without TensorBoard.")
    image_size = parameter("IMAGE_SIZE", 128, at_least=32, at_most=1024)
    train = Pictures(settings.DATASETS / "Train", image_size, DETAIL)
    val = Pictures(settings.DATASETS / "Val", image_size)
    recipe = Recipe(
        num_epochs=parameter("EPOCHS", 0, at_least=0) or usual_epochs(record, len(train)),
        batch_size=parameter("BATCH_SIZE", 16, at_least=2),
        lr=parameter("LR", 2e-3, at_least=1e-8, at_most=1),
        seed=parameter("SEED", 0, at_least=0, at_most=2**32 - 1),
    )
    model, usual = new_network(BikeCarCNN, record, train, recipe)
    others = (usual.with_name(f"{usual.name}-{number}") for number in itertools.count(2))
    run = next(folder for folder in itertools.chain([usual], others) if not (folder / "model.pt").exists())
    neither = scenes_to_learn_from(record, train)
    fit(model, train, val, recipe, run / "model.pt", after_epoch=[save_epochs(run / "epochs")], neither=neither)
    return run / "model.pt"

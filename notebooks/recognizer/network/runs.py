"""Training runs: the folder of a run, and the newest run on the images that are now in Train."""

import glob
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from .. import settings
from ..data import Record
from ..data.dataset import Pictures
from ..data.neither import scenes_to_learn_from
from ..data.parts import load_part
from ..settings import Problem, parameter, shown
from .hardware import choose_device
from .history import History, load_history
from .models import ARCHITECTURES, architecture_of, load_model, new_model
from .recipe import Recipe, even_adamw
from .torchvision_networks import TorchvisionNetwork, pretrained
from .training import fit, save_epochs
from .transfer import fit_last_layer

# Images of Train are stored this many times larger than the network's input, so that zooming in shows detail.
DETAIL = 1.25
HISTORY = "history.json"  # in the folder of a run that `make train` finished


def run_folder(record: Record, image_size: int, recipe: Recipe, name: str = "") -> Path:
    """The folder for the logs of a run: one folder for each combination of images and recipe.

    `name` names any other difference from notebook 02.
    """
    numbers = f"{recipe.num_epochs}epochs-batch{recipe.batch_size}-lr{recipe.lr:g}-seed{recipe.seed}"
    return settings.LOGS / "-".join([record.name, f"{image_size}px", numbers, *([name] if name else [])])


def name_of_run(architecture: str) -> str:
    """The `name` that `run_folder` gets for a network of `architecture`: none for `BikeCarCNN`.

    With PRETRAINED=no, a network of torchvision has another name, because it is another run.
    """
    if architecture in ARCHITECTURES or parameter("PRETRAINED", True):
        return "" if architecture == "BikeCarCNN" else architecture
    return f"{architecture}-from-random"


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


def start_of(architecture: str, classes: Sequence[str], image_size: int, seed: int) -> tuple[nn.Module, str]:
    """The network that notebook 02 starts from, on the device to train on, and a sentence on where it comes from.

    `architecture` is 'BikeCarCNN' or one of torchvision's classification networks, which starts from its published
    weights where those can be had, unless PRETRAINED=no (see `pretrained`). `seed` gives the random weights.
    """
    torch.manual_seed(seed)
    if architecture in ARCHITECTURES or not parameter("PRETRAINED", True):
        model, sentence = new_model(architecture, classes, image_size), f"{architecture} starts from random weights."
    else:
        model, sentence = pretrained(architecture, classes, image_size)
    return model.to(choose_device()), sentence


def usual_recipe(architecture: str, record: Record, num_images: int, **chosen: int | float) -> Recipe:
    """The recipe of notebook 02 for `num_images` training images. `chosen` are fields of `Recipe`; 0 means the usual.

    Networks of torchvision get a quarter of the epochs and a tenth of the learning rate: most start from weights that
    are good already, which a higher rate would spoil, and each of their steps takes longer.
    """
    usual = {"num_epochs": usual_epochs(record, num_images), "lr": 2e-3}
    if architecture not in ARCHITECTURES:
        usual = {"num_epochs": max(3, usual["num_epochs"] // 4), "lr": 2e-4, "new_optimizer": even_adamw}
    return Recipe(**usual | {name: value for name, value in chosen.items() if value or name == "seed"})


def usual_epochs(record: Record, num_images: int) -> int:
    """The default number of epochs for `num_images` training images.

    Drawings cost little, so there are many, and each is seen 11 times (with 1,400 of them; more often with fewer).
    Photographs are limited, so each is seen more often: 40 times up to 1,400 images, less often with more, but at least
    8 times.
    """
    fewest, images = (11, 15_400) if record.dataset == "sample" else (8, 56_000)
    return max(fewest, min(40, images // num_images))


class Plan(NamedTuple):
    """What notebook 02 trains, with which images, how, and the folder of the run."""

    record: Record
    architecture: str
    train: Pictures
    val: Pictures
    recipe: Recipe
    run: Path


def plan_of(record: Record, architecture: str) -> Plan:
    """The plan of notebook 02 with its parameters, as far as environment variables set them."""
    image_size = parameter("IMAGE_SIZE", 128, at_least=32, at_most=1024)
    train = load_part(record, "Train", image_size, DETAIL)
    recipe = usual_recipe(
        architecture,
        record,
        len(train),
        num_epochs=parameter("EPOCHS", 0, at_least=0),
        batch_size=parameter("BATCH_SIZE", 16, at_least=2),
        lr=parameter("LR", 0.0, at_least=0, at_most=1),
        seed=parameter("SEED", 0, at_least=0, at_most=2**32 - 1),
    )
    run = run_folder(record, image_size, recipe, name_of_run(architecture))
    return Plan(record, architecture, train, load_part(record, "Val", image_size), recipe, run)


def starting_network(plan: Plan) -> nn.Module:
    """The network that notebook 02 starts from. If it comes from torchvision, its last layer is already fitted."""
    image_size = plan.train.image_size
    model, sentence = start_of(plan.architecture, plan.train.classes, image_size, plan.recipe.seed)
    print(sentence)
    if isinstance(model, TorchvisionNetwork):
        fit_last_layer(model, load_part(plan.record, "Train", image_size), plan.val)
    return model


def finished_epochs(run: Path) -> int:
    """How many epochs `make train` has finished in the folder `run`; 0 if it has not finished the run."""
    path = run / HISTORY
    return len(load_history(path, None).epochs) if path.exists() and (run / "model.pt").exists() else 0


def finished_by_make_train(run: Path, model: nn.Module) -> History | None:
    """The history of the run that `make train` finished in the folder `run`, or None if there is none.

    `model` gets the weights of its best epoch, and is left in eval mode.
    Raises `Problem` if these are the weights of another network.
    """
    if not finished_epochs(run):
        return None
    try:
        model.load_state_dict(load_model(run / "model.pt").state_dict())
    except RuntimeError as error:
        raise Problem(f"{shown(run)}/model.pt is not the network to train; move the folder away.") from error
    print(f"make train has finished this run, so its network is used. To train here, delete {shown(run)}/{HISTORY}.")
    return load_history(run / HISTORY, model.eval())


def trained(record: Record, architecture: str = "BikeCarCNN") -> Path:
    """The newest `model.pt` of a network of `architecture` that was trained on the images that are now in Train.

    If there is none, one is trained as in notebook 02. `architecture` is a name as `start_of` takes it.
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
        if architecture_of(model) == architecture and set(model.classes) == set(record.classes):
            return path
    print("There is no model for these images yet: training one as notebook 02 does, without TensorBoard.")
    plan = plan_of(record, architecture)
    model = starting_network(plan)
    others = (plan.run.with_name(f"{plan.run.name}-{number}") for number in itertools.count(2))
    run = next(folder for folder in itertools.chain([plan.run], others) if not (folder / "model.pt").exists())
    neither = scenes_to_learn_from(record, plan.train)
    kept = [save_epochs(run / "epochs")]
    fit(model, plan.train, plan.val, plan.recipe, run / "model.pt", after_epoch=kept, neither=neither)
    return run / "model.pt"

"""Notebook 02: the network, its training, and how good it is."""

from .runs import (
    DETAIL,
    name_of_run,
    new_network,
    recipe_of,
    run_folder,
    start_of,
    trained,
    usual_epochs,
    usual_recipe,
)

__all__ = [
    "DETAIL",
    "name_of_run",
    "new_network",
    "recipe_of",
    "run_folder",
    "start_of",
    "trained",
    "usual_epochs",
    "usual_recipe",
]

"""Notebook 02: the network, its training, and how good it is."""

from .runs import DETAIL, new_network, recipe_of, run_folder, trained, usual_epochs

__all__ = ["DETAIL", "new_network", "recipe_of", "run_folder", "trained", "usual_epochs"]

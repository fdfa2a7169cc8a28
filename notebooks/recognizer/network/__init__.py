"""Notebook 02: the network, its training, and how good it is."""

from .runs import DETAIL, new_network, run_folder, seed_of, trained, usual_epochs

__all__ = ["DETAIL", "new_network", "run_folder", "seed_of", "trained", "usual_epochs"]

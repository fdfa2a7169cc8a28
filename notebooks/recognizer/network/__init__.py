"""Notebook 02: the network, its training, and how good it is."""

from .runs import new_network, run_folder, trained

__all__ = ["new_network", "run_folder", "trained"]

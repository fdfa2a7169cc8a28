"""Notebook 03: an HTML page in which the network runs."""

from .page import explore

__all__ = ["explore"]

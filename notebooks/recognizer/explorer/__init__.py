"""Notebook 03: a page with the network in it."""

from .page import explore

__all__ = ["explore"]

"""Notebook 04: what filters respond to, in numbers. Takes any module and any images; knows nothing of bikes or training."""

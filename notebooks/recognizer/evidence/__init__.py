"""Notebooks 04 and 05: what filters respond to, and what layers keep, in numbers. Takes any module and any images; knows nothing of bikes or training."""

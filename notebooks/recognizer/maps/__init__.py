"""Notebook 03: what every filter sees. Takes any module and any image; knows nothing of bikes, data or training."""

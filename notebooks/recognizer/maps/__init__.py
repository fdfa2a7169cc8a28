"""Notebook 03: feature maps as pictures, for any module and any image. It does not know bikes, data or training."""

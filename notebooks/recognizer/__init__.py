"""Train a small CNN on bikes and cars, and see what every filter sees. A folder a notebook; start reading there."""

from .explorer import explore
from .inputs import to_input
from .maps.activations import capture
from .maps.comparison import compare_images
from .maps.layers import layer_names
from .maps.many import capture_folder
from .maps.pictures import display_image_filtered, display_summary
from .network.models import BikeCarCNN, LayerByLayerCNN, load_model

__all__ = [
    "BikeCarCNN",
    "LayerByLayerCNN",
    "capture",
    "capture_folder",
    "compare_images",
    "display_image_filtered",
    "display_summary",
    "explore",
    "layer_names",
    "load_model",
    "to_input",
]

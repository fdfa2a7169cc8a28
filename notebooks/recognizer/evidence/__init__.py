"""Notebooks 04 and 05: what filters respond to, and what layers keep, in numbers. A file a measure."""

from .ablation import ablate
from .cards import lit, save_cards
from .controls import randomised_from_the_top, trained_on_shuffled_labels, untrained
from .dissection import DETECTOR_IOU, dissect
from .measures import LayerEvidence, measure
from .orientation import gratings, orientation_tuning
from .receptive_field import receptive_fields
from .responses import all_maps, pooled, spatial_means
from .selectivity import auroc, linear_probe
from .verdict import Observation, bootstrap, observe, share, verdict_rows

__all__ = [
    "DETECTOR_IOU",
    "LayerEvidence",
    "Observation",
    "ablate",
    "all_maps",
    "auroc",
    "bootstrap",
    "dissect",
    "gratings",
    "linear_probe",
    "lit",
    "measure",
    "observe",
    "orientation_tuning",
    "pooled",
    "randomised_from_the_top",
    "receptive_fields",
    "save_cards",
    "share",
    "spatial_means",
    "trained_on_shuffled_labels",
    "untrained",
    "verdict_rows",
]

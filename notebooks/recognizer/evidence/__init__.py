"""Notebooks 04 and 05: measures of what filters respond to and what layers keep, one file for each measure."""

from .ablation import ablate
from .cards import painted, save_cards
from .controls import (
    like_any_other,
    once_forgotten,
    randomised_from_the_top,
    trained_on_shuffled_labels,
    untrained,
    with_shuffled_labels,
)
from .dissection import DETECTOR_IOU, TOP, dissect, enlarged
from .measures import LayerEvidence, measure
from .orientation import gratings, orientation_tuning
from .receptive_field import receptive_fields
from .responses import all_maps, pooled, spatial_means
from .selectivity import auroc, linear_probe
from .verdict import Observation, bootstrap, mean, observe, share, verdict_rows

__all__ = [
    "DETECTOR_IOU",
    "TOP",
    "LayerEvidence",
    "Observation",
    "ablate",
    "all_maps",
    "auroc",
    "bootstrap",
    "dissect",
    "enlarged",
    "gratings",
    "like_any_other",
    "linear_probe",
    "mean",
    "measure",
    "observe",
    "once_forgotten",
    "orientation_tuning",
    "painted",
    "pooled",
    "randomised_from_the_top",
    "receptive_fields",
    "save_cards",
    "share",
    "spatial_means",
    "trained_on_shuffled_labels",
    "untrained",
    "verdict_rows",
    "with_shuffled_labels",
]

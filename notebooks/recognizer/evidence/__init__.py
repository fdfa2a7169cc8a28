"""Notebooks 04 to 06: measures of what filters respond to and what layers keep, one file per measure."""

from .ablation import ablate, accuracy_without
from .cards import painted_maps, save_cards
from .choice_of_layers import layers_to_measure
from .claims import Claim, claim_rows, image_error
from .controls import untrained
from .dissection import enlarged
from .experiments import TO_CHOOSE, TO_REPORT, ask, falls_without, log_odds, redraw, responses, versions
from .known_answers import detection_counts, detection_rows, known_answer_lessons
from .measures import measure, precision_within_classes
from .networks import Backgrounds, Classes, trained_networks
from .observations import observe_filters
from .orientation import gratings, orientation_tuning
from .part_dependence import dependence_on
from .probes import KINDS, best_responses, preferred_kind
from .receptive_field import receptive_fields
from .responses import all_maps, spatial_means
from .selectivity import auroc
from .total_effects import effects_by_layer
from .two_classes import one_against_rest, scenes_of_two
from .two_sets import to_choose_and_report
from .usual_claims import claim_numbers_by_kind, recognised_by, usual_claims
from .verdict import bootstrap, mean, observe, rank_correlation, share, verdict_rows

__all__ = [
    "KINDS",
    "TO_CHOOSE",
    "TO_REPORT",
    "Backgrounds",
    "Claim",
    "Classes",
    "ablate",
    "accuracy_without",
    "all_maps",
    "ask",
    "auroc",
    "best_responses",
    "bootstrap",
    "claim_numbers_by_kind",
    "claim_rows",
    "dependence_on",
    "detection_counts",
    "detection_rows",
    "effects_by_layer",
    "enlarged",
    "falls_without",
    "gratings",
    "image_error",
    "known_answer_lessons",
    "layers_to_measure",
    "log_odds",
    "mean",
    "measure",
    "observe",
    "observe_filters",
    "one_against_rest",
    "orientation_tuning",
    "painted_maps",
    "precision_within_classes",
    "preferred_kind",
    "rank_correlation",
    "receptive_fields",
    "recognised_by",
    "redraw",
    "responses",
    "save_cards",
    "scenes_of_two",
    "share",
    "spatial_means",
    "to_choose_and_report",
    "trained_networks",
    "untrained",
    "usual_claims",
    "verdict_rows",
    "versions",
]

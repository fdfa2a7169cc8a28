"""Transfer learning: a new last layer for these classes, on features that were learned from other images."""

import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from ..data.dataset import PixelSet
from .torchvision_networks import TorchvisionNetwork
from .training import logits_of

# The values of scikit-learn's C that are tried: the inverse strength of the penalty on the weights.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


def features_of(model: TorchvisionNetwork, pictures: PixelSet) -> np.ndarray:
    """The inputs of the last layer of `model`, float32 N×D, one row per image. Maps are averaged."""
    inputs: list[Tensor] = []

    def keep(layer: nn.Module, arguments: tuple[Tensor]) -> None:
        features = arguments[0].detach().float().cpu()
        inputs.append(features.mean(dim=(2, 3)) if features.ndim == 4 else features)

    hook = model.last_layer.register_forward_pre_hook(keep)
    try:
        logits_of(model, pictures)
    finally:
        hook.remove()
    return torch.cat(inputs).numpy()


def fit_last_layer(model: TorchvisionNetwork, train: PixelSet, val: PixelSet) -> None:
    """Fit the last layer of `model` to `train` by logistic regression. All other layers stay as they are.

    Every image passes through the network once, without augmentation. Of the `STRENGTHS` of the penalty, the one with
    the lowest loss on `val` is used. For the fit, the features are scaled to a standard deviation of 1. The weights of
    the layer include this scaling.
    """
    scaler = StandardScaler()
    features, features_of_val = scaler.fit_transform(features_of(model, train)), features_of(model, val)
    labels, labels_of_val = train.labels.numpy(), val.labels.numpy()
    fits = [LogisticRegression(C=strength, max_iter=1000).fit(features, labels) for strength in STRENGTHS]
    classes = range(len(model.classes))
    best = min(
        fits,
        key=lambda fit: log_loss(labels_of_val, fit.predict_proba(scaler.transform(features_of_val)), labels=classes),
    )
    weight, bias = best.coef_ / scaler.scale_, best.intercept_ - best.coef_ @ (scaler.mean_ / scaler.scale_)
    if len(weight) == 1:  # two classes: scikit-learn has one logit, for the second; each class gets half of it
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    with torch.no_grad():
        last = model.last_layer
        last.weight.copy_(torch.as_tensor(weight).reshape(last.weight.shape))
        last.bias.copy_(torch.as_tensor(bias))


def which_is_better(correct: dict[str, np.ndarray]) -> str:
    """A sentence that says which of two models is better. `correct` has one bool N per model, for the same images.

    Only images on which the models differ count. If the models are equally good, each is as likely as the other to be
    the correct one on such an image (McNemar 1947, the exact test).
    """
    (first, of_first), (second, of_second) = correct.items()
    wins, losses = int((of_first & ~of_second).sum()), int((~of_first & of_second).sum())
    counts = f"{wins} images only with «{first}» and {losses} only with «{second}»"
    if not wins + losses or (chance := binomtest(wins, wins + losses).pvalue) >= 0.05:
        return f"These images cannot tell which is better: correct are {counts}."
    return f"«{first if wins > losses else second}» is better: correct are {counts} (p = {chance:.2g})."

"""The measures of each kind of cat and dog. Only these numbers tell the classes apart."""

from typing import NamedTuple


class Pet(NamedTuple):
    """Lengths of the body in metres, of the head's parts in radii of the head. All animals are about equally large."""

    trunk: float  # from shoulder to hip
    girth: float  # radius of the chest
    waist: float  # in shares of the chest
    leg: float  # from the ground to the chest's middle
    thickness: float  # radius of the legs
    neck: float  # length
    head: float  # radius
    skull: tuple[float, float, float]  # half length, half width, half height
    muzzle: tuple[float, float, float]  # length beyond the skull, half width, half height
    nose: float  # half width
    ear: str  # pricked, folded or hanging
    ear_size: tuple[float, float]  # length, half width
    ear_place: tuple[float, float]  # degrees from the top of the head to the side; degrees that a pricked ear leans out
    eye: tuple[float, float]  # half width, half height
    eye_place: tuple[float, float]  # degrees to the side, degrees up
    tail: tuple[float, float]  # length, radius
    tail_bend: tuple[float, float]  # degrees above the horizontal at its root, and by how much more at its tip
    hair: float  # length
    slant: float = 0.0  # of the eyes: how much higher their outer corners lie
    slit: float = 0.0  # how often pupils are upright slits
    whiskers: float = 0.0  # length


CATS = {
    "shorthair": Pet(0.50, 0.115, 0.95, 0.28, 0.036, 0.10, 0.125, (0.95, 1.06, 0.92), (0.22, 0.44, 0.33), 0.11,
                     "pricked", (0.85, 0.42), (38, 14), (0.21, 0.15), (27, 6), (0.52, 0.026), (20, 60), 0.02, 0.25,
                     0.6, 1.15),
    "longhair": Pet(0.48, 0.14, 1.0, 0.26, 0.042, 0.09, 0.135, (0.95, 1.10, 0.95), (0.20, 0.46, 0.34), 0.11, "pricked",
                    (0.75, 0.42), (40, 14), (0.20, 0.15), (27, 4), (0.50, 0.06), (30, 70), 0.055, 0.25, 0.5, 1.15),
    "siamese": Pet(0.54, 0.095, 0.85, 0.30, 0.029, 0.10, 0.116, (1.0, 0.95, 0.90), (0.36, 0.38, 0.32), 0.10, "pricked",
                   (1.10, 0.52), (45, 28), (0.21, 0.125), (26, 9), (0.60, 0.018), (20, 50), 0.012, 0.25, 0.6, 1.1),
    "persian": Pet(0.44, 0.15, 1.05, 0.22, 0.048, 0.06, 0.15, (0.88, 1.14, 0.98), (0.10, 0.46, 0.30), 0.11, "pricked",
                   (0.52, 0.36), (46, 22), (0.22, 0.19), (28, 2), (0.40, 0.065), (10, 60), 0.06, 0.25, 0.2, 1.0),
    "kitten": Pet(0.38, 0.105, 1.0, 0.20, 0.036, 0.06, 0.155, (0.94, 1.03, 0.95), (0.17, 0.36, 0.28), 0.09, "pricked",
                  (0.85, 0.44), (40, 16), (0.23, 0.185), (27, 0), (0.32, 0.024), (35, 50), 0.03, 0.25, 0.3, 1.15),
}

DOGS = {
    "retriever": Pet(0.56, 0.135, 0.85, 0.36, 0.042, 0.11, 0.118, (1.0, 0.92, 0.88), (0.95, 0.46, 0.42), 0.21,
                     "hanging", (1.0, 0.36), (62, 0), (0.16, 0.14), (27, 22), (0.42, 0.045), (-10, 40), 0.04),
    "shepherd": Pet(0.58, 0.125, 0.78, 0.40, 0.038, 0.12, 0.115, (1.0, 0.88, 0.86), (1.15, 0.42, 0.44), 0.25,
                    "pricked", (0.80, 0.28), (33, 8), (0.13, 0.11), (26, 24), (0.44, 0.055), (-40, 30), 0.04),
    "hound": Pet(0.54, 0.12, 0.85, 0.34, 0.036, 0.11, 0.112, (1.0, 0.86, 0.86), (1.0, 0.42, 0.42), 0.20, "hanging",
                 (1.45, 0.42), (70, 0), (0.16, 0.14), (27, 24), (0.36, 0.022), (50, 30), 0.012),
    "spitz": Pet(0.50, 0.14, 0.9, 0.36, 0.040, 0.10, 0.120, (0.98, 0.98, 0.92), (0.85, 0.42, 0.40), 0.24, "pricked",
                 (0.62, 0.26), (33, 8), (0.13, 0.11), (26, 22), (0.46, 0.065), (70, 200), 0.055),
    "pug": Pet(0.46, 0.145, 0.9, 0.28, 0.042, 0.08, 0.135, (0.95, 1.02, 0.95), (0.34, 0.60, 0.46), 0.22, "folded",
               (0.72, 0.32), (50, 0), (0.20, 0.19), (34, 8), (0.30, 0.032), (80, 260), 0.012),
    "terrier": Pet(0.46, 0.12, 0.95, 0.30, 0.038, 0.10, 0.125, (0.98, 0.86, 0.88), (0.85, 0.48, 0.46), 0.20, "folded",
                   (0.80, 0.34), (46, 0), (0.14, 0.13), (27, 20), (0.20, 0.030), (65, 20), 0.035),
    "poodle": Pet(0.48, 0.125, 0.85, 0.38, 0.046, 0.11, 0.120, (0.98, 0.92, 1.02), (0.95, 0.32, 0.34), 0.17, "hanging",
                  (0.95, 0.44), (66, 0), (0.15, 0.14), (27, 12), (0.24, 0.05), (60, 20), 0.035),
    "dachshund": Pet(0.66, 0.11, 0.9, 0.18, 0.036, 0.11, 0.112, (1.0, 0.84, 0.82), (1.15, 0.36, 0.36), 0.18, "hanging",
                     (1.15, 0.38), (66, 0), (0.15, 0.13), (27, 22), (0.36, 0.022), (20, 30), 0.012),
    "puppy": Pet(0.40, 0.12, 1.0, 0.22, 0.046, 0.08, 0.145, (0.97, 0.98, 0.95), (0.55, 0.46, 0.40), 0.18, "hanging",
                 (0.78, 0.36), (58, 0), (0.17, 0.16), (28, 10), (0.26, 0.026), (40, 40), 0.025),
}

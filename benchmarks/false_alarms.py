"""How often do the verdicts of notebook 05 find a difference where there is none, and how often one that was planted?

    python benchmarks/false_alarms.py --networks 20 --splits 200

Untrained networks of different seeds differ only by chance. The benchmark measures each of them once, for every claim
of the notebook. Then it splits them at random into two halves, many times, and compares the halves as if one were
trained. Any verdict other than «cannot tell» and «no difference worth naming» is a false alarm. For the power, one
standard deviation between the networks is added to one half. Nothing is written.
"""

import argparse

import numpy as np
import torch
from torch import nn

import temporary_workspace  # noqa: F401, before the package, because it says where that works
from recognizer import BikeCarCNN, evidence, layer_names
from recognizer.drawings import VEHICLES
from recognizer.evidence.claims import DOES_NOT, HOLDS, NO_DIFFERENCE, Claim
from recognizer.evidence.usual_claims import CLAIMS, claim_numbers_by_kind
from recognizer.network.evaluation import wilson_interval

SIZE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--splits", type=int, default=200, help="random halves")
    parser.add_argument("--scenes", type=int, default=60, help="drawings of each class, as SCENES")
    args = parser.parse_args()
    choose, report = (
        evidence.redraw(VEHICLES, args.scenes, SIZE, first=first) for first in (evidence.TO_CHOOSE, evidence.TO_REPORT)
    )
    torch.manual_seed(0)
    model = BikeCarCNN(list(VEHICLES), SIZE)
    fields = evidence.receptive_fields(model, SIZE)
    layers = [name for name in layer_names(model, nn.ReLU) if fields[name].stride]
    networks = [evidence.untrained(model, choose.pixels, seed) for seed in range(args.networks)]
    numbers = claim_numbers_by_kind({"untrained": networks}, layers, choose, report)["untrained"]
    half, random, total = args.networks // 2, np.random.default_rng(0), [0, 0]
    print(f"\n| claim | false alarms, of {args.splits} | 95 % interval | «no difference» | power |")
    print("| :--- | ---: | :--- | ---: | ---: |")
    for name, (claim, measure, smallest) in CLAIMS.items():
        values = np.array([network[name] for network in numbers])
        verdicts, planted = [], []
        for _ in range(args.splits):
            order = random.permutation(args.networks)
            ours, theirs = values[order[:half]], values[order[half : 2 * half]]
            verdicts.append(Claim(claim, measure, ours, {"others": theirs}, smallest).verdict)
            shifted = Claim(claim, measure, ours + values.std(), {"others": theirs}, 0)
            planted.append(shifted.verdict == HOLDS)
        alarms = sum(verdict in (HOLDS, DOES_NOT) for verdict in verdicts)
        low, high = wilson_interval(alarms, args.splits)
        nothing = np.mean([verdict == NO_DIFFERENCE for verdict in verdicts])
        print(f"| {claim} | {alarms} | {low:.1%} to {high:.1%} | {nothing:.0%} | {np.mean(planted):.0%} |", flush=True)
        total = [total[0] + alarms, total[1] + args.splits]
    low, high = wilson_interval(*total)
    print(f"\nAll claims: {total[0]} of {total[1]}, {total[0] / total[1]:.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()

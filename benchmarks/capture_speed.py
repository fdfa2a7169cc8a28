"""Time and peak memory of capturing all layers of resnet50 for 8 images: this project, torchvision, torchlens.

    python benchmarks/capture_speed.py    # torchlens takes part where it is installed: pip install torchlens

Each runs in a process of its own, the fastest of several runs counts, and they take turns, so that a noisy machine is
noisy for all. The memory is the highest that the process had, less what it had before the first capture.
"""

import json
import subprocess
import sys

ROUNDS = 3
EXTRACTOR = """
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
extractor = create_feature_extractor(model, get_graph_node_names(model)[1])
def run():
    with torch.no_grad():
        return {name: value.numpy() for name, value in extractor(images).items()}"""
TOOLS = {
    "capture": "from recognizer import capture, layer_names\nrun = lambda: capture(model, layer_names(model), images)",
    "create_feature_extractor, which loses what an in-place ReLU writes over": EXTRACTOR,
    "create_feature_extractor, no ReLU in place": """
for layer in model.modules():
    if hasattr(layer, 'inplace'):
        layer.inplace = False"""
    + EXTRACTOR,
    "torchlens": """
import torchlens
log = torchlens.trace
def run():
    with torch.no_grad():
        return log(model, images)""",
}
PROGRAM = """
import json, resource, time, torch, torchvision
torch.manual_seed(0)
model, images = torchvision.models.resnet50().eval(), torch.rand(8, 3, 224, 224)
with torch.no_grad():
    model(images)
{tool}
before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
for _ in range(3):
    started = time.perf_counter()
    kept = run()
    seconds.append(time.perf_counter() - started)
    del kept
print(json.dumps([min(seconds), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""


def main() -> None:
    best: dict[str, tuple[float, float]] = {}
    for _ in range(ROUNDS):
        for name, tool in TOOLS.items():
            done = subprocess.run([sys.executable, "-c", PROGRAM.format(tool=tool)], capture_output=True, text=True)
            if done.returncode:
                print(f"{name} is left out: {done.stderr.strip().splitlines()[-1][:150]}")
                continue
            seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
            before = best.get(name, (float("inf"), float("inf")))
            best[name] = min(before[0], seconds), min(before[1], megabytes)
    print("| tool | seconds | MB more at the peak |\n| :--- | ---: | ---: |")
    for name, (seconds, megabytes) in best.items():
        print(f"| {name} | {seconds:.2f} | {megabytes:.0f} |")


if __name__ == "__main__":
    main()

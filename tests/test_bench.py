"""The benchmark runs from end to end and fills its table; the figures in it are not checked here."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def test_bench_compares_both_sides(tmp_path):
    done = subprocess.run(
        [sys.executable, PROJECT / "benchmarks" / "bench.py", "--seeds=1", "--plain-epochs=1"],
        env=os.environ | {"SAMPLE_IMAGES": "40", "DATASET": "sample", "BENCH_LOGS": str(tmp_path), "EPOCHS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sample.json").read_text("utf-8"))
    assert 0 <= found["plain"]["test_accuracy"][0] <= 1 and len(found["ours"]["curves"]) == 1
    table = (tmp_path / "sample.md").read_text("utf-8")
    for row in (
        "images a second in training",
        "the same with one network on both sides",
        "test accuracy",
        "files a second, feature maps",
        "peak memory",
    ):
        assert f"\n| {row}" in table
    assert str(Path.home()) not in table and (tmp_path / "sample.png").stat().st_size > 10_000

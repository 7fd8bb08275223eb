"""The benchmarks in miniature: every variant runs, and the CSV says what was measured on what."""

import csv
import sys
from pathlib import Path

import fairseq_tools
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "options", "variants"),
    [
        (
            "loss_layer.py",
            ["--tokens", "16", "--vocabulary", "50", "60", "--features", "8"],
            2 * ["products", "fairseq", "reference", "fused"],
        ),
        ("training_update.py", ["--preset", "tiny"], ["plain", "rdrop", "fairseq"]),
    ],
    ids=["loss layer", "training update"],
)
def test_benchmark_writes_a_csv(tmp_path, program, options, variants):
    pytest.importorskip("fairseq.criterions.label_smoothed_cross_entropy_with_rdrop")
    output = tmp_path / "result.csv"
    arguments = [*options, "--rounds", "2", "--threads", "1", "--output", output]
    fairseq_tools.run(sys.executable, BENCHMARKS / program, *arguments)
    with open(output, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["variant"] for row in rows] == variants
    for row in rows:
        assert 0 < float(row["median_seconds"]) <= float(row["quantile_90_seconds"]) * 1.001
        assert row["torch"] and row["CPU"] and row["commit"] and row["threads"] == "1"
    baseline = rows[0]
    assert float(next(value for name, value in baseline.items() if name.startswith("times_"))) == 1.0

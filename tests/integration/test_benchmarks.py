"""The benchmarks in miniature: every variant runs, and the CSV says what was measured on what."""

import csv
import importlib
import sys
from pathlib import Path

import fairseq_tools
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
HAS_CHUNKED = hasattr(torch.nn.functional, "linear_cross_entropy")

pytestmark = pytest.mark.slow


def measure(program, output, *options):
    """Run a benchmark; the rows of its CSV."""
    pytest.importorskip("fairseq.criterions.label_smoothed_cross_entropy_with_rdrop")
    fairseq_tools.run(sys.executable, BENCHMARKS / program, *options, "--output", output)
    with open(output, newline="") as stream:
        return list(csv.DictReader(stream))


# The interpreter of each takes seconds; "cheap" is a variant of one's own.
UPDATES = ("plain", "products", "rdrop", "cheap=--rdrop-interval 2 --rdrop-fraction 0.5 --rdrop-share-encoder ")


@pytest.fixture(scope="module")
def measured(data_bin, tmp_path_factory):
    """The CSV files of the two benchmarks that are plotted."""
    folder = tmp_path_factory.mktemp("benchmarks")
    shared = ["--rounds", "2", "--threads", "1"]
    grid = ["--tokens", "16", "--vocabulary", "50", "--features", "8"]
    setting = ["--data", data_bin, "--preset", "tiny", "--variant", *UPDATES]
    return folder, {
        "loss_layer": measure("loss_layer.py", folder / "loss_layer.csv", *grid, *shared),
        "updates": measure("training_update.py", folder / "updates.csv", *setting, *shared),
    }


def test_csv_files(measured):
    folder, rows = measured
    assert [row["variant"] for row in rows["loss_layer"]] == ["products", "fairseq", "reference", "fused"]
    assert [row["variant"] for row in rows["updates"]] == list(UPDATES)
    for benchmark in rows.values():
        assert float(next(value for name, value in benchmark[0].items() if name.startswith("times_"))) == 1.0
        for row in benchmark:
            quantiles = [float(row[f"{it}_seconds"]) for it in ("quantile_10", "median", "quantile_90")]
            assert 0 < quantiles[0] <= quantiles[1] * 1.001 <= quantiles[2] * 1.002
            assert row["torch"] and row["CPU"] and row["commit"] and row["threads"] == "1" and row["device"] == "cpu"


def test_plot(measured, tmp_path):
    folder, _ = measured
    arguments = [folder / "loss_layer.csv", folder / "updates.csv", "--output", tmp_path / "cost.png"]
    fairseq_tools.run(sys.executable, BENCHMARKS / "plot.py", *arguments)
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    result = fairseq_tools.run(
        sys.executable, BENCHMARKS / "plot.py", tmp_path / "other.csv", "--output", tmp_path / "x.png", fails=True
    )
    assert "has no times" in fairseq_tools.last_line(result.stderr)


def test_profile(tmp_path):
    """Every kind of operation is found, and the shares of the plain update add up to it."""
    rows = measure("update_profile.py", tmp_path / "rows.csv", "--preset", "tiny", "--rounds", "1", "--threads", "1")
    shares = {(row["variant"], row["kind"]): float(row["times_plain"]) for row in rows}
    assert {variant for variant, _ in shares} == {"plain", "rdrop"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert sum(share for (variant, _), share in shares.items() if variant == "plain") == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ("loss_layer.py", ["--rounds", "0"], "'0' is not a whole number above 0"),
        ("largest_batch.py", ["--memory", "9", "--step", "16"], "16 is less than a sentence has; give at least 32"),
        ("training_update.py", ["--data", "/nowhere"], "no train data and dictionaries"),
        ("training_update.py", ["--dtype", "float16"], "needs --device cuda"),
        ("training_update.py", ["--variant", "cheap"], "cheap: give plain, "),
    ],
)
def test_mistakes_end_in_one_line(program, options, message):
    result = fairseq_tools.run(sys.executable, BENCHMARKS / program, *options, fails=True)
    assert message in fairseq_tools.last_line(result.stderr)


def test_largest_batch(tmp_path):
    """What is found fits, and one step more does not."""
    options = ["--preset", "tiny", "--memory", "800", "--step", "32768", "--threads", "1"]
    (row,) = measure("largest_batch.py", tmp_path / "rows.csv", "--variant", "plain", *options)
    assert 0 < float(row["needs_MiB"]) <= 800 and row["max_tokens"] == "32768"


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 100])
def test_search_for_the_largest_batch(limit, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    largest = importlib.import_module("largest_batch").largest
    needs = {"max_tokens": 16 * limit, "needs_MiB": float(limit)}
    assert largest(lambda tokens: tokens / 16, memory=limit + 0.5, step=16) == needs
    assert largest(lambda tokens: tokens / 16 if tokens <= 16 * limit else None, memory=1e9, step=16) == needs


def test_preparation(parallel_text, tmp_path):
    options = ["--source", parallel_text / "train.en", "--target", parallel_text / "train.de", "--rounds", "2"]
    options += ["--source-lang", "en", "--target-lang", "de", "--vocab-size", "46"]
    rows = measure("preparation.py", tmp_path / "rows.csv", *options)
    steps = ["clean", "tokenise", "tokenise", "sub-words", "sub-words", "binarise"]
    assert [row["step"].split()[0] for row in rows] == steps
    for row in rows:
        seconds = 80 / float(row["lines_per_second_and_core"])
        assert seconds == pytest.approx(float(row["median_seconds"]), rel=0.01)


@pytest.mark.skipif(not HAS_CHUNKED, reason="torch has linear_cross_entropy from 2.13 on")
def test_the_peer_computes_the_same_loss(data_bin):
    """torch's chunked cross-entropy, with its label smoothing translated, against fairseq's criterion."""
    code = f"""
import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import fairseq_tools, peers, torch
task, model, criterion = fairseq_tools.build(fairseq_tools.training_config(
    {str(data_bin)!r}, "--label-smoothing", "0.1", "--criterion", "label_smoothed_cross_entropy",
    *fairseq_tools.TINY_TRANSFORMER, "--share-all-embeddings"))
model.eval()
sample = fairseq_tools.batch(task)
chunked = peers.ChunkedCrossEntropyCriterion(task, False, 0.1)
for name in ("plain", "chunked"):
    model.zero_grad()
    loss = (criterion if name == "plain" else chunked)(model, sample)[0]
    loss.backward()
    print(loss.item(), sum(it.abs().sum().item() for it in fairseq_tools.gradients(model).values()))
"""
    plain, chunked = (
        [float(it) for it in line.split()]
        for line in fairseq_tools.run(sys.executable, "-c", code).stdout.splitlines()[-2:]
    )
    assert chunked == pytest.approx(plain, rel=1e-5)

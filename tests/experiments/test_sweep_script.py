"""scripts/sweep.sh in miniature: text, trainings of which one fails, a kill in the middle, and the table."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import fairseq_tools
import pytest

SWEEP = Path(__file__).resolve().parents[2] / "scripts" / "sweep.sh"
TEXT = """
seeds: [1, 2]
families:
  baseline:
    variant: baseline
    dropout: 0.1
  R-Drop:
    rdrop-alpha: [0, 5]
    seeds: 1
  broken:
    valid-subset: absent
    seeds: 1
"""

pytestmark = pytest.mark.slow


def times(folder) -> dict:
    """When each file of the runs was changed; scores are made anew from the translations, which is quick."""
    files = (path for path in (folder / "runs").rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files if path.name not in (".lock", "scores.json", "scores.md")}


def test_from_text_to_a_table(parallel_text, tmp_path):
    path, folder = tmp_path / "small.yaml", tmp_path / "run"
    path.write_text(TEXT)
    words = [
        "quickstart", path, "--data", parallel_text, "--vocab-size", "46", "--run-dir", folder, "--cpu", "--max-tokens",
        "200", "--tokens-per-update", "200", *fairseq_tools.TINY_TRANSFORMER, "--max-epoch", "4", "--num-workers", "0",
        "--best-checkpoint-metric", "nll_loss", "--parallel", "2", "--halving", "20",
    ]  # fmt: skip
    # It is killed alone when two trainings are under way, and takes them with it.
    process = subprocess.Popen(
        [sys.executable, "-m", "rdrop_fairseq.experiments", "sweep", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = []
    for line in process.stderr:
        said.append(line)
        if "validated" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.stderr.close()
    process.wait()
    assert "R-Drop alpha 0 seed 1" in said[-1] or "R-Drop alpha 5 seed 1" in said[-1], "\n".join(said)

    def sweep(fails=False):
        return fairseq_tools.run_module_of(SWEEP, *words, fails=fails)

    result = sweep(fails=True)
    assert "failed, so that their settings are left out: broken seed 1; the causes stand above" in result.stderr
    assert "broken seed 1 failed: training failed with status 1: no absent split for en-de" in result.stderr
    with open(folder / "sweep.csv", newline="") as stream:
        rows = {row["setting"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["baseline", "R-Drop alpha 0", "R-Drop alpha 5", "broken"]
    states = {name: row["state"] for name, row in rows.items()}
    assert sorted(states.values()) == ["best of its family", "best of its family", "failed", "stopped at 20"]
    chosen = next(row for name, row in rows.items() if name.startswith("R-Drop") and row["state"] != "stopped at 20")
    stopped = next(row for row in rows.values() if row["state"] == "stopped at 20")
    assert float(chosen["updates"]) == float(rows["baseline"]["updates"]) > float(stopped["updates"]) == 20
    assert chosen["p_value"] and not stopped["test_bleu"]
    assert float(rows["baseline"]["valid_nll_deviation"]) > 0 and not chosen["valid_nll_deviation"]
    table = (folder / "sweep.md").read_text()
    assert table.count("best of its family") == 2 and "BLEU|nrefs:1|case:mixed" in table and "alpha.png" in table
    report = (folder / "report.md").read_text()
    assert "--rdrop-alpha 5" in report and "baseline seed 2" in report and "valid_nll.png" in report
    # Only what was chosen is translated.
    translated = {it.parents[1].name for it in folder.glob("runs/*/evaluation/translations.txt")}
    assert translated == {"baseline seed 1", "baseline seed 2", f"{chosen['setting']} seed 1"}
    seeds = {json.loads(it.read_text())["settings"]["--seed"] for it in folder.glob("runs/baseline*/run.json")}
    assert seeds == {"1", "2"}

    # Without what fails nothing is left to do but to write the table, and then nothing at all.
    path.write_text(TEXT[: TEXT.index("  broken")])
    before = times(folder)
    assert "trainings" not in sweep().stderr and times(folder) == before
    assert "broken" not in (folder / "sweep.md").read_text()
    written = (folder / "sweep.md").stat().st_mtime_ns
    assert "done before; the table is" in sweep().stderr and (folder / "sweep.md").stat().st_mtime_ns == written

"""A sweep: what its file means, which settings train on, several trainings at once, and the table."""

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import fairseq_tools
import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation.score_report import MetricResult, ScoreReport, SystemResult
from rdrop_fairseq.evaluation.training_log import parse_training_log
from rdrop_fairseq.experiments import sweep, sweep_training
from rdrop_fairseq.experiments.configuration import Setting
from rdrop_fairseq.experiments.placement import Placement
from rdrop_fairseq.experiments.run_folder import RunFolder
from rdrop_fairseq.experiments.sweep_file import Cell, read_sweep
from rdrop_fairseq.experiments.sweep_report import Row, format_rows, write_tables

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "sweep.sh"
SWEEP = """
training:
  warmup-updates: 10
seeds: [1, 2]
families:
  baseline:
    variant: baseline
    dropout: [0.1, 0.2, 0.3]
  grid:
    rdrop-alpha: [1, 3]
    adam-betas: ["(0.9,0.98)", "(0.9,0.999)"]
    seeds: 7
  three passes:
    rdrop-passes: 3
"""


@pytest.fixture
def write(tmp_path):
    """A function that writes a sweep, and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_lists_make_cells(write):
    cells = {cell.name: cell for cell in read_sweep(write(SWEEP))}
    assert list(cells) == [
        "baseline dropout 0.1", "baseline dropout 0.2", "baseline dropout 0.3",
        "grid alpha 1 adam-betas 0.9,0.98", "grid alpha 1 adam-betas 0.9,0.999",
        "grid alpha 3 adam-betas 0.9,0.98", "grid alpha 3 adam-betas 0.9,0.999",
        "three passes",
    ]  # fmt: skip
    baseline, grid, alone = (cells[name] for name in ("baseline dropout 0.2", list(cells)[4], "three passes"))
    assert (baseline.variant, grid.variant) == ("baseline", "rdrop")
    assert [it.words for it in grid.settings] == [["--rdrop-alpha", "1"], ["--adam-betas", "(0.9,0.999)"]]
    assert grid.runs == {f"{grid.name} seed 7": 7} and list(alone.runs) == [
        "three passes seed 1",
        "three passes seed 2",
    ]
    assert [it.words for it in alone.common] == [["--warmup-updates", "10"]] and alone.swept == ()
    assert grid.settings[0].place.endswith("small.yaml:10")
    assert grid.name_without("--rdrop-alpha") == "grid adam-betas 0.9,0.999"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("seeds: [1, 2]", "seeds: [one]", "small.yaml:4: seeds: one; give whole numbers"),
        ("seeds: [1, 2]", "seeds: [1, 1]", "small.yaml:4: seeds: 1, 1; give whole numbers, each once"),
        ("seeds: 7", "seeds: -7", "small.yaml:12: seeds: -7; give whole numbers"),
        ("seeds: [1, 2]", "seed: 1", "unknown section seed; did you mean seeds?"),
        ("three passes:", "grid:", "small.yaml:13: grid is there twice; leave one out"),
        ("three passes:", "a/b:", "the name 'a/b' must begin with a letter"),
        ("variant: baseline", "variant: base", "small.yaml:7: no variant base; give rdrop or baseline"),
        ("    variant: baseline\n", "", "no family is a baseline, which the others are compared with; add variant"),
        ("0.2, 0.3", "0.2, 0.2", "two settings have the name baseline dropout 0.2; give every value once"),
        ("[1, 3]", "[]", "small.yaml:10: the list of rdrop-alpha is empty"),
        ("warmup-updates: 10", "warmup-updates: [10, 20]", "--warmup-updates has a list in training; put it into"),
        ("families:", "seed:", "unknown section seed"),
        (SWEEP[1:], "", "small.yaml is empty; the sections are training, seeds, families"),
    ],
)
def test_mistakes_in_the_file(write, old, new, message):
    assert SWEEP.count(old) == 1
    with pytest.raises(UserError) as error:
        read_sweep(write(SWEEP.replace(old, new)))
    assert message in str(error.value)


@pytest.fixture
def command(write, data_bin, parallel_text, tmp_path):
    """A function that runs ``scripts/sweep.sh`` in this process, on binarised data."""

    def command(text: str, *words, config: str = "multi30k_en_de") -> int:
        options = ["--data", data_bin, "--reference", parallel_text / "test.de", "--run-dir", tmp_path / "run", "--cpu"]
        options += ["--max-tokens", "200", "--tokens-per-update", "200", *fairseq_tools.TINY_TRANSFORMER]
        return sweep.main([str(word) for word in (config, write(text), *options, *words)])

    return command


@pytest.mark.parametrize(
    "old, new, words, message",
    [
        ("rdrop-passes: 3", "rdrop-pases: 3", (), "small.yaml:14: --rdrop-pases is no flag of fairseq-train; did"),
        ("0.2, 0.3", "0.2, much", (), "small.yaml:8: --dropout much: invalid"),
        ("[1, 3]", "[1, -3]", (), "--rdrop-alpha is -3.0; give a finite number"),
        ("dropout: [", "rdrop-alpha: [", (), "--rdrop-alpha is an option of R-Drop, which a baseline has not; "),
        ("warmup-updates: 10", "max-tokens: 10", (), "--max-tokens is an option of scripts/sweep.sh; give"),
        ("warmup-updates: 10", "seed: 10", (), "small.yaml:3: --seed would be that of all trainings; write seeds:"),
        ("warmup-updates: 10", "save-dir: x", (), "--save-dir is set by the script; --run-dir chooses the folder"),
        ("", "", ("--seed", "3"), "--seed would be that of all trainings; write seeds: into the sweep"),
        ("", "", ("--dropout", "0.3"), "small.yaml:8: --dropout is given on the command line as well"),
        ("", "", ("--parallel", "0"), "argument --parallel: '0' is not a whole number above 0"),
        ("", "", ("--baseline",), "--baseline is for scripts/train.sh alone"),
        ("", "", ("--best-checkpoint-metric", "accuracy"), "which is accuracy; give one of loss, nll"),
        ("dropout: [", "label-smoothing: [", ("--best-checkpoint-metric", "loss"), "losses of different --label"),
        ("", "", ("--halving", "5", "--lr-scheduler", "cosine"), "--lr-scheduler cosine depends on --max-up"),
        ("", "", ("--reference", "absent"), "no raw reference absent; give the"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_the_first_training(command, tmp_path, monkeypatch, old, new, words, message):
    monkeypatch.setattr(sweep, "train_at_once", lambda *_: pytest.fail("it trains"))
    with pytest.raises(UserError) as error:
        command(SWEEP.replace(old, new) if old else SWEEP, *words)
    assert message in str(error.value) and not (tmp_path / "run").exists()


def test_a_sweep_by_its_name():
    with pytest.raises(UserError, match="no sweep multi30k_smal; did you mean multi30k_small?"):
        sweep.main(["multi30k_en_de", "multi30k_smal"])


def test_dry_run_shows_every_training(command, capsys, tmp_path):
    assert command(SWEEP, "--dry-run", "--lr", "0.01") == 0
    lines = capsys.readouterr().out.splitlines()
    commands = dict(zip((line[2:] for line in lines[::2]), lines[1::2]))
    assert len(commands) == 3 * 2 + 4 + 2
    words = commands["baseline dropout 0.2 seed 2"].split()
    for flag, value in (("--dropout", "0.2"), ("--seed", "2"), ("--lr", "0.01"), ("--warmup-updates", "10")):
        assert words.count(flag) == 1 and words[words.index(flag) + 1] == value
    assert "--rdrop-alpha" not in words and "--rdrop-passes 3" in commands["three passes seed 1"]
    assert not (tmp_path / "run").exists()


def test_the_better_half_of_each_family():
    names = {"a 1": 0.1, "a 2": 0.5, "a 3": 0.3, "b 1": None, "b 2": -4.0, "c 1": 1.0, "c 2": 1.0, "d 1": None}
    cells = [Cell(name[0], "rdrop", (), (), (Setting(f"--{name[2]}", None, ""),), (1,)) for name in names]
    kept = sweep.better_half(cells, names)
    assert [cell.name for cell in kept] == ["a 2", "a 3", "b 2", "c 1"]


# The validation nll of settings at updates 10, 20, 30 and so on; the last value stays.
COURSES = {
    "baseline dropout 0.1": (5.0, 4.9),
    "baseline dropout 0.2": (5.1, 4.0),
    "baseline dropout 0.3": (5.2, 3.0),
    "R-Drop alpha 1": (5.0, 4.5, 4.0),
    "R-Drop alpha 2": (5.2, 4.4, 3.5),
    "R-Drop alpha 3": (5.4, 4.3, 3.0),
    "R-Drop alpha 4": (5.3, 4.2, 3.1),
}
HALVING = """
families:
  baseline:
    variant: baseline
    dropout: [0.1, 0.2, 0.3]
  R-Drop:
    rdrop-alpha: [1, 2, 3, 4]
  broken:
    rdrop-alpha: [1, 2]
"""


def log_lines(updates, course) -> str:
    """The log of a training that validates at every tenth update."""
    lines = []
    for update in updates:
        nll = course[min(update // 10, len(course)) - 1]
        lines.append(
            f'2026-11-28 01:00:00 | INFO | valid | {{"epoch": 1, "valid_nll_loss": "{nll}", '
            f'"valid_num_updates": "{update}"}}\n'
            f'2026-11-28 01:00:00 | INFO | train | {{"epoch": 1, "train_num_updates": "{update}", '
            f'"train_wall": "{update}"}}\n'
        )
    return "".join(lines)


@pytest.fixture
def pretended(monkeypatch):
    """In place of trainings the folders that they would leave; a list of what was asked for, with its limit.

    By its patience a training of alpha 4 ends at update 30.
    """
    asked = []

    def train_at_once(trainings, typed, program, parallel):
        for name, training in trainings.items():
            folder, limit = training.folder, int(training.record.limits["max_update"])
            cell = name[: -len(" seed 1")]
            asked.append((cell, limit))
            if cell not in COURSES:
                continue
            folder.begin(training.record, training.configuration.path, [typed])
            folder.checkpoints.mkdir(exist_ok=True)
            (folder.checkpoints / "checkpoint_last.pt").write_text("x")
            end = min(limit, 30) if cell == "R-Drop alpha 4" else limit
            folder.log.write_text(log_lines(range(10, end + 1, 10), COURSES[cell]))
            folder.write_exit_status(0)
        return [name for name in trainings if name.startswith("broken")]

    monkeypatch.setattr(sweep, "train_at_once", train_at_once)
    monkeypatch.setattr(sweep.Sweep, "_score", lambda self, cells, rows: chosen.append([it.name for it in cells]))
    chosen = []
    return asked, chosen


def test_halving(command, pretended, capsys, tmp_path):
    """The worse half stops; what ended by itself is not trained again; nor is anything the second time."""
    asked, chosen = pretended
    words = ("--halving", "10", "--max-update", "60", "--best-checkpoint-metric", "nll_loss")
    with pytest.raises(
        UserError, match="left out: broken alpha 1 seed 1, broken alpha 2 seed 1; the causes stand above"
    ):
        command(HALVING, *words)
    baselines, alphas = ([f"{name} {value}" for value in values] for name, values in (
        ("baseline dropout", (0.1, 0.2, 0.3)), ("R-Drop alpha", (1, 2, 3, 4))))  # fmt: skip
    assert asked == [
        *((name, 10) for name in [*baselines, *alphas, "broken alpha 1", "broken alpha 2"]),
        *((name, 20) for name in (*baselines[:2], *alphas[:2])),
        ("baseline dropout 0.2", 60), ("R-Drop alpha 2", 60),
    ]  # fmt: skip
    assert chosen == [["baseline dropout 0.2", "R-Drop alpha 2"]]
    table = (tmp_path / "run" / "sweep.md").read_text()
    for state in ("stopped at 10", "stopped at 20", "trained", "failed"):
        assert f" {state} |" in table
    asked.clear()
    # Interrupted while the limit of a run was higher than that of the first choices: these stay what they were.
    folder = RunFolder(tmp_path / "run" / "runs" / "R-Drop alpha 2 seed 1")
    (folder.path / "exit_status").unlink()
    with pytest.raises(UserError, match="left out"):
        command(HALVING, *words)
    assert asked == [("broken alpha 1", 10), ("broken alpha 2", 10), ("R-Drop alpha 2", 60)]
    without = HALVING[: HALVING.index("  broken")]
    asked.clear()
    assert command(without, *words) == 0 and asked == []
    assert command(without, *words) == 0 and "done before; the table is" in capsys.readouterr().err
    # Without halving all are trained to the end, but not what patience ended.
    assert command(without, *words[2:]) == 0
    assert asked == [(name, 60) for name in (baselines[0], baselines[2], alphas[0], *alphas[2:])]
    asked.clear()
    assert command(without, "--max-update", "70", *words[4:]) == 0
    assert asked == [(name, 70) for name in (*baselines, *alphas[:3])]
    # The best of each family, the best baseline first.
    assert chosen[-1] == ["baseline dropout 0.3", "R-Drop alpha 3"]


def test_a_folder_of_another_sweep(command, pretended, write, tmp_path):
    words = ("--max-update", "20", "--best-checkpoint-metric", "nll_loss")
    without = HALVING[: HALVING.index("  broken")]
    assert command(without, *words) == 0
    with pytest.raises(UserError, match="made with other settings .configuration .*--run-dir"):
        command(without, *words, "--source-lang", "en", "--target-lang", "de", config="iwslt14_de_en")
    with pytest.raises(
        UserError, match="holds a run with other settings: --lr is 0.0005 there and 0.1 here; .*--run-dir"
    ):
        command(without, *words, "--lr", "0.1")


class FakeTraining:
    """What is enough of a training to be started."""

    placement = Placement(on_cpu=True, processes_per_node=1)

    def __init__(self, name: str, action) -> None:
        self.options, self.action = type("Options", (), {"name": name}), action


@pytest.fixture
def run_fakes(monkeypatch):
    monkeypatch.setattr(sweep_training, "train", lambda training, typed, program: training.action())

    def run(actions: dict, parallel: int) -> list:
        trainings = {name: FakeTraining(name, action) for name, action in actions.items()}
        return sweep_training.train_at_once(trainings, "typed", "sweep.sh", parallel)

    return run


def test_several_at_once_and_failures(run_fakes, tmp_path, capfd):
    def work():
        begin = time.monotonic()
        time.sleep(0.3)
        (tmp_path / str(os.getpid())).write_text(f"{begin} {time.monotonic()}")
        return 0

    def fail():
        raise UserError("no space; free some")

    failed = run_fakes({"one": work, "bad": fail, "two": work, "killed": lambda: 137, "three": work}, 2)
    assert sorted(failed) == ["bad", "killed"] and "bad failed: no space; free some" in capfd.readouterr().err
    times = [tuple(map(float, path.read_text().split())) for path in tmp_path.iterdir()]
    assert len(times) == 3
    overlaps = [sum(begin <= moment < end for begin, end in times) for moment, _ in times]
    assert max(overlaps) == 2


def test_a_signal_ends_all_and_begins_no_more(run_fakes, tmp_path):
    def work():
        stopped = []
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
        (tmp_path / str(os.getpid())).touch()
        if len(list(tmp_path.iterdir())) == 2:
            os.kill(os.getppid(), signal.SIGINT)
        deadline = time.monotonic() + 20
        while not stopped and time.monotonic() < deadline:
            time.sleep(0.02)
        return 143 if stopped else 1

    # A shell has its background jobs ignore the signal, and then trainings go on, as they should.
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as error:
            run_fakes(dict.fromkeys(("one", "two", "three"), work), 2)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outer)
    assert error.value.code == 130 and len(list(tmp_path.iterdir())) == 2


def test_gpus_in_turn(monkeypatch):
    def given(slot, processes):
        placement = Placement(on_cpu=False, processes_per_node=processes)
        return sweep_training.devices_of_slot(placement, slot)["CUDA_VISIBLE_DEVICES"]

    monkeypatch.setattr(sweep_training, "visible_gpus", lambda: 5)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [given(slot, 1) for slot in range(7)] == ["0", "1", "2", "3", "4", "0", "1"]
    assert [given(slot, 2) for slot in range(4)] == ["0,1", "2,3", "0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-a,6")
    assert [given(slot, 2) for slot in range(2)] == ["4,GPU-a"] * 2
    assert sweep_training.devices_of_slot(Placement(on_cpu=True, processes_per_node=1), 3) == {}


def row(family, variant, seeds, nll, state="trained", swept=(), **values) -> Row:
    cell = Cell(family, variant, (), swept, swept, tuple(range(1, seeds + 1)))
    return Row(cell, state, [parse_training_log(log_lines([10, 20], (it, it - 0.5))) for it in nll], **values)


def alpha(value: str) -> tuple:
    return (Setting("--rdrop-alpha", value, ""),)


def test_tables(tmp_path):
    rows = [
        row("baseline", "baseline", 2, (5.0, 5.4), "best of its family", test_scores=(20.0, 21.0)),
        row("R", "rdrop", 1, (4.5,), "best", alpha("1"), test_scores=(25.0,), difference=4.5, p_value=0.25),
        row("R", "rdrop", 1, (4.7,), "stopped at 10", alpha("0.5")),
        row("broken", "rdrop", 2, (), "failed"),
    ]  # fmt: skip
    lines = [[column.strip() for column in line.split("|")[1:-1]] for line in format_rows(rows).splitlines()]
    assert lines[0][:6] == ["setting", "seeds", "updates", "best valid nll", "best valid BLEU", "test BLEU"]
    assert lines[2] == [
        "baseline", "1 2", "20", "4.700 +- 0.283", "", "20.50 +- 0.71", "", "", "1", "best of its family"
    ]  # fmt: skip
    assert lines[3] == ["R alpha 1", "1", "20", "4.000", "", "25.00", "+4.50", "0.2500", "1", "best"]
    assert lines[4][5:8] == ["", "", ""] and lines[5] == ["broken", "1 2", *[""] * 7, "failed"]

    signatures, tests = {"BLEU": "nrefs:1"}, {"BLEU": "bs:1000"}
    system = SystemResult("baseline", "translations", {"BLEU": MetricResult(20.0, 20.0, 1.0, None)}, ())
    scores = ScoreReport(
        ("reference",), 3, "en", "de", "baseline", (system,), signatures, tests, tests, "bootstrap", 1000, 1
    )
    pytest.importorskip("matplotlib")
    write_tables(tmp_path, "Sweep small", rows, scores, ["a note"])
    text = (tmp_path / "sweep.md").read_text()
    assert format_rows(rows) in text and "- a note\n" in text and "`BLEU|nrefs:1`, of p `BLEU|bs:1000`" in text
    assert "![best validation nll (bits) over --rdrop-alpha](alpha.png)" in text
    assert (tmp_path / "alpha.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "sweep.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [it["setting"] for it in table] == ["baseline", "R alpha 1", "R alpha 0.5", "broken"]
    assert table[1]["flags"] == "--rdrop-alpha 1" and float(table[1]["valid_nll"]) == 4.0
    assert float(table[0]["test_bleu_deviation"]) == pytest.approx(0.5**0.5) and table[3]["valid_nll"] == ""


def test_help_names_every_option():
    result = subprocess.run([str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    for flag in sweep.sweep_parser()._option_string_actions:
        assert flag == "-h" or flag in result.stdout

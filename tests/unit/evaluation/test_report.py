"""The report: its figures are those of the logs and the scores, and its sentences say no more."""

import json
import pathlib
import platform
import re

import pytest

import rdrop_fairseq
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation import plots, report, report_text, score, score_report

REFERENCE = [f"Satz {number} steht hier am Ende der Liste ." for number in range(60)]


def bleu_of(system):
    return system.metrics["BLEU"]


def chrf_of(system):
    return system.metrics["chrF2"]


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_run(folder, nll, seconds_per_update=0.1, kl=None, command=None):
    folder.mkdir(parents=True)
    lines = ["2026-11-21 01:00:00 | INFO | fairseq_cli.train | training on 1 devices (GPUs/TPUs)"]
    for number, value in enumerate(nll, start=1):
        update = 500 * number
        wall = round(update * seconds_per_update)
        stamp = f"2026-11-21 01:{wall // 60:02d}:{wall % 60:02d} | INFO"
        stats = {"epoch": number, "loss": "3", "nll_loss": "2", "num_updates": str(update), "wall": str(wall)}
        if kl is not None:
            stats["rdrop_kl_loss"] = kl
        lines.append(f"{stamp} | train_inner | {json.dumps(stats)}")
        stats = {"epoch": number, "valid_nll_loss": str(value), "valid_num_updates": str(update)}
        lines.append(f"{stamp} | valid | {json.dumps(stats)}")
    write_lines(folder / "train.log", lines)
    if command is not None:
        (folder / "command.txt").write_text(command, encoding="utf-8")
    return folder


@pytest.fixture
def experiment(tmp_path):
    """Two runs and the scores of their translations: R-Drop's are the better ones by far."""
    write_run(tmp_path / "baseline", [3.0, 2.5, 2.75], command="fairseq-train data-bin --arch transformer\n")
    write_run(tmp_path / "rdrop", [3.5, 2.5, 2.25], seconds_per_update=0.25, kl="0.125")
    (tmp_path / "rdrop" / "command.txt").write_text("fairseq-train --fence ```\n", encoding="utf-8")
    reference = write_lines(tmp_path / "reference.de", REFERENCE)
    worse = [line.replace("hier am", "dort an") for line in REFERENCE]
    worse[0] = REFERENCE[0]
    systems = {
        "baseline": write_lines(tmp_path / "baseline.txt", worse),
        "R-Drop": write_lines(tmp_path / "rdrop.txt", REFERENCE),
    }
    scores = score.score_files(reference, systems, source_lang="en", target_lang="de", resamples=100)
    score_report.write_scores(scores, tmp_path / "scores.json")
    write_lines(tmp_path / "source.en", [f"source {number}" for number in range(60)])
    return tmp_path


def make(experiment, **options):
    runs = {"baseline": experiment / "baseline", "R-Drop": experiment / "rdrop"}
    path = report.write_report(runs, experiment / "scores.json", experiment / "report", **options)
    return path.read_text(encoding="utf-8")


def test_table_and_signatures(experiment):
    text = make(experiment)
    scores = score_report.read_scores(experiment / "scores.json")
    rows = {line.split("|")[1].strip(): line for line in text.split("\n") if line.startswith("| ")}
    cells = {name: [cell.strip() for cell in row.split("|")[1:-1]] for name, row in rows.items()}
    baseline, rdrop = scores.systems
    assert cells["baseline"] == [
        "baseline", f"{bleu_of(baseline).score:.2f}", "", f"{chrf_of(baseline).score:.2f}", "",
        "2.500", "1000", "1500", "2 min 30 s",
    ]  # fmt: skip
    assert cells["R-Drop"] == [
        "R-Drop", "100.00", f"{bleu_of(rdrop).p_value:.4f}", "100.00", f"{chrf_of(rdrop).p_value:.4f}",
        "2.250", "1500", "1500", "6 min 15 s",
    ]  # fmt: skip
    bootstrap = [f"{name}|{signature}" for name, signature in scores.bootstrap_signatures.items()]
    for signature in [*scores.signatures.values(), *bootstrap]:
        assert f"`{signature}`" in text
    assert "# Training report: en to de" in text


def test_commands_environment_and_figures(experiment):
    text = make(experiment)
    assert "```text\nfairseq-train data-bin --arch transformer\n```" in text
    # The fence around a text is longer than those inside it.
    assert "````text\nfairseq-train --fence ```\n````" in text
    for image in ("valid_nll.png", "kl.png"):
        assert f"]({image})" in text and (experiment / "report" / image).is_file()
    assert "valid_bleu.png" not in text and not (experiment / "report" / "valid_bleu.png").exists()
    assert re.search(rf"(?m)^\| Python +\| {re.escape(platform.python_version())} ", text)
    for package in ("torch", "fairseq", "sacrebleu", "sentencepiece", "CPU", "cores", "GPU"):
        assert re.search(rf"(?m)^\| {package} +\| \S", text)
    assert f"rdrop_fairseq {rdrop_fairseq.__version__}" in text


def test_samples_are_the_first_that_differ(experiment):
    text = make(experiment, source=experiment / "source.en")
    samples = text[text.index("## Sample") : text.index("## How")]
    assert "Sentence 1:" not in samples  # both systems have the same
    assert [f"Sentence {number}:" in samples for number in range(2, 8)] == [True] * 5 + [False]
    assert "source     source 1\n" in samples
    assert "reference  Satz 1 steht hier am Ende der Liste .\n" in samples
    assert "baseline   Satz 1 steht dort an Ende der Liste .\n" in samples
    (experiment / "rdrop.txt").unlink()
    assert "## Sample" not in make(experiment)


def conclusions(experiment, **change):
    runs = {"baseline": experiment / "baseline", "R-Drop": experiment / "rdrop"}
    scores = score_report.read_scores(experiment / "scores.json")
    return report_text.conclusions({name: report.read_run(folder) for name, folder in runs.items()}, scores)


def test_sentences_on_a_significant_difference(experiment):
    lines = conclusions(experiment)
    scores = score_report.read_scores(experiment / "scores.json")
    difference = 100 - bleu_of(scores.system("baseline")).score
    p_value = bleu_of(scores.system("R-Drop")).p_value
    assert p_value < 0.05
    assert f"R-Drop against baseline: +{difference:.2f} BLEU (p = {p_value:.4f}, significant)" in lines[0]
    assert "100 resamples of 60 sentences" in lines[0]
    assert "does not cover what another random seed" in lines[1]
    assert "baseline: best validation nll 2.500 bits per token, at update 1000; at its last" in lines[2]
    assert "R-Drop: best validation nll 2.250 bits per token, at update 1500, its last" in lines[3]
    assert lines[4] == "R-Drop took 2.50 times the time of baseline per update, validation included."


def test_sentences_on_an_insignificant_difference(experiment):
    nearly = list(REFERENCE)
    nearly[7] = nearly[7].replace("Liste", "Reihe")
    others = list(REFERENCE)
    others[9] = others[9].replace("Liste", "Reihe")
    others[20] = others[20].replace("steht", "ist")
    systems = {
        "baseline": write_lines(experiment / "baseline.txt", others),
        "R-Drop": write_lines(experiment / "rdrop.txt", nearly),
    }
    scores = score.score_files(experiment / "reference.de", systems, resamples=200)
    score_report.write_scores(scores, experiment / "scores.json")
    assert bleu_of(scores.system("R-Drop")).p_value > 0.05
    sentence = conclusions(experiment)[0]
    assert "not significant) and" in sentence and ", significant" not in sentence
    assert "+" in sentence


def test_a_worse_system_is_said_to_be_worse(experiment):
    scores = score_report.read_scores(experiment / "scores.json")
    swapped = score.score_files(
        experiment / "reference.de",
        {system.name: system.path for system in scores.systems},
        baseline="R-Drop",
    )
    score_report.write_scores(swapped, experiment / "scores.json")
    lines = conclusions(experiment)
    difference = bleu_of(swapped.system("baseline")).score - 100
    assert lines[0].startswith(f"baseline against R-Drop: {difference:.2f} BLEU")
    assert lines[4] == "baseline took 0.40 times the time of R-Drop per update, validation included."


def test_training_alone(experiment, capsys):
    arguments = ["--run", f"only={experiment / 'baseline'}", "--output", str(experiment / "alone")]
    report.main(arguments)
    assert capsys.readouterr().out == f"wrote {experiment / 'alone' / 'report.md'}\n"
    text = (experiment / "alone" / "report.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n")]
    assert ["only", "2.500", "1000", "1500", "2 min 30 s"] in rows
    assert "p =" not in text and "signature" not in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--run", "a=absent"], "no such run folder: absent"),
        (["--run", "a=empty"], "cannot read the training log"),
        (["--run", "a=baseline", "--scores", "absent.json"], "no such file: absent.json"),
        (["--run", "a=baseline", "--scores", "reference.de"], "reference.de is not what"),
        (["--run", "a=baseline", "--scores", "scores.json", "--source", "short"], "short has 1 lines"),
        (["--run", "a=baseline", "--run", "a=rdrop"], "given twice"),
        (["--run", "baseline"], "expected NAME=PATH"),
    ],
)
def test_bad_input_leaves_the_older_report(experiment, monkeypatch, arguments, message):
    monkeypatch.chdir(experiment)
    (experiment / "empty").mkdir()
    write_lines(experiment / "short", ["one line"])
    (experiment / "report").mkdir()
    (experiment / "report" / "report.md").write_text("older", encoding="utf-8")
    with pytest.raises(UserError, match=message) as refusal:
        report.main([*arguments, "--output", "report"])
    assert "\n" not in str(refusal.value)
    assert [(path.name, path.read_text()) for path in (experiment / "report").iterdir()] == [("report.md", "older")]


@pytest.mark.parametrize("failing", ["drawing", "text", "writing", "folder"])
def test_a_failure_leaves_the_whole_older_report(experiment, monkeypatch, failing):
    make(experiment)
    folder = experiment / "report"
    (folder / "valid_bleu.png").write_bytes(b"of an earlier report, and of none of these runs")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_run(experiment / "changed", [9.0, 8.0])

    def fail(*arguments, **options):
        raise KeyboardInterrupt

    expected = KeyboardInterrupt
    if failing == "drawing":
        original = plots._draw
        monkeypatch.setattr(
            plots, "_draw", lambda curve, points: fail() if "kl" in curve.name else original(curve, points)
        )
    elif failing == "text":
        monkeypatch.setattr(report, "format_report", fail)
    elif failing == "writing":  # of the last of the files
        original_write = pathlib.Path.write_bytes
        monkeypatch.setattr(
            pathlib.Path,
            "write_bytes",
            lambda path, content: fail() if "kl.png" in path.name else original_write(path, content),
        )
    else:
        (folder / "valid_bleu.png").unlink()
        (folder / "valid_bleu.png").mkdir()
        before.pop("valid_bleu.png")
        expected = UserError
    with pytest.raises(expected):
        report.write_report({"a": experiment / "changed", "R-Drop": experiment / "rdrop"}, None, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_figures_of_an_earlier_report_are_removed(experiment):
    make(experiment)
    report.write_report({"baseline": experiment / "baseline"}, None, experiment / "report")
    assert sorted(path.name for path in (experiment / "report").iterdir()) == ["report.md", "valid_nll.png"]


def test_a_reference_that_has_grown_since_is_refused(experiment):
    write_lines(experiment / "reference.de", [*REFERENCE, "Noch ein Satz ."])
    with pytest.raises(UserError, match="reference.de has 61 lines and the test set 60; score the systems again"):
        make(experiment)


def test_a_system_may_be_called_as_a_side_of_the_test_set(experiment):
    systems = {"source": experiment / "baseline.txt", "reference": experiment / "rdrop.txt"}
    score_report.write_scores(
        score.score_files(experiment / "reference.de", systems, resamples=2), experiment / "scores.json"
    )
    text = make(experiment, source=experiment / "source.en")
    sample = text[text.index("Sentence 2:") : text.index("Sentence 3:")]
    assert sample.count("source     ") == 2 and sample.count("reference  ") == 2


def test_a_log_of_odd_numbers_gives_a_report(experiment):
    path = experiment / "baseline" / "train.log"
    text = path.read_text(encoding="utf-8")
    for value in ("inf", "nan", "1e308"):
        for key in ("num_updates", "wall", "valid_nll_loss"):
            path.write_text(re.sub(rf'"{key}": "[^"]+"', f'"{key}": "{value}"', text), encoding="utf-8")
            assert "## Results" in make(experiment)

"""scripts/quickstart.sh on a small folder of text: from setting up to the report, again, and with mistakes."""

import json
import shutil
import subprocess
from pathlib import Path

import fairseq_tools
import pytest

from rdrop_fairseq.experiments.configuration import find_configuration
from rdrop_fairseq.experiments.options import words_of
from rdrop_fairseq.experiments.quickstart import quickstart_parser

QUICKSTART = Path(__file__).resolve().parents[2] / "scripts" / "quickstart.sh"
TINY = [*fairseq_tools.TINY_TRANSFORMER, "--vocab-size", "46", "--max-epoch", "2", "--lr", "0.01"]


def quickstart(*arguments, fails=False):
    return fairseq_tools.run_module_of(QUICKSTART, *arguments, fails=fails)


def times(folder):
    """When each file of a run was changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def last_error(*arguments):
    return fairseq_tools.last_line(quickstart(*arguments, fails=True).stderr)


@pytest.fixture(scope="module")
def finished(parallel_text, tmp_path_factory):
    """A run folder with everything done, what was printed, and the command."""
    folder = tmp_path_factory.mktemp("runs") / "a run"
    command = ["--data", parallel_text, "--run-dir", folder, *TINY, "--rdrop-alpha", "2.5"]
    return folder, fairseq_tools.run(QUICKSTART, *command), command


@pytest.mark.slow
def test_from_text_to_report(finished):
    folder, result, _ = finished
    scores = json.loads((folder / "scores.json").read_text())
    assert "baseline" in json.dumps(scores) and "R-Drop" in json.dumps(scores)
    assert "BLEU|nrefs:1|case:mixed" in result.stdout
    assert fairseq_tools.last_line(result.stdout) == f"report: {folder}/report.md"
    report = (folder / "report.md").read_text()
    assert "--rdrop-alpha 2.5" in report and "valid_nll.png" in report
    for name in ("valid_nll.png", "valid_bleu.png", "kl.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    # The command that was typed, and the training that it started.
    lines = {name: (folder / name / "command.txt").read_text().splitlines() for name in ("baseline", "rdrop")}
    assert all(typed.startswith("scripts/quickstart.sh --data ") for typed, _ in lines.values())
    commands = {name: command for name, (_, command) in lines.items()}
    assert "rdrop-alpha" not in commands["baseline"]
    assert "--criterion label_smoothed_cross_entropy " in commands["baseline"]
    # One model, given on the command line in the place of that of the configuration.
    assert commands["baseline"].count("--encoder-layers") == 1 == commands["rdrop"].count("--encoder-layers")


@pytest.mark.slow
def test_again_does_nothing_and_continues_where_it_stopped(finished):
    folder, result, command = finished
    before = times(folder)
    again = quickstart(*command)
    assert again.stdout == result.stdout and times(folder) == before
    # As after a kill in the middle of scoring: everything before it is kept.
    (folder / ".done" / "report").unlink()
    (folder / "scores.json").unlink()
    assert quickstart(*command).stdout == result.stdout
    kept = ("baseline/checkpoints/checkpoint_last.pt", "rdrop/evaluation/translations.txt", "data/bin/dict.en.txt")
    for path in kept:
        assert times(folder)[folder / path] == before[folder / path]


@pytest.mark.slow
def test_a_folder_with_other_settings_is_left_alone(finished):
    folder, _, command = finished
    before = times(folder)
    message = last_error(*command, "--lr", "0.02")
    assert "holds a run with other settings: --lr is 0.01 there and 0.02 here" in message and "--run-dir" in message
    assert times(folder) == before


@pytest.mark.slow
def test_mistakes_end_in_one_line(parallel_text, tmp_path):
    run_folder = tmp_path / "run"
    data = shutil.copytree(parallel_text, tmp_path / "data")
    arguments = ["--data", data, "--run-dir", run_folder, *TINY]
    assert "no folder" in last_error("--data", tmp_path / "absent")
    assert "--vocab-size: 'many' is not a whole number above 0" in last_error("--vocab-size", "many")
    assert "--save-dir is set by the script; --run-dir" in last_error("--save-dir", tmp_path)
    assert "--data: expected one argument" in last_error("--data")
    assert "give --data for en-fr" in last_error("--target-lang", "fr", "--run-dir", run_folder)
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in last_error("--data", data, "--run-dir", tmp_path / "file" / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    assert "files that are not of this script" in last_error("--data", data, "--run-dir", tmp_path / "other")

    assert "no train.xx in" in last_error(*arguments, "--source-lang", "xx")
    with open(data / "train.en", "a") as stream:
        stream.write("one more\n")
    assert "81 lines but" in last_error(*arguments)
    shutil.copy(parallel_text / "train.en", data / "train.en")
    for alpha in ("-3.5", "nan", "inf"):
        assert f"--rdrop-alpha is {alpha}; give a finite number" in last_error(*arguments, "--rdrop-alpha", alpha)
    message = last_error(*arguments, "--no-such-option", "3")
    assert "--no-such-option is no flag of fairseq-train; leave it out" in message
    assert not run_folder.exists()
    # Nothing was trained: the corrected command goes on in the same folder.
    assert "cannot learn 47000 sub-words" in last_error(*arguments, "--vocab-size", "47000")


@pytest.mark.slow
def test_a_folder_of_version_0_1_goes_on(finished, tmp_path):
    """As it left it: checkpoints beside the log, its own settings, and the data elsewhere."""
    folder, result, command = finished
    earlier = Path(shutil.copytree(folder, tmp_path / "earlier"))
    best = (folder / "baseline" / "checkpoints" / "checkpoint_best.pt").read_bytes()
    (earlier / "data" / "bin").rename(earlier / "data-bin")
    shutil.rmtree(earlier / "data")
    shutil.rmtree(earlier / ".done")
    for path in (earlier / "scores.json", earlier / "scores.txt", earlier / "report.md"):
        path.unlink()
    for variant in ("baseline", "rdrop"):
        for path in (earlier / variant / "checkpoints").iterdir():
            path.rename(earlier / variant / path.name)
        shutil.rmtree(earlier / variant / "checkpoints")
        shutil.rmtree(earlier / variant / "evaluation")
        for name in ("run.json", "exit_status", "config.yaml"):
            (earlier / variant / name).unlink()
    configuration = find_configuration("quickstart")
    common = words_of(configuration.sections["training"]) + ["--max-tokens", "1000"]
    (earlier / "settings.txt").write_text(
        "languages en-de\nsub-words 46\ndata somewhere\n1 2 a/file\n"
        f"options {' '.join([*common, *(word for word in TINY if word not in ('--vocab-size', '46'))])}\n"
        f"baseline options {' '.join(words_of(configuration.sections['baseline']))}\n"
        f"R-Drop options {' '.join(words_of(configuration.sections['rdrop']))} --rdrop-alpha 2.5\n"
    )
    words = [earlier if word == folder else word for word in command]
    assert "was made with other settings" in last_error(*words, "--lr", "0.02")
    again = quickstart(*words)
    assert again.stdout.replace(str(earlier), str(folder)) == result.stdout
    assert (earlier / "baseline" / "checkpoints" / "checkpoint_best.pt").read_bytes() == best
    assert not (earlier / "data-bin").exists() and "done before" in quickstart(*words).stderr


def test_help_names_every_option():
    result = subprocess.run([str(QUICKSTART), "--help"], capture_output=True, text=True, check=True)
    for flag in quickstart_parser()._option_string_actions:
        assert flag == "-h" or flag in result.stdout

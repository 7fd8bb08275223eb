"""scripts/quickstart.sh on a small folder of text: from setting up to the report, again, and with mistakes."""

import json
import shutil
import subprocess
from pathlib import Path

import fairseq_tools
import pytest

QUICKSTART = Path(__file__).resolve().parents[2] / "scripts" / "quickstart.sh"
TINY = [*fairseq_tools.TINY_TRANSFORMER, "--vocab-size", "46", "--max-epoch", "2", "--lr", "0.01"]


def quickstart(*arguments, fails=False):
    return fairseq_tools.run(QUICKSTART, *arguments, fails=fails)


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
    return folder, quickstart(*command), command


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
    commands = {name: (folder / name / "command.txt").read_text() for name in ("baseline", "rdrop")}
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
    for name in ("score", "report"):
        (folder / ".done" / name).unlink()
    (folder / "scores.json").unlink()
    assert quickstart(*command).stdout == result.stdout
    translations = folder / "baseline" / "translations.txt"
    assert times(folder)[translations] == before[translations]


@pytest.mark.slow
def test_a_folder_with_other_settings_is_left_alone(finished):
    folder, _, command = finished
    before = times(folder)
    message = last_error(*command, "--lr", "0.02")
    assert "was made with other settings" in message and "--run-dir" in message
    assert times(folder) == before


@pytest.mark.slow
def test_mistakes_end_in_one_line(parallel_text, tmp_path):
    run_folder = tmp_path / "run"
    data = shutil.copytree(parallel_text, tmp_path / "data")
    arguments = ["--data", data, "--run-dir", run_folder, *TINY]
    assert "no folder" in last_error("--data", tmp_path / "absent")
    assert "--vocab-size is many" in last_error("--vocab-size", "many")
    assert "--save-dir is set by this script" in last_error("--save-dir", tmp_path)
    assert "--best-checkpoint-metric is BLEU here" in last_error("--best-checkpoint-metric", "loss")
    assert "--data needs a value" in last_error("--data")
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
    for alpha in ("-3", "nan", "inf"):
        assert f"--rdrop-alpha is {alpha}; give a finite number" in last_error(*arguments, "--rdrop-alpha", alpha)
    message = last_error(*arguments, "--no-such-option", "3")
    assert "training of baseline failed" in message and "unrecognized arguments: --no-such-option 3" in message
    # Nothing was trained: the corrected command goes on in the same folder.
    assert "cannot learn 47000 sub-words" in last_error(*arguments, "--vocab-size", "47000")


def test_help_names_every_option():
    result = subprocess.run([str(QUICKSTART), "--help"], capture_output=True, text=True, check=True)
    for option in ("--data", "--source-lang", "--target-lang", "--test-set", "--vocab-size", "--run-dir"):
        assert option in result.stdout

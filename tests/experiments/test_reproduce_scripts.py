"""scripts/reproduce_wmt14_en_de.sh in miniature: from archives to the scores of two runs; and scripts/evaluate.sh."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fairseq_tools
import pytest
from official_archives import newstests, text, wmt14_en_de

from rdrop_fairseq.evaluation.paper_bleu import PaperScorer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SCRIPT = SCRIPTS / "reproduce_wmt14_en_de.sh"
TRAINING = [
    *fairseq_tools.TINY_TRANSFORMER, "--tokens-per-update", "400", "--max-tokens", "400", "--max-update", "6",
    "--save-interval-updates", "2", "--num-workers", "0",
]  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    table = wmt14_en_de(raw)
    newstests(raw, "de")
    folder = tmp_path_factory.mktemp("reproduced")
    return [
        SCRIPT, "--raw-dir", raw, "--table", table, "--vocab-size", "95", "--cpu",
        "--data-dir", folder / "data", "--runs-dir", folder / "runs", *TRAINING, "--rdrop-alpha", "1", "--average", "2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def reproduced(command):
    """The folder of the runs, and what was printed. Each stage was killed once before."""
    words = [str(word) for word in command]
    # How a stage announces itself in the log, and how long it may go on.
    for announcement, seconds in (
        ("tokenising the training", 0.3), ("stage train-baseline", 6.0), ("stage train-rdrop", 7.0),
        ("translating the test set", 2.5),
    ):  # fmt: skip
        process = subprocess.Popen(
            words, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in process.stderr:
            if announcement in line:
                time.sleep(seconds)
                break
        assert process.poll() is None, f"it ended before {announcement}"
        os.killpg(process.pid, signal.SIGKILL)
        process.stderr.close()
        process.wait()
    return Path(words[words.index("--runs-dir") + 1]), fairseq_tools.run(*words)


def evaluate(*arguments, fails=False):
    return fairseq_tools.run_module_of(SCRIPTS / "evaluate.sh", *arguments, fails=fails)


def last_error(*arguments) -> str:
    return fairseq_tools.last_line(evaluate(*arguments, fails=True).stderr)


def files(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_from_archives_to_a_comparison(reproduced):
    runs, result = reproduced
    for variant in ("baseline", "rdrop"):
        run = runs / f"wmt14_en_de-{variant}"
        assert (run / "exit_status").read_text() == "0\n"
        settings = json.loads((run / "run.json").read_text())["settings"]
        assert settings.get("--rdrop-alpha") == (None if variant == "baseline" else "1"), "of R-Drop alone"
        scores = json.loads((run / "evaluation" / "scores.json").read_text())
        assert scores["sentences"] == 12 and scores["systems"][0]["name"] == run.name
        command = (run / "evaluation" / "command.txt").read_text()
        for flags in ("--tokenizer moses", "--bpe sentencepiece", "--beam 4", "--lenpen 0.6"):
            assert flags in command
    comparison = json.loads((runs / "wmt14_en_de-rdrop" / "evaluation" / "comparison.json").read_text())
    assert comparison["baseline"] == "wmt14_en_de-baseline" and len(comparison["systems"]) == 2
    assert comparison["systems"][1]["metrics"]["BLEU"]["p_value"] is not None
    assert "wmt14_en_de-rdrop: tokenised BLEU = " in result.stdout and "tok:13a" in result.stdout
    assert (runs / "wmt14_en_de-rdrop" / "evaluation" / "comparison.md").read_text().count("|") > 20


def test_again_does_nothing(reproduced, command):
    runs, result = reproduced
    before = files(runs)
    again = fairseq_tools.run_module_of(*command)
    assert again.stdout == result.stdout
    changed = {path.name for path, time_of_change in files(runs).items() if before.get(path) != time_of_change}
    # Scores are made anew from the translations, which is quick; nothing else is.
    assert changed <= {"scores.json", "scores.md", "comparison.json", "comparison.md"}


def test_stages(command):
    words = [*map(str, command)]
    result = fairseq_tools.run_module_of(SCRIPT, "--stage", "evaluate", *words[1:])
    assert "stage evaluate" in result.stderr and "stage train" not in result.stderr
    message = fairseq_tools.last_line(fairseq_tools.run_module_of(SCRIPT, "--stage", "training", fails=True).stderr)
    assert "argument --stage: invalid choice: 'training' (choose from" in message


@pytest.mark.parametrize(
    "words, message",
    [
        (["--baseline"], "--baseline is for scripts/train.sh alone; this trains the baseline and R-Drop, leave it out"),
        (["--max-update", "5", "--run-dir", "x"], "--run-dir is for scripts/train.sh alone; give --runs-dir"),
        (["--stage", "evaluate", "--stop-stage", "prepare"], "--stop-stage prepare comes before --stage evaluate"),
        (["--stage", "train-baseline train-rdrop"], "argument --stage: invalid choice: 'train-baseline train-rdrop'"),
        (["--max-update", "5", "--average", "0"], "argument --average: '0' is not a whole number above 0"),
        (["--averge", "2"], "--averge is no flag of fairseq-train; leave it out"),
        (["--rdrop-alfa", "1"], "--rdrop-alfa is no flag of fairseq-train; did you mean --rdrop-alpha?"),
        (["--max-update", "many"], "--max-update many: invalid int value"),
        (["--stop-stage", "prepare", "--workrs", "2"], "--workrs is no flag of fairseq-train"),
        (["--stage", "evaluate", "--beam", "9"], "--beam is no flag of fairseq-train"),
    ],
)
def test_mistakes_are_found_before_the_preparation(tmp_path, words, message):
    where = ["--cpu", "--data-dir", tmp_path / "data", "--runs-dir", tmp_path / "runs"]
    result = fairseq_tools.run_module_of(SCRIPT, *words, *where, fails=True)
    assert message in fairseq_tools.last_line(result.stderr) and list(tmp_path.iterdir()) == []


def test_data_that_fairseq_would_split_are_refused_before_they_are_made(tmp_path):
    words = ["--cpu", "--data-dir", tmp_path / "a:b", "--runs-dir", tmp_path / "runs"]
    result = fairseq_tools.run_module_of(SCRIPT, *words, fails=True)
    assert "for several paths" in fairseq_tools.last_line(result.stderr) and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has PYTHONSAFEPATH from 3.11 on")
def test_modules_in_the_working_directory_are_not_taken(tmp_path):
    for name in ("tokenize.py", "rdrop_fairseq.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')\n")
    words = ["wmt14_en_de", "--cpu", "--dry-run", "--data", tmp_path / "absent"]
    assert "fairseq-train" in fairseq_tools.run(SCRIPTS / "train.sh", *words, cwd=tmp_path).stdout


@pytest.fixture
def run(reproduced, tmp_path):
    """A copy of the R-Drop run, to be damaged."""
    return Path(shutil.copytree(reproduced[0] / "wmt14_en_de-rdrop", tmp_path / "run"))


def translations_of(run) -> int:
    return (run / "evaluation" / "translations.txt").stat().st_mtime_ns


def test_other_checkpoints_or_flags_are_translated_anew(run):
    first = translations_of(run)
    assert "translated before" in evaluate(run, "--average", "2").stderr and translations_of(run) == first
    assert "translating" in evaluate(run, "--average", "2", "--beam", "1").stderr
    second = translations_of(run)
    assert second != first
    os.utime(run / "checkpoints" / "checkpoint_last.pt")
    assert "translated before" in evaluate(run, "--average", "2", "--beam", "1").stderr
    assert "translating" in evaluate(run, "--checkpoint", run / "checkpoints" / "checkpoint_last.pt").stderr
    assert "translating" in evaluate(run, "--average", "1").stderr


def test_what_cannot_be_evaluated_ends_in_one_line(run, reproduced, tmp_path):
    assert "has no run.json; give a folder that scripts/train.sh made, or score" in last_error(tmp_path)
    assert "has 3 checkpoints of the 10 to average; train on, or give --average" in last_error(run)
    assert "no checkpoint" in last_error(run, "--checkpoint", tmp_path / "absent.pt")
    assert "no raw reference" in last_error(run, "--average", "2", "--reference", tmp_path / "absent")
    assert "exclude each other" in last_error(run, "--average", "2", "--checkpoint", tmp_path / "x")
    other = shutil.copytree(run, tmp_path / "again" / "run")
    assert "have one name" in last_error(run, other, "--average", "2")

    record = json.loads((run / "run.json").read_text())
    data = Path(shutil.copytree(record["data"], tmp_path / "data"))
    reference = data / "reference.de"
    lines = reference.read_text().splitlines()
    reference.write_text("\n".join(lines[:-1]) + "\n")
    earlier = files(run / "evaluation")
    message = "has 11 lines, but the test set in"
    assert message in last_error(run, "--average", "2", "--data", data)
    assert files(run / "evaluation") == earlier
    reference.write_bytes(b"\xff\n" * 12)
    assert "not UTF-8" in last_error(run, "--average", "2", "--data", data)
    reference.write_text("\n".join(lines) + "\n")
    for language in ("en", "de"):
        dictionary = (data / f"dict.{language}.txt").read_text().splitlines()
        (data / f"dict.{language}.txt").write_text("\n".join(dictionary[:-3]) + "\n")
    message = last_error(run, "--average", "2", "--data", data)
    assert "is of another vocabulary" in message
    # The cause is gone, and the same command goes on.
    shutil.copytree(record["data"], data, dirs_exist_ok=True)
    assert "tokenised BLEU" in evaluate(run, "--average", "2", "--data", data).stdout


def test_one_process_at_a_time_and_no_orphans(run):
    """Killed alone, evaluation takes fairseq-generate with it, which would write into the next one's file."""
    with open(run / "evaluation" / ".lock", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "another process works in" in last_error(run, "--average", "2")
    words = [str(SCRIPTS / "evaluate.sh"), str(run), "--average", "1"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "translating the test set" in line:
            time.sleep(1)
            break
    process.kill()
    process.wait()
    process.stderr.close()
    deadline = time.monotonic() + 10
    while str(run) in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < deadline, "the translation goes on"
        time.sleep(0.05)
    assert "tokenised BLEU" in evaluate(run, "--average", "1").stdout


def test_a_training_that_has_not_ended_is_said(run):
    (run / "exit_status").unlink()
    assert "its training has not come to its end" in evaluate(run, "--average", "2").stderr


def test_translations_from_elsewhere(reproduced, tmp_path):
    references = ["The well-known house is old.", "It isn't new, is it?"]
    systems = {"one": ["The well-known house is old.", "It isn't old, is it?"], "two": ["A house.", "It is new."]}
    (tmp_path / "reference").write_bytes(text(references))
    arguments = ["--reference", tmp_path / "reference", "--target-lang", "en", "--resamples", "20"]
    for name, lines in systems.items():
        (tmp_path / name).write_bytes(text(lines))
        arguments += ["--system", f"{name}={tmp_path / name}"]
    output = evaluate(*arguments).stdout
    for name, lines in systems.items():
        expected = PaperScorer([references], "en").score(lines)
        assert f"{name}: tokenised BLEU = {expected.tokenised:.2f}" in output
    # Mistakes end in one line here too.
    assert "argument --resamples: 'x' is not a whole number above 0" in last_error(*arguments, "--resamples", "x")
    without_language = [word for word in arguments if word not in ("--target-lang", "en")]
    assert "BLEU on tokens needs the language of the tokens; give --target-lang" in last_error(*without_language)
    # The output of fairseq-generate, whole and cut off.
    translations = reproduced[0] / "wmt14_en_de-rdrop" / "evaluation" / "translations.txt"
    data = reproduced[0].parent / "data" / "bin"
    one = ["--reference", data / "reference.de", "--target-lang", "de", "--system", f"r={tmp_path / 'log'}"]
    shutil.copy(translations, tmp_path / "log")
    assert "tokenised BLEU" in evaluate(*one).stdout
    content = translations.read_bytes()
    (tmp_path / "log").write_bytes(content[: len(content) // 2])
    assert "was cut off" in last_error(*one)

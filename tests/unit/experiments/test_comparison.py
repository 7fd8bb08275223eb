"""Evaluating a run of scripts/train.sh in this process: earlier results stay until better ones are complete."""

import fcntl
import json
import shutil
from pathlib import Path

import fairseq_tools
import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat import load_checkpoint, save_checkpoint
from rdrop_fairseq.experiments.__main__ import evaluate_command, train_command
from rdrop_fairseq.experiments.translation import Translation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evaluated(data_bin, parallel_text, tmp_path_factory):
    """A run of 4 updates with two checkpoints, evaluated."""
    run = tmp_path_factory.mktemp("runs") / "run"
    words = [
        "wmt14_en_de", *fairseq_tools.TINY_TRANSFORMER, "--num-workers", "0", "--cpu", "--tokens-per-update", "100",
        "--max-tokens", "100", "--max-update", "4", "--save-interval-updates", "2", "--data", data_bin,
        "--run-dir", run,
    ]  # fmt: skip
    assert train_command([str(word) for word in words]) == 0
    score(run, parallel_text)
    return run


@pytest.fixture
def run(evaluated, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(evaluated, tmp_path / "run"))


def score(run, parallel_text, *words):
    reference = [] if "--reference" in words else ["--reference", parallel_text / "test.de"]
    choice = [] if "--checkpoint" in words or "--average" in words else ["--average", "2"]
    evaluate_command([str(word) for word in (run, "--cpu", "--resamples", "5", *reference, *choice, *words)])


def contents(run) -> dict:
    files = (run / "evaluation").rglob("*")
    return {path.name: path.read_bytes() for path in files if path.name != ".lock" and ".partial" not in path.name}


def edit_settings(run, settings) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "settings": settings}))


def assert_refused(run, parallel_text, words, message) -> None:
    """In one line, before anything was translated, and with the earlier results as they were."""
    before = contents(run)
    with pytest.raises(UserError) as error:
        score(run, parallel_text, *words)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert contents(run) == before and not (run / "evaluation" / "translations.partial").exists()


def test_scores_say_what_they_are_of(evaluated):
    scores = json.loads((evaluated / "evaluation" / "scores.json").read_text())
    origin = "average of 2 checkpoints, checkpoint_1_2.pt to checkpoint_1_4.pt; --beam 4 --lenpen 0.6"
    assert scores["systems"][0]["origin"] == origin
    assert origin in (evaluated / "evaluation" / "scores.md").read_text()
    assert set(contents(evaluated)) == {
        "average.pt", "translations.txt", "translations.json", "command.txt", "scores.json", "scores.md"
    }  # fmt: skip
    command = (evaluated / "evaluation" / "command.txt").read_text()
    assert f"--path {evaluated}/evaluation/average.pt " in command


@pytest.mark.parametrize(
    "words, message",
    [
        (["--beam", "2", "--resample", "20"], "--resample is no flag of fairseq-generate"),
        (["--beam", "many"], "--beam many: invalid int value"),
        (["--beam=1", "run2"], "run2 belongs to no option"),
        (["--json", "x.json"], "--json is for translations from elsewhere; the scores of a run are in RUN/evaluation"),
        (["--quiet"], "--quiet would leave out translations"),
        (["--results-path", "x"], "--results-path is set by the script; the results are in RUN/evaluation"),
        (["--gen-subset", "valid"], "--gen-subset is set by the script"),
        (["--path", "x.pt"], "--path is set by the script; give --checkpoint FILE"),
        (["--resamples", "0"], "argument --resamples: '0' is not a whole number above 0; see scripts/evaluate.sh"),
        (["--seed", "0"], "argument --seed: '0' is not a whole number above 0"),
        (["--average", "0"], "argument --average: '0' is not a whole number above 0"),
        (["--average", "-1"], "argument --average: '-1' is not a whole number above 0"),
    ],
)
def test_mistakes_in_options(evaluated, parallel_text, words, message):
    assert_refused(evaluated, parallel_text, words, message)


def test_checkpoints_and_text_that_do_not_fit(run, data_bin, parallel_text, tmp_path):
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes((run / "checkpoints" / "checkpoint_last.pt").read_bytes()[:5000])
    assert_refused(run, parallel_text, ["--checkpoint", damaged], "damaged.pt is incomplete or damaged")
    short = tmp_path / "short"
    short.write_text("eins\nzwei\n")
    message = f"{short} has 2 lines, but the test set in {data_bin} has 15 sentences; give its text with --reference"
    assert_refused(run, parallel_text, ["--reference", short], message)
    larger, reversed_order, without_test = (Path(shutil.copytree(data_bin, tmp_path / name)) for name in "abc")
    for language in ("en", "de"):
        with open(larger / f"dict.{language}.txt", "a") as stream:
            stream.write("another 1\n")
        path = reversed_order / f"dict.{language}.txt"
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert_refused(run, parallel_text, ["--data", larger], "is of another vocabulary: 40 symbols")
    message = "is of another vocabulary: the dictionary of en was 40 symbols"
    assert_refused(run, parallel_text, ["--data", reversed_order], message)
    for path in without_test.glob("test.*"):
        path.unlink()
    assert_refused(run, parallel_text, ["--data", without_test], "no test data for en-de in")
    (without_test / "dict.de.txt").unlink()
    assert_refused(run, parallel_text, ["--data", without_test], "has no dict.de.txt")


def test_text_that_would_stay_split(run, data_bin, parallel_text, tmp_path):
    """Without preparation.json nothing tells fairseq-generate how to join the sub-words."""
    data = Path(shutil.copytree(data_bin, tmp_path / "data"))
    edit_settings(run, {})
    for language in ("en", "de"):
        path = data / f"dict.{language}.txt"
        path.write_text(path.read_text().replace("word", "\u2581word"), encoding="utf-8")
    assert_refused(run, parallel_text, ["--data", data], "give --post-process sentencepiece, or scores would be those")
    score(run, parallel_text, "--data", data, "--post-process", "sentencepiece")
    assert (
        "\u2581" not in (run / "evaluation" / "translations.txt").read_text(encoding="utf-8").split("\nD-0\t")[1][:40]
    )


def test_sentences_longer_than_the_model_was_trained_for(run, parallel_text):
    """A model that computes its positions takes them if it is told to."""
    lengths = [len(line.split()) + 1 for line in (parallel_text / "test.en").read_text().splitlines()]
    edit_settings(run, {"--max-source-positions": "5"})
    for path in (run / "checkpoints").glob("*.pt"):
        state = load_checkpoint(path)
        model = state["cfg"]["model"]
        (model if isinstance(model, dict) else vars(model))["max_source_positions"] = 5
        save_checkpoint(state, path)
    line, length = lengths.index(max(lengths)) + 1, max(lengths)
    message = (
        f"line {line} of the source in {json.loads((run / 'run.json').read_text())['data']} has {length} sub-words "
    )
    message += f"and the model takes 5; give --max-source-positions {length}, or give --truncate-source"
    assert_refused(run, parallel_text, [], message)
    score(run, parallel_text, "--max-source-positions", length)
    assert "--model-overrides" in (run / "evaluation" / "command.txt").read_text()


def test_text_is_read_as_in_training(run, parallel_text):
    flags = {
        "--max-source-positions": "7000", "--max-target-positions": "7000", "--truncate-source": None,
        "--left-pad-source": "False", "--dataset-impl": "mmap", "--dropout": "0.2",
    }  # fmt: skip
    edit_settings(run, flags)
    command = " ".join(Translation(run, average=1, reference=parallel_text / "test.de", cpu=True).generation_command())
    assert "--dropout" not in command
    for flag, value in list(flags.items())[:-1]:
        assert f" {flag}{f' {value}' if value else ''} " in command


def test_results_stay_until_new_ones_are_complete(run, parallel_text, monkeypatch):
    before = contents(run)
    with monkeypatch.context() as patched:
        patched.setattr(Translation, "generation_command", lambda *_, **__: ["false"])
        with pytest.raises(UserError, match="false failed with status 1"):
            score(run, parallel_text, "--average", "1")
    assert contents(run) == before
    # Options of ours may follow those of fairseq-generate.
    score(run, parallel_text, "--beam", "2", "--resamples", "20")
    assert json.loads((run / "evaluation" / "scores.json").read_text())["resamples"] == 20
    assert set(contents(run)) == set(before) and contents(run)["translations.txt"] != before["translations.txt"]
    score(run, parallel_text, "--checkpoint", run / "evaluation" / "average.pt", "--beam", "2")
    assert contents(run)["average.pt"] == before["average.pt"]
    score(run, parallel_text, "--checkpoint", run / "checkpoints" / "checkpoint_last.pt")
    assert "average.pt" not in contents(run)
    assert '"checkpoint_last.pt; --beam 4 --lenpen 0.6"' in (run / "evaluation" / "scores.json").read_text()


def translate_while(monkeypatch, run, command) -> None:
    """Have evaluation run a command of the shell while it translates, which is to bring the same translations."""
    copy = run / "earlier.txt"
    shutil.copyfile(run / "evaluation" / "translations.txt", copy)
    words = ["sh", "-ec", f"cat '{copy}'; cd '{run}/checkpoints'; {command}"]
    monkeypatch.setattr(Translation, "generation_command", lambda *_, **__: words)


def test_a_checkpoint_that_training_replaces_meanwhile(run, parallel_text, monkeypatch, capsys):
    """The translations are not taken for those of the new one."""
    best = run / "checkpoints" / "checkpoint_best.pt"
    shutil.copyfile(run / "checkpoints" / "checkpoint_last.pt", best)
    with monkeypatch.context() as patched:
        translate_while(patched, run, "cp checkpoint_last.pt new; mv new checkpoint_best.pt")
        score(run, parallel_text, "--checkpoint", best)
    assert "checkpoints have changed meanwhile; evaluate again" in capsys.readouterr().err
    translate_while(monkeypatch, run, ":")
    for expected in ("translating the test set", "translated before"):
        score(run, parallel_text, "--checkpoint", best)
        message = capsys.readouterr().err
        assert expected in message and "meanwhile" not in message


def test_a_checkpoint_that_training_removes_meanwhile(run, parallel_text, monkeypatch):
    """After it was read nothing is lost; before, evaluation says what to do."""
    checkpoint = run / "checkpoints" / "checkpoint_1_2.pt"
    copy = shutil.copy2(checkpoint, run / "copy.pt")
    before = contents(run)
    translate_while(monkeypatch, run, "rm checkpoint_1_2.pt")
    score(run, parallel_text, "--beam", "2")
    assert contents(run)["scores.json"] != before["scores.json"] and "translations.json" in contents(run)
    for step, removed in (("check", "checkpoint_1_2.pt"), ("_check_test_set", "checkpoint_1_4.pt")):
        shutil.copy2(copy, checkpoint)
        with monkeypatch.context() as patched:
            patched.setattr(Translation, step, lambda *_, name=removed: (run / "checkpoints" / name).unlink())
            assert_refused(run, parallel_text, [], f"{removed} was removed meanwhile, by a training that goes on; ev")


def test_damaged_translations_are_made_again(run, parallel_text, capsys):
    translations = run / "evaluation" / "translations.txt"
    whole = translations.read_bytes()
    score(run, parallel_text)
    assert "translated before" in capsys.readouterr().err
    translations.write_bytes(whole[:-500])
    score(run, parallel_text)
    assert "translating the test set" in capsys.readouterr().err
    assert len(translations.read_bytes().splitlines()) == len(whole.splitlines())
    for content in (b"[" * 100_000, b"\xff", b"null"):
        (run / "evaluation" / "translations.json").write_bytes(content)
        assert not Translation(run, average=2, reference=parallel_text / "test.de", cpu=True).has_translations()


def test_translations_of_a_comparison_that_are_replaced(run, parallel_text, tmp_path, monkeypatch, capsys):
    """The comparison is in the folder of the other run, and keeps the earlier scores."""
    other = Path(shutil.copytree(run, tmp_path / "other"))
    translate_while(monkeypatch, run, ":")
    for words, is_said in (([other, "--beam", "2"], False), (["--beam", "3"], True), (["--beam", "3"], False)):
        score(run, parallel_text, *words)
        assert ("comparisons of its earlier translations" in capsys.readouterr().err) == is_said
    comparison = (other / "evaluation" / "comparison.md").read_text()
    assert (
        "run: average of 2 checkpoints, checkpoint_1_2.pt to checkpoint_1_4.pt; --beam 4 --lenpen 0.6 --beam 2"
        in comparison
    )


def test_runs_that_cannot_be_evaluated(run, parallel_text, tmp_path):
    with open(run / "evaluation" / ".lock", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert_refused(run, parallel_text, [], "another process works in")
    renamed = Path(shutil.copytree(run, tmp_path / "a:b"))
    assert_refused(renamed, parallel_text, ["--beam", "1"], "for several paths, because of its :; rename that folder")
    shutil.rmtree(run / "evaluation")
    (run / "evaluation").touch()
    with pytest.raises(UserError, match="cannot write to .*evaluation: .*; free space, or evaluate a copy of"):
        score(run, parallel_text)
    (run / "run.json").write_text("{}")
    with pytest.raises(UserError, match="run.json is not what .*it lacks config.; train again, or score"):
        score(run, parallel_text)
    with pytest.raises(UserError, match="give a RUN that scripts/train.sh made, or translations with --system"):
        evaluate_command(["--reference", str(parallel_text / "test.de"), "--target-lang", "de"])

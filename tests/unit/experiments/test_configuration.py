"""Reading configurations: what is in them, and every mistake named with its file, line and flag."""

import subprocess
import sys
from pathlib import Path

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import read_configuration

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = """\
# an experiment
[model]
--arch transformer
[training]
--lr 0.001            # a comment behind a value
--adam-betas (0.9, 0.98)
--eval-bleu
--eval-bleu-args {"beam": 5, "max_len_b": 10}
[batch]
--max-tokens 100
--tokens-per-update 400
[baseline]
--task translation
--criterion label_smoothed_cross_entropy
[rdrop]
--task rdrop_translation
--criterion label_smoothed_cross_entropy_with_rdrop
--rdrop-alpha 5
[data]
--recipe small
--source-lang en
--target-lang de
[evaluation]
--beam 4
--average-checkpoints 3
"""


def write(folder, text: str) -> Path:
    path = folder / "small.args"
    path.write_text(text, encoding="utf-8")
    return path


def test_values(tmp_path):
    configuration = read_configuration(write(tmp_path, SMALL))
    assert configuration.name == configuration.recipe == "small"
    assert (configuration.source_language, configuration.target_language) == ("en", "de")
    assert (configuration.max_tokens, configuration.tokens_per_update) == (100, 400)
    assert configuration.average == 3
    assert [setting.words for setting in configuration.generation] == [["--beam", "4"]]
    training = {setting.flag: setting.value for setting in configuration.training("rdrop")}
    assert training == {
        "--arch": "transformer", "--lr": "0.001", "--adam-betas": "(0.9, 0.98)", "--eval-bleu": None,
        "--eval-bleu-args": '{"beam": 5, "max_len_b": 10}', "--task": "rdrop_translation",
        "--criterion": "label_smoothed_cross_entropy_with_rdrop", "--rdrop-alpha": "5",
    }  # fmt: skip
    baseline = {setting.flag for setting in configuration.training("baseline", with_model=False)}
    assert "--rdrop-alpha" not in baseline and "--arch" not in baseline and "--lr" in baseline
    best = SMALL.replace("--average-checkpoints 3", "--checkpoint best")
    assert read_configuration(write(tmp_path, best)).average is None


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("[batch]", "[bach]", 9, "unknown section [bach]; did you mean batch?"),
        ("[batch]", "[batch", 9, "unknown section [batch; did you mean batch?"),
        ("[batch]", "[model]", 9, "the section [model] is there twice"),
        ("--max-tokens 100", "--max-token 100", 10, "unknown key --max-token in [batch]; did you mean --max-tokens?"),
        ("--recipe small", "--quality high", 20, "unknown key --quality in [data]; [data] has --recipe, "),
        ("--max-tokens 100", "--max-tokens", 10, "--max-tokens needs a value"),
        ("--max-tokens 100", "--max-tokens 1e3", 10, "--max-tokens is 1e3; give a whole number above 0"),
        ("--tokens-per-update 400", "--tokens-per-update 0", 11, "--tokens-per-update is 0; give a whole number"),
        ("--average-checkpoints 3", "--average-checkpoints x", 25, "--average-checkpoints is x; give a whole number"),
        ("--average-checkpoints 3", "--checkpoint last", 25, "--checkpoint is last; the only choice is best"),
        ("--average-checkpoints 3", "--checkpoint", 25, "--checkpoint needs a value"),
        ("--beam 4", "--average-checkpoints 4", 25, "--average-checkpoints is given twice, first in"),
        ("--eval-bleu\n", "--lr 0.1\n", 7, "--lr is given twice, first in"),
        ("--rdrop-alpha 5", "--lr 0.1", 18, "--lr is given twice, first in"),
        ("--lr 0.001", "-lr 0.001", 5, "-lr is no flag; write --flag, or --flag VALUE, one a line"),
        ("--lr 0.001", "lr=0.001", 5, "lr=0.001 is no flag"),
        ("[model]", "", 3, "--arch stands before the first section"),
        ("--arch transformer", "", None, "--arch is missing in [model]"),
        ("--target-lang de", "", None, "--target-lang is missing in [data]"),
        ("--task translation", "", None, "--task is missing in [baseline]"),
        ("--average-checkpoints 3", "", None, "[evaluation] needs one of --average-checkpoints K and --checkpoint"),
        ("[evaluation]\n--beam 4\n--average-checkpoints 3\n", "", None, "the section [evaluation] is missing"),
    ],
)
def test_mistakes_name_file_line_and_flag(tmp_path, old, new, line, message):
    assert SMALL.count(old) == 1
    path = write(tmp_path, SMALL.replace(old, new))
    with pytest.raises(UserError) as error:
        read_configuration(path)
    place = path if line is None else f"{path}:{line}"
    assert str(error.value).startswith(f"{place}: {message}")


def test_a_byte_order_mark_changes_nothing(tmp_path):
    path = tmp_path / "small.args"
    path.write_text(SMALL, encoding="utf-8-sig")
    assert read_configuration(path).sections["training"][0].words == ["--lr", "0.001"]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot read configuration .*absent.args: No such file"):
        read_configuration(tmp_path / "absent.args")
    (tmp_path / "latin.args").write_bytes(b"# M\xfcller\n")
    with pytest.raises(UserError, match="latin.args is not UTF-8 text"):
        read_configuration(tmp_path / "latin.args")


def test_command_line_prints_flags_for_a_shell(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "rdrop_fairseq.experiments.configuration", write(tmp_path, SMALL), "training", "data"],
        capture_output=True, text=True, cwd=REPOSITORY, check=True,
    )  # fmt: skip
    assert result.stdout.splitlines() == [
        "--lr", "0.001", "--adam-betas", "(0.9, 0.98)", "--eval-bleu", "--eval-bleu-args",
        '{"beam": 5, "max_len_b": 10}', "--recipe", "small", "--source-lang", "en", "--target-lang", "de",
    ]  # fmt: skip

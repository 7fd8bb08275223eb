"""Reading configurations: what is in them, and every mistake named with its file, line and flag."""

from pathlib import Path

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import find_configuration, read_configuration

SMALL = """\
# an experiment
model:
  arch: transformer
training:
  lr: 0.001            # a comment behind a value
  adam-betas: (0.9, 0.98)
  eval-bleu: true
  eval-bleu-args: '{"beam": 5, "max_len_b": 10}'
  warmup-init-lr: 1e-07
batch:
  max-tokens: 100
  tokens-per-update: 400
baseline:
  task: translation
  criterion: label_smoothed_cross_entropy
rdrop:
  task: rdrop_translation
  criterion: label_smoothed_cross_entropy_with_rdrop
  rdrop-alpha: 5
data:
  recipe: small
  source-lang: en
  target-lang: de
evaluation:
  beam: 4
  average-checkpoints: 3
"""


def write(folder, text: str) -> Path:
    path = folder / "small.yaml"
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
        "--eval-bleu-args": '{"beam": 5, "max_len_b": 10}', "--warmup-init-lr": "1e-07", "--task": "rdrop_translation",
        "--criterion": "label_smoothed_cross_entropy_with_rdrop", "--rdrop-alpha": "5",
    }  # fmt: skip
    baseline = {setting.flag for setting in configuration.training("baseline", with_model=False)}
    assert "--rdrop-alpha" not in baseline and "--arch" not in baseline and "--lr" in baseline
    best = SMALL.replace("average-checkpoints: 3", "checkpoint: best")
    assert read_configuration(write(tmp_path, best)).average is None


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("batch:", "bach:", 10, "unknown section bach; did you mean batch?"),
        ("batch:", "model:", 10, "the section model is there twice"),
        ("max-tokens: 100", "max-token: 100", 11, "unknown key --max-token in batch; did you mean --max-tokens?"),
        ("recipe: small", "quality: high", 21, "unknown key --quality in data; data has --recipe, "),
        ("max-tokens: 100", "max-tokens:", 11, "--max-tokens needs a value"),
        ("max-tokens: 100", "max-tokens: true", 11, "--max-tokens needs a value"),
        ("max-tokens: 100", "max-tokens: 1e3", 11, "--max-tokens is 1e3; give a whole number above 0"),
        ("tokens-per-update: 400", "tokens-per-update: 0", 12, "--tokens-per-update is 0; give a whole number"),
        ("average-checkpoints: 3", "average-checkpoints: x", 26, "--average-checkpoints is x; give a whole number"),
        ("average-checkpoints: 3", "checkpoint: last", 26, "--checkpoint is last; the only choice is best"),
        ("average-checkpoints: 3", "checkpoint:", 26, "--checkpoint needs a value"),
        ("beam: 4", "average-checkpoints: 4", 26, "--average-checkpoints is given twice, first in"),
        ("eval-bleu: true", "lr: 0.1", 7, "--lr is given twice, first in"),
        ("eval-bleu: true", "eval-bleu: false", 7, "--eval-bleu is false; a switch is true, or left out"),
        ("rdrop-alpha: 5", "lr: 0.1", 19, "--lr is given twice, first in"),
        ("lr: 0.001", "--lr: 0.001", 5, "--lr is no flag; write it without dashes in front"),
        ("lr: 0.001", "lr: [0.001]", 5, "--lr has a list or a mapping; put its value into quotation marks"),
        ("lr: 0.001", "lr=0.001", 6, "no YAML ("),
        ("lr: 0.001", "? [a]\n  : 1", None, "the section training has a key that is no word (line 5)"),
        ("recipe: small", "- recipe", 22, "no YAML ("),
        ("  arch: transformer", "  arch", 2, "the section model holds no flags"),
        ("  arch: transformer\n", "", None, "--arch is missing in model"),
        ("  target-lang: de\n", "", None, "--target-lang is missing in data"),
        ("  task: translation\n", "", None, "--task is missing in baseline"),
        ("  average-checkpoints: 3\n", "", None, "evaluation needs one of average-checkpoints: K and checkpoint: be"),
        ("evaluation:\n  beam: 4\n  average-checkpoints: 3\n", "", None, "the section evaluation is missing"),
    ],
)
def test_mistakes_name_file_line_and_flag(tmp_path, old, new, line, message):
    assert SMALL.count(old) == 1
    path = write(tmp_path, SMALL.replace(old, new))
    with pytest.raises(UserError) as error:
        read_configuration(path)
    assert str(error.value).startswith(f"{path}:{line}: {message}" if line else str(path))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_byte_order_mark_changes_nothing(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8-sig")
    assert read_configuration(path).sections["training"][0].words == ["--lr", "0.001"]


def test_a_section_without_flags(tmp_path):
    text = SMALL[: SMALL.index("  lr:")] + SMALL[SMALL.index("batch:") :]
    assert read_configuration(write(tmp_path, text)).sections["training"] == ()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot read configuration .*absent.yaml: No such file"):
        read_configuration(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"# M\xfcller\n")
    with pytest.raises(UserError, match="latin.yaml is not UTF-8 text"):
        read_configuration(tmp_path / "latin.yaml")
    for text, reason in (("", "is empty"), ("# nothing\n", "is empty"), ("[1]", "holds no flags")):
        with pytest.raises(UserError, match=f"small.yaml {reason}"):
            read_configuration(write(tmp_path, text))


def test_a_configuration_of_the_earlier_form(tmp_path):
    with pytest.raises(UserError, match="own.args is of rdrop_fairseq 0.1; configurations are YAML now"):
        find_configuration(str(tmp_path / "own.args"))

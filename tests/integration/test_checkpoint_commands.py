"""fairseq-generate, -interactive, -validate and the averaging, on checkpoints trained with and without R-Drop."""

import argparse
import re
import sys

import fairseq_tools
import pytest
from training_runs import EIGHT_UPDATES, EVAL_BLEU, RDROP, train

from rdrop_fairseq.compat import load_checkpoint, save_checkpoint

SENTENCES = 15
DECODING = "--source-lang en --target-lang de --beam 2 --max-len-b 10 --cpu --num-workers 0".split()
WITH_PLUGIN = ("--user-dir", fairseq_tools.PLUGIN)
# Since torch 2.6 fairseq by itself cannot load a checkpoint of its own: it holds an argparse.Namespace.
PLAIN_FAIRSEQ = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


def hypotheses(output: str) -> dict:
    """Number of the sentence -> its best translation."""
    return {int(number): text for number, text in re.findall(r"^H-(\d+)\t\S+\t(.*)$", output, re.MULTILINE)}


def generate(data_bin, checkpoint, *arguments, plugin=WITH_PLUGIN, **options):
    return fairseq_tools.run(
        "fairseq-generate", data_bin, "--path", checkpoint, *plugin, *DECODING, *arguments, **options
    )


def validate(data_bin, checkpoint, *arguments, plugin=WITH_PLUGIN, **options):
    """fairseq-validate's figures."""
    result = fairseq_tools.run(
        "fairseq-validate", data_bin, "--path", checkpoint, *plugin, "--task", "translation",
        "--max-tokens", "100", "--cpu", "--num-workers", "0", "--log-format", "json", *arguments, **options,
    )  # fmt: skip
    (figures,) = fairseq_tools.logged(result.stdout, "valid")
    return figures


@pytest.fixture(scope="session")
def averaged(rdrop_run, tmp_path_factory):
    """The average of the R-Drop run's checkpoints after updates 4 and 8."""
    output = tmp_path_factory.mktemp("averaged") / "averaged.pt"
    fairseq_tools.run(
        sys.executable, "-m", "rdrop_fairseq.evaluation.average", "--inputs",
        rdrop_run.folder / "checkpoint_1_4.pt", rdrop_run.folder / "checkpoint_last.pt", "--output", output,
        cwd=fairseq_tools.PLUGIN.parent,
    )  # fmt: skip
    return output


def test_generation_does_not_depend_on_the_task(rdrop_run, data_bin):
    checkpoint = rdrop_run.folder / "checkpoint_best.pt"
    every_sentence = ("--required-batch-size-multiple", "1")
    outputs = [
        generate(data_bin, checkpoint, *every_sentence, "--task", task).stdout
        for task in ("rdrop_translation", "translation")
    ]
    translations = hypotheses(outputs[0])
    assert sorted(translations) == list(range(SENTENCES)) and all(translations.values())
    assert outputs[0] == outputs[1]


def test_left_out_sentences_are_reported(plain_run, data_bin):
    """fairseq's default drops a last batch that is no multiple of 8. The checkpoint is one of another criterion."""
    result = generate(data_bin, plain_run.folder / "checkpoint_best.pt", "--task", "rdrop_translation")
    left_out = SENTENCES - len(hypotheses(result.stdout))
    message = f"fairseq leaves out {left_out} of {SENTENCES} sentences"
    assert (message in result.stdout + result.stderr) is (left_out > 0)


def test_interactive_translates_the_same(rdrop_run, averaged, data_bin, parallel_text):
    source = (parallel_text / "test.en").read_text()
    result = fairseq_tools.run(
        "fairseq-interactive", data_bin, "--path", averaged, *WITH_PLUGIN, *DECODING, "--task", "rdrop_translation",
        input=source,
    )  # fmt: skip
    translations = hypotheses(result.stdout)
    assert sorted(translations) == list(range(SENTENCES))
    assert translations == hypotheses(generate(data_bin, averaged, "--required-batch-size-multiple", "1").stdout)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"criterion": {"_name": RDROP, "rdrop_alpha": 5.0, "label_smoothing": 0.1}},
        {"task": {"_name": "rdrop_translation"}},
    ],
    ids=["as it is", "R-Drop criterion", "R-Drop task"],
)
def test_validation_of_a_plain_checkpoint(plain_run, data_bin, overrides):
    """The same figures as at the end of its training, whichever criterion and task compute them."""
    figures = validate(data_bin, plain_run.folder / "checkpoint_last.pt", "--model-overrides", overrides)
    expected = fairseq_tools.logged(plain_run.output, "valid")[-1]
    for key in ("valid_loss", "valid_nll_loss", "valid_ppl", "valid_accuracy"):
        assert figures[key] == expected[key]


@pytest.mark.parametrize(
    "overrides", [(), ("--model-overrides", "{'criterion': {'_name': 'label_smoothed_cross_entropy'}}")],
    ids=["as it is", "with the plain criterion"],
)  # fmt: skip
def test_validation_of_an_rdrop_checkpoint(rdrop_run, data_bin, overrides):
    figures = validate(data_bin, rdrop_run.folder / "checkpoint_last.pt", *overrides)
    expected = fairseq_tools.logged(rdrop_run.output, "valid")[-1]
    for key in ("valid_loss", "valid_nll_loss", "valid_ppl", "valid_accuracy"):
        assert figures[key] == expected[key]


def test_validation_of_an_averaged_checkpoint(averaged, rdrop_run, data_bin):
    first, last = (float(entry["valid_nll_loss"]) for entry in fairseq_tools.logged(rdrop_run.output, "valid"))
    assert last <= float(validate(data_bin, averaged)["valid_nll_loss"]) <= first


def test_an_rdrop_checkpoint_names_what_plain_fairseq_knows(rdrop_run):
    """In every file: the one that fairseq writes, and those that it copies. What R-Drop was told is kept."""
    paths = sorted(rdrop_run.folder.glob("*.pt"))
    assert len(paths) == 3
    for path in paths:
        state = load_checkpoint(path)
        cfg = state["cfg"]
        assert cfg["task"]["_name"] == cfg["model"].task == "translation"
        assert (
            cfg["criterion"]["_name"] == "label_smoothed_cross_entropy" and cfg["criterion"]["label_smoothing"] == 0.1
        )
        assert not any(key.startswith("rdrop") for key in [*cfg["criterion"], *cfg["task"]])
        told = state["extra_state"]["rdrop_criterion"]
        assert (told["_name"], told["rdrop_alpha"], told["rdrop_passes"]) == (RDROP, 5.0, 2)


def test_plain_fairseq_translates_with_an_rdrop_checkpoint(rdrop_run, data_bin, parallel_text):
    """fairseq-generate, fairseq-interactive and the hub, without the plugin."""
    checkpoint, options = rdrop_run.folder / "checkpoint_best.pt", {"plugin": (), "env": PLAIN_FAIRSEQ}
    every_sentence = ("--required-batch-size-multiple", "1")
    expected = generate(data_bin, checkpoint, *every_sentence)
    assert generate(data_bin, checkpoint, *every_sentence, **options).stdout == expected.stdout
    source = (parallel_text / "test.en").read_text()
    interactive = fairseq_tools.run(
        "fairseq-interactive", data_bin, "--path", checkpoint, *DECODING, input=source, env=PLAIN_FAIRSEQ
    )
    assert hypotheses(interactive.stdout) == hypotheses(expected.stdout)
    assert translated_by_the_hub(checkpoint, data_bin, source, env=PLAIN_FAIRSEQ) == hypotheses(expected.stdout)


HUB = """
import sys
from fairseq.models.transformer import TransformerModel
folder, data, *user_dir = sys.argv[1:]
options = {"user_dir": user_dir[0]} if user_dir else {}
model = TransformerModel.from_pretrained(folder, "checkpoint_best.pt", data, **options)
assert ("rdrop_fairseq" in sys.modules) == bool(user_dir)
for number, line in enumerate(model.translate(sys.stdin.read().splitlines(), beam=2, max_len_b=10)):
    print(f"H-{number}\t0\t{line}")
"""


def translated_by_the_hub(checkpoint, data_bin, source, *user_dir, **options) -> dict:
    """The translations of fairseq's hub interface, which builds the task that the checkpoint names."""
    arguments = (checkpoint.parent, data_bin, *user_dir)
    return hypotheses(fairseq_tools.run(sys.executable, "-c", HUB, *arguments, input=source, **options).stdout)


def test_plain_fairseq_validates_an_rdrop_checkpoint(rdrop_run, data_bin):
    figures = validate(data_bin, rdrop_run.folder / "checkpoint_last.pt", plugin=(), env=PLAIN_FAIRSEQ)
    expected = fairseq_tools.logged(rdrop_run.output, "valid")[-1]
    for key in ("valid_loss", "valid_nll_loss", "valid_ppl", "valid_accuracy"):
        assert figures[key] == expected[key]


@pytest.fixture
def old_run(rdrop_run, tmp_path):
    """A folder with a checkpoint of update 4 as the plugin used to write it, with the names of R-Drop."""
    state = load_checkpoint(rdrop_run.folder / "checkpoint_1_4.pt")
    cfg = state["cfg"]
    cfg["task"]["_name"] = "rdrop_translation"
    cfg["criterion"] = state["extra_state"].pop("rdrop_criterion")
    cfg["model"] = argparse.Namespace(**{**vars(cfg["model"]), "task": "rdrop_translation"})
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        save_checkpoint(state, tmp_path / name)
    return tmp_path


def test_old_checkpoints_still_serve(old_run, rdrop_run, data_bin, parallel_text):
    """Those that name the task rdrop_translation: validation, the hub and resuming, with the plugin."""
    first = fairseq_tools.logged(rdrop_run.output, "valid")[0]
    assert validate(data_bin, old_run / "checkpoint_last.pt")["valid_loss"] == first["valid_loss"]
    source = (parallel_text / "test.en").read_text()
    translations = translated_by_the_hub(old_run / "checkpoint_best.pt", data_bin, source, fairseq_tools.PLUGIN)
    assert sorted(translations) == list(range(SENTENCES))
    resumed = train(
        data_bin, old_run, RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1", "--report-accuracy",
        *EIGHT_UPDATES, *EVAL_BLEU,
    )  # fmt: skip
    assert (
        fairseq_tools.logged(resumed.output, "train_inner")[-1]
        == fairseq_tools.logged(rdrop_run.output, "train_inner")[-1]
    )
    assert load_checkpoint(old_run / "checkpoint_last.pt")["cfg"]["task"]["_name"] == "translation"

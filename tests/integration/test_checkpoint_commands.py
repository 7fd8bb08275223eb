"""fairseq-generate, -interactive, -validate and the averaging, on checkpoints trained with and without R-Drop."""

import re
import sys

import fairseq_tools
import pytest
from training_runs import RDROP

SENTENCES = 15
DECODING = "--source-lang en --target-lang de --beam 2 --max-len-b 10 --cpu --num-workers 0".split()
WITH_PLUGIN = ("--user-dir", fairseq_tools.PLUGIN)


def hypotheses(output: str) -> dict:
    """Number of the sentence -> its best translation."""
    return {int(number): text for number, text in re.findall(r"^H-(\d+)\t\S+\t(.*)$", output, re.MULTILINE)}


def generate(data_bin, checkpoint, *arguments, **options):
    return fairseq_tools.run(
        "fairseq-generate", data_bin, "--path", checkpoint, *WITH_PLUGIN, *DECODING, *arguments, **options
    )


def validate(data_bin, checkpoint, *arguments, **options):
    """fairseq-validate's figures."""
    result = fairseq_tools.run(
        "fairseq-validate", data_bin, "--path", checkpoint, *WITH_PLUGIN, "--task", "translation",
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

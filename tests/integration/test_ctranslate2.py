"""A model trained with R-Drop, served by CTranslate2: its translations are those of fairseq-generate."""

import re

import fairseq_tools
import pytest
from training_runs import RDROP, train

ctranslate2 = pytest.importorskip("ctranslate2")

pytestmark = pytest.mark.slow

# The text that the model has seen: there it knows what it wants, and rounding changes little.
SPLIT = "train"
BEAM = 5


@pytest.fixture(scope="module")
def checkpoint(data_bin, tmp_path_factory):
    """After 200 updates."""
    run = train(
        data_bin, tmp_path_factory.mktemp("served"), RDROP, "--rdrop-alpha", "1", "--label-smoothing", "0.1",
        "--max-tokens", "200", "--max-update", "200", "--lr", "0.005", "--share-all-embeddings",
        "--validate-interval", "1000", "--save-interval", "1000", architecture=["--arch", "transformer_tiny"],
    )  # fmt: skip
    return run.folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def expected(checkpoint, data_bin):
    """fairseq-generate's best hypotheses, in the order of the text."""
    result = fairseq_tools.run(
        "fairseq-generate", data_bin, "--path", checkpoint, "--user-dir", fairseq_tools.PLUGIN, "--beam", BEAM,
        "--gen-subset", SPLIT, "--source-lang", "en", "--target-lang", "de", "--required-batch-size-multiple", "1",
        "--cpu", "--num-workers", "0",
    )  # fmt: skip
    numbered = re.findall(r"^H-(\d+)\t\S+\t(.*)$", result.stdout, re.MULTILINE)
    return [text for _, text in sorted(numbered, key=lambda pair: int(pair[0]))]


def served(checkpoint, data_bin, text, folder, number_format: str):
    """The translations of the converted model."""
    fairseq_tools.run(
        "ct2-fairseq-converter", "--model_path", checkpoint, "--data_dir", data_bin, "--user_dir", fairseq_tools.PLUGIN,
        "--output_dir", folder, "--quantization", number_format,
    )  # fmt: skip
    translator = ctranslate2.Translator(str(folder), device="cpu", compute_type=number_format, intra_threads=1)
    source = [line.split() for line in (text / f"{SPLIT}.en").read_text(encoding="utf-8").splitlines()]
    return [" ".join(result.hypotheses[0]) for result in translator.translate_batch(source, beam_size=BEAM)]


def test_float32_translates_the_same(checkpoint, data_bin, parallel_text, expected, tmp_path):
    translations = served(checkpoint, data_bin, parallel_text, tmp_path / "model", "float32")
    assert translations == expected
    assert len(set(translations)) > len(translations) / 2  # the model has learnt to tell sentences apart


def test_int8_translates_nearly_the_same(checkpoint, data_bin, parallel_text, expected, tmp_path):
    """68 of 80 lines were equal when this was written; of a model this small that depends on the machine a little."""
    translations = served(checkpoint, data_bin, parallel_text, tmp_path / "model", "int8")
    equal = sum(one == other for one, other in zip(translations, expected))
    assert len(translations) == len(expected) and 0.7 * len(expected) <= equal

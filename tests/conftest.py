"""Fixtures that several test modules share: a tiny binarised corpus, made once per session."""

import random
from pathlib import Path

import fairseq_tools
import pytest


@pytest.fixture(scope="session")
def parallel_text(tmp_path_factory) -> Path:
    """A folder with train, valid and test text, in a toy language pair whose target reverses each source."""
    folder = tmp_path_factory.mktemp("text")
    generator = random.Random(7)
    words = [f"word{number}" for number in range(30)]
    for split, size in (("train", 80), ("valid", 20), ("test", 15)):
        source = [" ".join(generator.choices(words, k=generator.randint(2, 9))) for _ in range(size)]
        target = [" ".join(reversed(line.split())) for line in source]
        (folder / f"{split}.en").write_text("\n".join(source) + "\n", encoding="utf-8")
        (folder / f"{split}.de").write_text("\n".join(target) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def data_bin(parallel_text, tmp_path_factory) -> Path:
    """The same text binarised by fairseq-preprocess with a joined dictionary."""
    folder = tmp_path_factory.mktemp("data") / "bin"
    fairseq_tools.run(
        "fairseq-preprocess", "--source-lang", "en", "--target-lang", "de", "--joined-dictionary",
        "--trainpref", parallel_text / "train", "--validpref", parallel_text / "valid",
        "--testpref", parallel_text / "test", "--destdir", folder, "--workers", "1",
    )  # fmt: skip
    return folder

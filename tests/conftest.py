"""Fixtures that several test modules share: a tiny binarised corpus, made once per session."""

from pathlib import Path

import fairseq_tools
import pytest


@pytest.fixture(scope="session")
def parallel_text(tmp_path_factory) -> Path:
    """A folder with train, valid and test text, in a toy language pair whose target reverses each source."""
    return fairseq_tools.write_parallel_text(tmp_path_factory.mktemp("text"))


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

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
    return fairseq_tools.binarise(parallel_text, tmp_path_factory.mktemp("data") / "bin")

"""The record of a preparation: written, read, and refused where it is none."""

import dataclasses
import json

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.binarised_data import RECORD_NAME, PreparationRecord, read_preparation, write_preparation

RECORD = PreparationRecord(
    recipe="iwslt14_de_en",
    source_language="de",
    target_language="en",
    tokenizer="moses",
    moses_no_dash_splits=True,
    moses_no_escape=False,
    lowercase=True,
    vocabulary_size=10000,
    test_set="TED \u00fc",
    sentences={"train": 9, "valid": 2, "test": 1},
    versions={"fairseq": "0.12"},
)


def test_what_was_written_is_read(tmp_path):
    assert read_preparation(tmp_path) is None
    write_preparation(RECORD, tmp_path)
    assert read_preparation(tmp_path) == RECORD


def test_flags_for_raw_text(tmp_path):
    subwords = ["--bpe", "sentencepiece", "--sentencepiece-model", str(tmp_path / "sentencepiece.model")]
    assert RECORD.text_flags(tmp_path) == [*subwords, "--tokenizer", "moses", "--moses-no-dash-splits"]
    changed = dataclasses.replace(RECORD, moses_no_dash_splits=False, moses_no_escape=True)
    assert changed.text_flags(tmp_path) == [*subwords, "--tokenizer", "moses", "--moses-no-escape"]
    assert dataclasses.replace(RECORD, tokenizer=None).text_flags(tmp_path) == subwords


@pytest.mark.parametrize("change", [
    {"recipe": None}, {"tokenizer": "spacy"}, {"lowercase": 1}, {"vocabulary_size": "many"}, {"sentences": [1]},
    {"sentences": {"train": "all"}}, {"versions": {"fairseq": 1}}, {"unknown": 1},
])  # fmt: skip
def test_what_no_preparation_writes(tmp_path, change):
    (tmp_path / RECORD_NAME).write_text(json.dumps({**dataclasses.asdict(RECORD), **change}))
    with pytest.raises(UserError, match="preparation.json .*run the prepare script again"):
        read_preparation(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff", b"[" * 100_000, b"{}"])
def test_what_is_no_record(tmp_path, content):
    (tmp_path / RECORD_NAME).write_bytes(content)
    with pytest.raises(UserError, match="preparation.json"):
        read_preparation(tmp_path)

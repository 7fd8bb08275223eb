"""The sample corpus is what the quickstart's published figures were measured on."""

import hashlib

from rdrop_fairseq.data.sample_corpus import write_sample_corpus


def test_it_is_written_as_it_was_generated(tmp_path):
    write_sample_corpus(tmp_path)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in tmp_path.iterdir()}
    assert digests == {
        "train.en": "afe33c788bb361cd",
        "train.de": "999281cba03999e9",
        "valid.en": "29f793ec62b6243a",
        "valid.de": "76eb2d4f584b178a",
        "test.en": "9c6bb89b7cf2d125",
        "test.de": "84a8477c9fefaf7b",
    }
    assert (tmp_path / "test.de").read_text(encoding="utf-8").count("\n") == 500

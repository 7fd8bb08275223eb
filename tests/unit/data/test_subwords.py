"""The sub-word model: its normaliser, the sample it learns from, and mistakes."""

import pytest
from official_archives import sentences, text

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import subwords


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(text(sentences("de", 400, 1)))
    return path


def test_a_sample_is_the_same_each_time(corpus, tmp_path):
    models = []
    for number in range(2):
        model = tmp_path / f"model{number}"
        subwords.learn([corpus], 60, model, most_lines=150)
        models.append(model.read_bytes())
    assert models[0] == models[1]


def test_characters_stay_as_they_are(corpus, tmp_path):
    """The normaliser is ``identity``: compatibility characters are not rewritten."""
    line = "\u00bd \ufb01 \u2026 \u00b2 e\u0301"
    corpus.write_bytes(corpus.read_bytes() + text([line] * 5))
    subwords.learn([corpus], 70, tmp_path / "model")
    assert subwords.decode(subwords.make_encode(tmp_path / "model")(line)) == line


def test_a_rare_letter_is_known(corpus, tmp_path):
    """Once in 23,000 characters: by default SentencePiece covers 99.95 percent, and no system could produce it."""
    corpus.write_bytes(text([*sentences("de", 600, 1), "a \u0142 b"]))
    subwords.learn([corpus], 70, tmp_path / "model")
    model = subwords.load_model(tmp_path / "model")
    assert model.piece_to_id("\u0142") != model.unk_id()


def test_the_number_of_workers_does_not_matter(corpus, tmp_path):
    subwords.learn([corpus], 60, tmp_path / "model")
    outputs = []
    for workers in (1, 2):
        subwords.encode_file(tmp_path / "model", corpus, tmp_path / str(workers), workers)
        outputs.append((tmp_path / str(workers)).read_bytes())
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") == 400


def test_mistakes(corpus, tmp_path):
    with pytest.raises(UserError, match="cannot learn 50000 sub-words"):
        subwords.learn([corpus], 50000, tmp_path / "model")
    with pytest.raises(UserError, match="input_sentence_size"):
        subwords.learn([corpus], 60, tmp_path / "model", most_lines=100)
    (tmp_path / "no model").write_text("text")
    with pytest.raises(UserError, match="no SentencePiece model"):
        subwords.make_encode(tmp_path / "no model")
    with pytest.raises(UserError, match="no SentencePiece model"):
        subwords.encode_file(tmp_path / "absent", corpus, tmp_path / "out")

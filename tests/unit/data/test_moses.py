"""Tokens, sub-words and the way back: exactly what fairseq does with --tokenizer moses --bpe sentencepiece."""

import os
from pathlib import Path

import pytest
import sacremoses
from official_archives import sentences, text

from rdrop_fairseq.data import moses, subwords
from rdrop_fairseq.data.parallel_lines import map_lines
from rdrop_fairseq.data.round_trip import round_trip
from rdrop_fairseq.data.subwords import learn, make_encode

NASTY = [
    "",
    "   ",
    "Don't split e.g. Mr. Smith's well-known e-mail: a.b@c.de or https://x.y/z?a=b&c=d !",
    '<tag attr="v"> & &amp; &quot;already&quot; [1] | pipe \'single\' "double" `back`',
    "No\u00a0break\u2003space\u3000and\u2028separators\u0085here\ttab",
    "control\x00\x01\x1f\x7f\x9d characters",
    "Dashes - \u2013 \u2014 x-y-z --- a--b 1-2 \u00ad soft",
    "Numbers 1,234.56 1.234,56 3.14. 10:30 50% $5 5\u20ac",
    "dots... .... . .. e.g. i.e. U.S.A. z.B. d.h. 3. Oktober usw.",
    "l'eau d'\u00e9t\u00e9 aujourd'hui qu'il \u00ab guillemets \u00bb",
    "\u201eZitat\u201c \u201aeinfach\u2018 \u2019 apostrophe\u2019s",
    "\u4e2d\u6587 \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \U0001f600 \U00010400astral",
    "e\u0301 combining \u00e9 composed \ufb01 ligature \u00bd \u2460 \u00b2",
    "\u2581 the mark itself \u2581x",
    "a" * 5000,
    "word " * 800,
    "\ufeffmark in front",
    "I\u0307stanbul \u1e9e \u00df",
    "\u0646\u0635 \u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f\u0928\u094d\u0926\u0940",
]


def fairseq_moses(language, no_dash_splits=False, no_escape=False):
    from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig

    return MosesTokenizer(
        MosesTokenizerConfig(
            source_lang=language, target_lang=language, moses_no_dash_splits=no_dash_splits, moses_no_escape=no_escape
        )
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Sub-words learnt from a few tokenised lines, as the prepare scripts do."""
    folder = tmp_path_factory.mktemp("subwords")
    tokenise = moses.make_tokenise("en")
    (folder / "text").write_bytes(
        text([tokenise(line) for line in [*NASTY[2:4], *sentences("en", 50, 1)] if line.strip()])
    )
    learn([folder / "text"], 90, folder / "model")
    return folder / "model"


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize(("dash_splits", "escape"), [(True, True), (False, True), (True, False)])
def test_tokens_are_those_of_fairseq(language, dash_splits, escape):
    encoder = fairseq_moses(language, not dash_splits, not escape)
    tokenise = moses.make_tokenise(language, dash_splits, escape)
    for line in NASTY:
        tokens = tokenise(line)
        assert tokens == encoder.encode(line)
        # fairseq splits at any white space: only blanks may be left, one at a time.
        assert tokens.split() == tokens.split(" ") or not tokens


def test_lowercase():
    assert moses.make_tokenise("en", lowercase=True)("Mr. Smith's E-Mail") == "mr. smith &apos;s e @-@ mail"


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_detokenised_is_that_of_fairseq(language):
    encoder, detokenise = fairseq_moses(language), moses.make_detokenise(language)
    for line in NASTY:
        assert detokenise(encoder.encode(line)) == encoder.decode(encoder.encode(line))


def test_subwords_are_those_of_fairseq(model):
    """Raw text goes through the very classes that fairseq-interactive uses."""
    from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig

    bpe = SentencepieceBPE(SentencepieceConfig(sentencepiece_model=str(model)))
    tokenise, encode = moses.make_tokenise("en"), make_encode(model)
    for line in NASTY:
        pieces = encode(tokenise(line))
        assert pieces == bpe.encode(fairseq_moses("en").encode(line))
        assert subwords.decode(pieces) == bpe.decode(pieces)


def test_files_there_and_back(tmp_path):
    (tmp_path / "raw").write_bytes(text(["Don't (stop)!", "", "x - y"]))
    for workers in (1, 3):
        map_lines(moses.make_tokenise, ("en", *moses.MosesSettings()), tmp_path / "raw", tmp_path / "tokens", workers)
        assert (tmp_path / "tokens").read_text() == "Don &apos;t ( stop ) !\n\nx - y\n"
        map_lines(moses.make_detokenise, ("en",), tmp_path / "tokens", tmp_path / "back", workers)
        assert (tmp_path / "back").read_bytes() == (tmp_path / "raw").read_bytes()


def test_sacremoses_is_left_as_it_was():
    """The faster sets are those of a subclass: what it says equals what sacremoses says."""
    plain, ours = sacremoses.MosesTokenizer("de"), moses._make_tokenizer("de")
    for word in ("", "abc", "ABC", "a1", "1.", "\u00e4", "\u00c4", "\u4e2d", "..", "aB"):
        assert ours.isanyalpha(word) == plain.isanyalpha(word) and ours.islower(word) == plain.islower(word), word


def test_round_trip_of_generated_text(model, tmp_path):
    (tmp_path / "text").write_bytes(text(["The dog doesn't like it .", "A house is green."]))
    result = round_trip(tmp_path / "text", model, "en")
    assert result.sentences == 2 and result.changed == [1], "detokenising joins the full stop to the word"
    (tmp_path / "text").write_bytes(text(["The dog doesn't like it.", "\u03b1 house is green."]))
    result = round_trip(tmp_path / "text", model, "en")
    assert result.bleu == pytest.approx(100) and result.changed == [] and result.unknown == {"\u03b1": 1}


@pytest.mark.skipif(
    "RDROP_NEWSTEST2014_DIR" not in os.environ,
    reason="RDROP_NEWSTEST2014_DIR names no folder with newstest2013.LANG and newstest2014.LANG",
)
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_newstest2014_comes_back(language, tmp_path):
    """At least 99.3 BLEU through the whole preparation and back."""
    folder = Path(os.environ["RDROP_NEWSTEST2014_DIR"])
    if not (folder / f"newstest2014.{language}").is_file():
        pytest.skip(f"no newstest2014.{language} in {folder}")
    map_lines(moses.make_tokenise, (language,), folder / f"newstest2013.{language}", tmp_path / "tokens", 1)
    learn([tmp_path / "tokens"], 8000, tmp_path / "model")
    assert round_trip(folder / f"newstest2014.{language}", tmp_path / "model", language).bleu >= 99.3

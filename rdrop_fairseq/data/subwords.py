"""A joined SentencePiece BPE model: learnt from both languages, applied to the files of a corpus."""

from pathlib import Path
from typing import Iterator, Sequence

import sentencepiece

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import iterate_lines
from rdrop_fairseq.data.parallel_lines import LineFunction, map_lines

# SentencePiece holds the lines it learns from in memory. Of more lines than this it takes a random sample.
MOST_LINES = 10_000_000
_SAMPLING_SEED = 1


def learn(files: Sequence[Path], vocabulary_size: int, model: Path, most_lines: int = MOST_LINES) -> None:
    """Learn a BPE model of ``vocabulary_size`` pieces from all ``files`` together and write it to ``model``.

    The normaliser is ``identity``: SentencePiece's default rewrites characters, which a system then cannot
    produce, and so loses BLEU against references that keep them. Of more than ``most_lines`` lines so many are drawn
    at random, the same ones each time.

    Raises:
        UserError: the text does not allow that many (or that few) pieces.
    """

    def sentences() -> Iterator[str]:
        for file in files:
            yield from filter(None, map(join_words, iterate_lines(file)))

    sentencepiece.set_random_generator_seed(_SAMPLING_SEED)
    try:
        with atomic_output(model) as temporary, open(temporary, "wb") as stream:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=sentences(),
                model_writer=stream,
                vocab_size=vocabulary_size,
                model_type="bpe",
                normalization_rule_name="identity",
                character_coverage=1.0,
                input_sentence_size=most_lines,
                shuffle_input_sentence=True,
                minloglevel=2,
            )
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(
            f"cannot learn {vocabulary_size} sub-words from this text; choose another --vocab-size ({_reason(error)})"
        ) from error


def join_words(line: str) -> str:
    """The line with every run of white space made one blank.

    fairseq splits lines at any Unicode white space, so a no-break space inside a sub-word would tear it apart.
    """
    return " ".join(line.split())


def make_encode(model: Path) -> LineFunction:
    """A function from a line to its sub-words, separated by blanks; :func:`join_words` comes first."""
    processor = load_model(model)
    return lambda line: " ".join(processor.encode(join_words(line), out_type=str))


def decode(subwords: str) -> str:
    """The line that sub-words, separated by blanks, came from; as fairseq's ``--bpe sentencepiece`` joins them."""
    return subwords.replace(" ", "").replace("\u2581", " ").strip()


def encode_file(model: Path, source: Path, destination: Path, workers: int = 1) -> None:
    """Write ``source``, line by line as sub-words, to ``destination``; ``workers`` are processes."""
    map_lines(make_encode, (model,), source, destination, workers)


def load_model(model: Path) -> sentencepiece.SentencePieceProcessor:
    """A model from its file; raises a UserError if it is none."""
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{model} is missing or no SentencePiece model; learn it anew") from error


def _reason(error: Exception) -> str:
    """The part of SentencePiece's message that says what is wrong, in one line."""
    message = str(error)
    return " ".join((message.split("] ")[-1] or message).split()) or type(error).__name__

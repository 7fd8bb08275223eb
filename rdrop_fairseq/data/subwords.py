"""A joined SentencePiece BPE model: learnt from both languages, applied to the files of a corpus."""

from pathlib import Path
from typing import Iterable, Iterator, Sequence

import sentencepiece

from rdrop_fairseq.atomic_files import atomic_output
from rdrop_fairseq.data.parallel_text import normalised_lines
from rdrop_fairseq.errors import UserError


def learn(files: Sequence[Path], vocabulary_size: int, model: Path) -> None:
    """Learn a BPE model of ``vocabulary_size`` pieces from all ``files`` together and write it to ``model``.

    The normaliser is ``identity``: SentencePiece's default rewrites characters, which a system then cannot
    produce, and so loses BLEU against references that keep them.

    Raises:
        UserError: the text does not allow that many (or that few) pieces.
    """

    def sentences() -> Iterator[str]:
        for file in files:
            yield from (line for line in normalised_lines(file) if line)

    try:
        with atomic_output(model) as temporary, open(temporary, "wb") as stream:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=sentences(),
                model_writer=stream,
                vocab_size=vocabulary_size,
                model_type="bpe",
                normalization_rule_name="identity",
                character_coverage=1.0,
                minloglevel=2,
            )
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(
            f"cannot learn {vocabulary_size} sub-words from this text; choose another --vocab-size "
            f"({_reason(error)})"
        ) from error


def encode(model: Path, lines: Iterable[str]) -> Iterator[str]:
    """Each line as sub-words separated by blanks."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    for line in lines:
        yield " ".join(processor.encode(line, out_type=str))


def encode_file(model: Path, source: Path, destination: Path) -> None:
    """Write ``source``, line by line as sub-words, to ``destination``."""
    with atomic_output(destination) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            for line in encode(model, normalised_lines(source)):
                stream.write(line + "\n")


def _reason(error: Exception) -> str:
    """The part of SentencePiece's message that says what is wrong, in one line."""
    return " ".join(str(error).split("] ")[-1].split()) or type(error).__name__

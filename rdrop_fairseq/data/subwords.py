"""A joined SentencePiece BPE model: learnt from both languages, applied to the files of a corpus.

python -m rdrop_fairseq.data.subwords learn --input train.en train.de --vocab-size 32000 --model sentencepiece.model
python -m rdrop_fairseq.data.subwords encode --model sentencepiece.model --input train.en --output subwords/train.en
"""

import argparse
import logging
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

import sentencepiece

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.data.parallel_lines import LineFunction, map_lines
from rdrop_fairseq.data.parallel_text import normalised_lines

logger = logging.getLogger(__name__)

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
            yield from (line for line in normalised_lines(file) if line)

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


def make_encode(model: Path) -> LineFunction:
    """A function from a line to its sub-words, separated by blanks.

    Every run of white space is made one blank first: fairseq splits lines at any Unicode white space, so a no-break
    space inside a sub-word would tear it apart.
    """
    processor = load_model(model)
    return lambda line: " ".join(processor.encode(" ".join(line.split()), out_type=str))


def decode(subwords: str) -> str:
    """The line that sub-words, separated by blanks, came from; as fairseq's ``--bpe sentencepiece`` joins them."""
    return subwords.replace(" ", "").replace("\u2581", " ").strip()


def encode_file(model: Path, source: Path, destination: Path, workers: Optional[int] = 1) -> None:
    """Write ``source``, line by line as sub-words, to ``destination``; ``workers`` None takes all cores."""
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


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rdrop_fairseq.data.subwords", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    learning = commands.add_parser("learn", help="learn a model from the files of both languages together")
    learning.add_argument("--input", type=Path, nargs="+", required=True)
    learning.add_argument("--vocab-size", type=int, required=True, help="sub-words")
    learning.add_argument("--most-lines", type=int, default=MOST_LINES, help="to learn from (default: %(default)s)")
    encoding = commands.add_parser("encode", help="split a file into sub-words")
    encoding.add_argument("--input", type=Path, required=True)
    encoding.add_argument("--output", type=Path, required=True)
    encoding.add_argument("--workers", type=int, help="processes (default: all cores)")
    for command in (learning, encoding):
        command.add_argument("--model", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "learn":
        learn(options.input, options.vocab_size, options.model, options.most_lines)
    else:
        encode_file(options.model, options.input, options.output, options.workers)


if __name__ == "__main__":
    main()

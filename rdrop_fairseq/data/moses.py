"""Moses tokenisation of whole corpora: what fairseq's ``--tokenizer moses`` does to a line, on all cores.

    python -m rdrop_fairseq.data.moses tokenise --lang de --input raw/train.de --output tokenised/train.de
    python -m rdrop_fairseq.data.moses detokenise --lang de --input tokenised/train.de --output text.de

The tokeniser is sacremoses, a port of the Moses scripts (Koehn et al., ACL 2007), with the settings of fairseq's
encoder: dashes between letters are split (``--no-dash-splits`` leaves them) and XML characters escaped
(``--no-escape``). So fairseq-interactive with the same settings takes and gives raw text.
"""

import argparse
from pathlib import Path
from typing import List, Optional

import sacremoses

from rdrop_fairseq.data.parallel_lines import LineFunction, map_lines


class _Tokenizer(sacremoses.MosesTokenizer):
    """sacremoses's tokeniser, with the sets of letters made once and not at every abbreviation."""

    _letters = frozenset(sacremoses.MosesTokenizer.IsAlpha)
    _lower_case = frozenset(sacremoses.MosesTokenizer.IsLower)

    def isanyalpha(self, text: str) -> bool:
        return not self._letters.isdisjoint(text)

    def islower(self, text: str) -> bool:
        return self._lower_case.issuperset(text)


def make_tokenise(
    language: str, dash_splits: bool = True, escape: bool = True, lowercase: bool = False
) -> LineFunction:
    """A function from a raw line to its tokens, separated by single blanks.

    White space of any kind separates words, and control characters are dropped, as sacremoses does.
    """
    tokenizer = _Tokenizer(language)

    def tokenise(line: str) -> str:
        text = tokenizer.tokenize(line, aggressive_dash_splits=dash_splits, escape=escape, return_str=True)
        return text.lower() if lowercase else text

    return tokenise


def make_detokenise(language: str) -> LineFunction:
    """A function from tokens to the line they came from, up to white space, whatever the settings of the tokeniser."""
    detokenizer = sacremoses.MosesDetokenizer(language)
    return lambda line: detokenizer.detokenize(line.split())


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rdrop_fairseq.data.moses", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    tokenise = commands.add_parser("tokenise", help="raw text to tokens")
    detokenise = commands.add_parser("detokenise", help="tokens to text")
    for command in (tokenise, detokenise):
        command.add_argument("--lang", required=True, help="language of the text, which decides on abbreviations")
        command.add_argument("--input", type=Path, required=True)
        command.add_argument("--output", type=Path, required=True)
        command.add_argument("--workers", type=int, help="processes (default: all cores)")
    tokenise.add_argument("--no-dash-splits", action="store_true", help="leave dashes between letters alone")
    tokenise.add_argument("--no-escape", action="store_true", help="leave the characters & | < > ' \" [ ] alone")
    tokenise.add_argument("--lowercase", action="store_true", help="and lowercase the tokens")
    options = parser.parse_args(arguments)
    if options.command == "tokenise":
        settings = (options.lang, not options.no_dash_splits, not options.no_escape, options.lowercase)
        map_lines(make_tokenise, settings, options.input, options.output, options.workers)
    else:
        map_lines(make_detokenise, (options.lang,), options.input, options.output, options.workers)


if __name__ == "__main__":
    main()

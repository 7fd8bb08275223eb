"""Moses tokenisation: what fairseq's ``--tokenizer moses`` does to a line.

The tokeniser is sacremoses, a port of the Moses scripts (Koehn et al., ACL 2007), with the settings of fairseq's
encoder. So fairseq-interactive with the same settings takes and gives raw text.
"""

from typing import NamedTuple

import sacremoses

from rdrop_fairseq.data.parallel_lines import LineFunction


class MosesSettings(NamedTuple):
    """How text is tokenised."""

    dash_splits: bool = True
    """Split at dashes between letters."""
    escape: bool = True
    """Escape the characters ``& | < > ' " [ ]`` as XML does."""
    lowercase: bool = False


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

    White space of any kind separates words, and control characters are dropped, as sacremoses does. The settings are
    those of :class:`MosesSettings`; ``language`` decides on abbreviations.
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

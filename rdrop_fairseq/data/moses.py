"""Moses tokenisation: what fairseq's ``--tokenizer moses`` does to a line.

The tokeniser is sacremoses, a port of the Moses scripts (Koehn et al., ACL 2007), with the settings of fairseq's
encoder. So fairseq-interactive with the same settings takes and gives raw text.
"""

from typing import Any, NamedTuple

from rdrop_fairseq.data.parallel_lines import LineFunction


class MosesSettings(NamedTuple):
    """How text is tokenised."""

    dash_splits: bool = True
    """Split at dashes between letters."""
    escape: bool = True
    """Escape the characters ``& | < > ' " [ ]`` as XML does."""
    lowercase: bool = False


def _make_tokenizer(language: str) -> Any:
    """sacremoses's tokeniser, with the sets of letters made once and not at every abbreviation."""
    import sacremoses  # half a second, which most programs that get here do not need to spend

    tokenizer = sacremoses.MosesTokenizer(language)
    letters, lower_case = frozenset(tokenizer.IsAlpha), frozenset(tokenizer.IsLower)
    tokenizer.isanyalpha = lambda text: not letters.isdisjoint(text)
    tokenizer.islower = lower_case.issuperset
    return tokenizer


def make_tokenise(
    language: str, dash_splits: bool = True, escape: bool = True, lowercase: bool = False
) -> LineFunction:
    """A function from a raw line to its tokens, separated by single blanks.

    White space of any kind separates words, and control characters are dropped, as sacremoses does. The settings are
    those of :class:`MosesSettings`; ``language`` decides on abbreviations.
    """
    tokenizer = _make_tokenizer(language)

    def tokenise(line: str) -> str:
        text = tokenizer.tokenize(line, aggressive_dash_splits=dash_splits, escape=escape, return_str=True)
        return text.lower() if lowercase else text

    return tokenise


def make_detokenise(language: str) -> LineFunction:
    """A function from tokens to the line they came from, up to white space, whatever the settings of the tokeniser."""
    import sacremoses

    detokenizer = sacremoses.MosesDetokenizer(language)
    return lambda line: detokenizer.detokenize(line.split())

"""BLEU as papers on WMT14 report it: on tokens, and with compounds split. Not comparable with sacreBLEU's.

Both are made from detokenised text by one tokenisation, Moses' without splitting dashes, of hypothesis and reference
alike, so that they do not depend on how a system writes its output. Compounds are split as in Vaswani et al. 2017 and
Ott et al. 2018: every ``x-y`` between characters that are no white space becomes ``x ##AT##-##AT## y``. That turns one
word into three that are easily matched, and so raises the score. There is no smoothing, as in Moses' multi-bleu.
"""

import re
from typing import List, NamedTuple, Sequence

from sacrebleu.metrics import BLEU

from rdrop_fairseq.data.moses import make_tokenise

_COMPOUND = re.compile(r"(\S)-(\S)")

DESCRIPTION = "papers' scoring, not comparable with sacreBLEU"


class PaperBleu(NamedTuple):
    """BLEU of retokenised text, and the same with compounds split."""

    tokenised: float
    compound_split: float


class PaperScorer:
    """Scores hypotheses against one reference, both detokenised, sentence by sentence.

    Args:
        references: one a sentence.
        language: of the text, for the tokeniser.
        lowercase: both sides.
    """

    def __init__(self, references: Sequence[str], language: str, lowercase: bool = False) -> None:
        self._tokenise = make_tokenise(language, dash_splits=False, escape=False, lowercase=lowercase)
        tokens = [self._tokenise(line) for line in references]
        self._metric = _metric(tokens)
        self._split_metric = _metric(list(map(split_compounds, tokens)))

    def score(self, hypotheses: Sequence[str]) -> PaperBleu:
        """Corpus BLEU of the hypotheses, as many as there are references."""
        tokens = [self._tokenise(line) for line in hypotheses]
        split_tokens: List[str] = list(map(split_compounds, tokens))
        return PaperBleu(
            float(self._metric.corpus_score(tokens, None).score),
            float(self._split_metric.corpus_score(split_tokens, None).score),
        )


def split_compounds(tokens: str) -> str:
    """``x-y`` to ``x ##AT##-##AT## y``, from left to right; of ``x-y-z`` with a y of one letter the first alone."""
    return _COMPOUND.sub(r"\1 ##AT##-##AT## \2", tokens)


def _metric(references: List[str]) -> BLEU:
    # The text is tokenised on purpose, which "force" tells sacreBLEU.
    return BLEU(tokenize="none", smooth_method="none", force=True, references=[references])

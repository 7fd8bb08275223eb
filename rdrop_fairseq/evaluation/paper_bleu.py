"""BLEU as papers report it: on tokens, and with compounds split."""

import re
from typing import Sequence

from sacrebleu.metrics import BLEU

from rdrop_fairseq.data.moses import make_tokenise
from rdrop_fairseq.evaluation.score_report import PaperBleu

_COMPOUND = re.compile(r"(\S)-(\S)")


class PaperScorer:
    """BLEU as papers on WMT14 report it: on tokens, and with compounds split. Not comparable with sacreBLEU's.

    Both are made from detokenised text by one tokenisation, Moses' without splitting dashes, of hypothesis and
    reference alike. So they do not depend on how a system writes its output. Compounds are split as in Vaswani et al.
    2017 and Ott et al. 2018, which turns one word into three that are easily matched, and so raises the score. There
    is no smoothing, as in Moses' multi-bleu.

    Args:
        references: detokenised; one or more of each sentence, in lists of as many lines.
        language: of the text, for the tokeniser.
        lowercase: both sides.
    """

    def __init__(self, references: Sequence[Sequence[str]], language: str, lowercase: bool = False) -> None:
        self._tokenise = make_tokenise(language, dash_splits=False, escape=False, lowercase=lowercase)
        tokens = [[self._tokenise(line) for line in lines] for lines in references]
        # The text is tokenised on purpose, which "force" tells sacreBLEU.
        options = {"tokenize": "none", "smooth_method": "none", "force": True}
        self._metric = BLEU(references=tokens, **options)
        split = [[split_compounds(line) for line in lines] for lines in tokens]
        self._split_metric = BLEU(references=split, **options)

    def score(self, hypotheses: Sequence[str]) -> PaperBleu:
        """Corpus BLEU of the hypotheses, detokenised and as many as there are references."""
        tokens = [self._tokenise(line) for line in hypotheses]
        return PaperBleu(
            float(self._metric.corpus_score(tokens, None).score),
            float(self._split_metric.corpus_score([split_compounds(line) for line in tokens], None).score),
        )


def split_compounds(tokens: str) -> str:
    """``x-y`` between characters that are no white space to ``x ##AT##-##AT## y``, from left to right.

    Of ``x-y-z`` with a y of one letter the first dash alone is split, as in the papers' scripts.
    """
    return _COMPOUND.sub(r"\1 ##AT##-##AT## \2", tokens)

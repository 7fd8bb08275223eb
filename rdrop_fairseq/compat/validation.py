"""BLEU in fairseq's validation: the tokeniser of the final score, and a figure where every translation is empty."""

import functools
import logging
from typing import Any, Callable, Dict, List, Optional

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.compat.replacement import replace_once

logger = logging.getLogger(__name__)


def score_validation_like_translations() -> None:
    """Have ``--eval-bleu`` tokenise as sacreBLEU does for the target language, as the final score does.

    fairseq takes 13a for all. In Chinese, Japanese and Korean, which have no blanks between words, that says nothing:
    a perfect translation has 0. For all three versions.
    """
    import sacrebleu
    from fairseq.tasks.translation import TranslationTask

    def make_begin(begin_epoch: Callable) -> Callable:
        def begin_epoch_with_scorer(self: Any, *args: Any, **kwargs: Any) -> None:
            if self.cfg.eval_bleu and not self.cfg.eval_tokenized_bleu:
                _bleu_of_language(self.cfg.target_lang)  # a tokeniser that is missing is better known before training
            begin_epoch(self, *args, **kwargs)

        return begin_epoch_with_scorer

    def make_inference(inference: Callable) -> Callable:
        def inference_with_bleu(self: Any, *args: Any, **kwargs: Any) -> Any:
            metric = None if self.cfg.eval_tokenized_bleu else _bleu_of_language(self.cfg.target_lang)
            if metric is None:
                return inference(self, *args, **kwargs)
            corpus_bleu = sacrebleu.corpus_bleu
            sacrebleu.corpus_bleu = metric.corpus_score
            try:
                return inference(self, *args, **kwargs)
            finally:
                sacrebleu.corpus_bleu = corpus_bleu

        return inference_with_bleu

    replace_once(TranslationTask, "begin_epoch", make_begin)
    replace_once(TranslationTask, "_inference_with_bleu", make_inference)


@functools.lru_cache(maxsize=None)
def _bleu_of_language(language: str) -> Optional[Any]:
    """sacreBLEU's metric for a language that has a tokeniser of its own there, else None.

    Raises:
        UserError: that tokeniser is not installed.
    """
    from sacrebleu.metrics import BLEU

    tokeniser = sacrebleu_tokeniser(language)
    if tokeniser == BLEU.TOKENIZER_DEFAULT:
        return None
    logger.info(f"BLEU in validation: sacreBLEU's tokeniser for {language}, {tokeniser}, as in the final score")
    return BLEU(tokenize=tokeniser)


def log_bleu_of_empty_translations() -> None:
    """Log a BLEU of 0 where every translation of the validation set is empty, as early in training.

    fairseq logs none; with ``--best-checkpoint-metric bleu`` the training then ends in a KeyError. Where only some
    batches are empty, it leaves out their references, and so makes BLEU too high. For all three versions.
    """
    import numpy
    from fairseq.logging import metrics
    from fairseq.tasks.translation import EVAL_BLEU_ORDER, TranslationTask
    from sacrebleu.metrics import BLEU

    def bleu(meters: Dict[str, Any]) -> float:
        score = BLEU.compute_bleu(
            correct=meters["_bleu_counts"].sum,
            total=meters["_bleu_totals"].sum,
            sys_len=int(meters["_bleu_sys_len"].sum),
            ref_len=int(meters["_bleu_ref_len"].sum),
            smooth_method="exp",
        )
        return round(score.score, 2)

    def make(_: Callable) -> Callable:
        def reduce_metrics(self: Any, logging_outputs: List[Dict[str, Any]], criterion: Any) -> None:
            super(TranslationTask, self).reduce_metrics(logging_outputs, criterion)
            # In training there is no BLEU.
            outputs = [log for log in logging_outputs if "_bleu_ref_len" in log]
            if not outputs:
                return

            def total(key: str) -> int:
                return sum(int(log[key]) for log in outputs)

            for name in ("_bleu_counts", "_bleu_totals"):
                # Arrays, which log_scalar sums entry by entry.
                counts = [total(f"{name}_{order}") for order in range(EVAL_BLEU_ORDER)]
                metrics.log_scalar(name, numpy.array(counts))
            for name in ("_bleu_sys_len", "_bleu_ref_len"):
                metrics.log_scalar(name, total(name))
            metrics.log_derived("bleu", bleu)

        return reduce_metrics

    replace_once(TranslationTask, "reduce_metrics", make)

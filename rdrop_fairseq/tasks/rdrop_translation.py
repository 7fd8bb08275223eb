"""The fairseq task: translation whose training batches are concatenated with themselves."""

import logging
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from rdrop_fairseq import compat
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import (
    CRITERION_NAME,
    HYDRA_CRITERION_NAME,
    LabelSmoothedCrossEntropyWithRDropCriterion,
)

logger = logging.getLogger(__name__)


@dataclass
class RDropTranslationConfig(TranslationConfig):
    """The flags of ``translation``; those of R-Drop belong to the criterion."""


@register_task("rdrop_translation", dataclass=RDropTranslationConfig)
class RDropTranslationTask(TranslationTask):
    """Translation with R-Drop: validation and generation are exactly those of ``translation``."""

    tells_update_number = True  # to the criterion, which may ask for it

    def __init__(self, cfg: RDropTranslationConfig, src_dict: Dictionary, tgt_dict: Dictionary) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        compat.mend_training()
        self._criterion: Optional[FairseqCriterion] = None
        self._plain_training_said = False

    @classmethod
    def setup_task(cls, cfg: RDropTranslationConfig, **kwargs: Any) -> "RDropTranslationTask":
        """Load the dictionaries.

        Raises:
            UserError: the data folder has no dictionary for the language pair.
        """
        try:
            return super().setup_task(cfg, **kwargs)
        except FileNotFoundError as error:
            pair = f"--source-lang {cfg.source_lang} --target-lang {cfg.target_lang}"
            raise UserError(
                f"cannot find {error.filename or error} for {pair}; give a data folder that fairseq-preprocess made "
                "for these two languages"
            ) from error

    def build_criterion(self, cfg: DictConfig, *args: Any, **kwargs: Any) -> FairseqCriterion:
        """Build the criterion, and remember it so that training can be refused before it starts.

        The flags of R-Drop, which fairseq-validate takes from the checkpoint, do not stand in the way of another
        criterion.
        """
        if cfg._name not in (CRITERION_NAME, HYDRA_CRITERION_NAME):
            cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if not str(key).startswith("rdrop_")])
        self._criterion = super().build_criterion(cfg, *args, **kwargs)
        return self._criterion

    def load_dataset(self, split: str, *args: Any, **kwargs: Any) -> None:
        """Load a split of the data.

        Raises:
            UserError: the data folder lacks it.
        """
        try:
            super().load_dataset(split, *args, **kwargs)
        except FileNotFoundError as error:
            pair = f"{self.cfg.source_lang}-{self.cfg.target_lang}"
            raise UserError(
                f"no {split} split for {pair} in {self.cfg.data}; make it with fairseq-preprocess, or name an existing "
                "one with --train-subset, --valid-subset or --gen-subset"
            ) from error

    def begin_epoch(self, epoch: int, model: nn.Module) -> None:
        """Called before each training epoch: refuse a criterion that knows nothing of R-Drop.

        Raises:
            UserError: the criterion is not an R-Drop one, or wants what the model has no place for.
        """
        if self._criterion is not None:
            self._require_rdrop(self._criterion)
            self._criterion.check_model(model)
        super().begin_epoch(epoch, model)

    def train_step(
        self,
        sample: Dict[str, Any],
        model: nn.Module,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        ignore_grad: bool = False,
        **kwargs: Any,
    ) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """One forward and backward pass over the sample concatenated with itself; ``sample`` is not changed.

        Raises:
            UserError: the criterion is not an R-Drop one.
        """
        self._require_rdrop(criterion)
        criterion.begin_update(update_num)
        sample = criterion.with_passes(sample)
        if criterion.training_passes == 1 and not self._plain_training_said:
            self._plain_training_said = True
            logger.info("--rdrop-alpha is 0: training with one plain pass, without R-Drop")
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs)

    @staticmethod
    def _require_rdrop(criterion: FairseqCriterion) -> None:
        # A criterion with parameters arrives inside DistributedDataParallel; ours has none.
        if not isinstance(criterion, LabelSmoothedCrossEntropyWithRDropCriterion):
            raise UserError(
                f"--task rdrop_translation cannot train with {type(criterion).__name__}; "
                f"use --criterion {CRITERION_NAME}, or --task translation"
            )

"""The tokeniser of BLEU: one choice for validation and for the final scores, so that they measure the same quantity."""

import re
from typing import Optional

from rdrop_fairseq.common.errors import UserError

# Languages that are written without blanks, or whose words sacreBLEU splits further: by ISO 639-1 and 639-3.
_TOKENISERS = {
    **dict.fromkeys(("zh", "zho", "cmn", "yue"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),
}


def sacrebleu_tokeniser(target_language: Optional[str]) -> str:
    """sacreBLEU's tokeniser for text in a language: the value of its ``--tokenize`` and of ``tokenize=``.

    It is the one that sacreBLEU takes by itself for its own test sets, and it is ready for use.

    Args:
        target_language: as fairseq knows it, with or without a region or script (zh, zh_CN, zho_Hans); None if unknown.

    Raises:
        UserError: it is a package of its own (for Japanese and Korean), which is not installed.
    """
    language = re.split("[-_]", (target_language or "").lower())[0]
    tokeniser = _TOKENISERS.get(language, "13a")
    if tokeniser.endswith("-mecab"):
        from sacrebleu.metrics import BLEU

        try:
            BLEU(tokenize=tokeniser)
        except (ImportError, RuntimeError, KeyError) as error:  # KeyError: sacreBLEU before 2.2 has none for Korean
            extra = tokeniser[:2]
            raise UserError(
                f"sacreBLEU's tokeniser for {target_language} is not installed; pip install -U 'sacrebleu[{extra}]'"
            ) from error
    return tokeniser

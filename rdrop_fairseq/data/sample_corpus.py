"""The sample corpus: 7,000 English-German sentence pairs, to try everything without a download.

No person wrote these sentences. A program of this project drew them, with the random seed 1. They have difficulties of
German: number words, compounds, case and gender, clock times, dates, verb-final clauses. Some combinations occur in
valid and test only, so that memory is not enough: of the parts of a compound, tens and units, hour and minute, day and
month, verb and object, adjective and noun. The program is in the history of this repository, as
rdrop_fairseq/data/generated_corpus of commit 24fec87.

The file has a line for each pair: the split, a tab, the English, a tab, the German.
"""

import lzma
from pathlib import Path
from typing import Dict, List

from rdrop_fairseq.common.files import write_text
from rdrop_fairseq.data.parallel_text import SPLITS

SOURCE_LANGUAGE, TARGET_LANGUAGE = "en", "de"
_FILE = Path(__file__).with_name("sample_corpus.tsv.xz")


def write_sample_corpus(folder: Path) -> None:
    """Write SPLIT.en and SPLIT.de of train (6,000 pairs), valid and test (500 each) into ``folder``.

    Raises:
        UserError: ``folder`` cannot be written.
    """
    texts: Dict[str, List[str]] = {
        f"{split}.{language}": [] for split in SPLITS for language in (SOURCE_LANGUAGE, TARGET_LANGUAGE)
    }
    with lzma.open(_FILE, "rt", encoding="utf-8", newline="\n") as stream:
        for line in stream:
            split, source, target = line.rstrip("\n").split("\t")
            texts[f"{split}.{SOURCE_LANGUAGE}"].append(source)
            texts[f"{split}.{TARGET_LANGUAGE}"].append(target)
    for name, lines in texts.items():
        write_text(folder / name, "".join(f"{line}\n" for line in lines))

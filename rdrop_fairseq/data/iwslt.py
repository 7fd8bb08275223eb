"""The text of the IWSLT14 German-English archive, cut out as fairseq's preparation of it does.

    python -m rdrop_fairseq.data.iwslt split --input clean/train --output split --source-lang de --target-lang en

splits the pairs that cleaning kept: every 23rd one is for validation.
"""

import argparse
import re
from pathlib import Path
from typing import Iterable, Iterator, List, Optional

from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import iterate_lines

TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
VALIDATION_EVERY = 23
_NO_SENTENCES = ("<url>", "<talkid>", "<keywords>")
_TAGS = re.compile("</?(title|description)>")
_SEGMENT = re.compile(r"<seg id[^>]*>\s*(.*?)\s*</seg>")


def training_sentences(lines: Iterable[str]) -> Iterator[str]:
    """Sentences, titles and descriptions of the talks; not what else the file tells about them."""
    for line in lines:
        if not any(tag in line for tag in _NO_SENTENCES):
            yield _TAGS.sub("", line).strip()


def test_sentences(lines: Iterable[str]) -> Iterator[str]:
    """The segments of a test set in XML, with straight apostrophes as in the training text."""
    for line in lines:
        segment = _SEGMENT.search(line)
        if segment:
            yield segment[1].replace("\u2019", "'")


def split(prefix: str, output: Path, *languages: str) -> None:
    """Write the lines of PREFIX.LANGUAGE to train.LANGUAGE and, every 23rd, to valid.LANGUAGE in ``output``."""
    for language in languages:
        for name, is_validation in (("train", False), ("valid", True)):
            with atomic_output(output / f"{name}.{language}") as temporary:
                with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
                    for number, line in enumerate(iterate_lines(Path(f"{prefix}.{language}")), start=1):
                        if (number % VALIDATION_EVERY == 0) == is_validation:
                            stream.write(line + "\n")


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rdrop_fairseq.data.iwslt", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["split"])
    parser.add_argument("--input", required=True, metavar="PREFIX")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--source-lang", required=True)
    parser.add_argument("--target-lang", required=True)
    options = parser.parse_args(arguments)
    split(options.input, options.output, options.source_lang, options.target_lang)


if __name__ == "__main__":
    main()

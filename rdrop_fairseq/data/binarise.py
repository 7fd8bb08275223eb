"""The one place that starts fairseq-preprocess: from sub-words to what fairseq's other commands read.

    python -m rdrop_fairseq.data.binarise OPTION OF fairseq-preprocess...

is fairseq-preprocess, all of whose processes end with the process that started it. Otherwise they would go on, after a
kill, to write what the next preparation writes; for minutes in a large corpus.
"""

import os
import sys
from pathlib import Path
from typing import Tuple

from rdrop_fairseq.common.processes import end_with_parent, run_quietly
from rdrop_fairseq.common.text import count_lines

_LINES_PER_PROCESS = 2000


def binarise(prefix: Path, languages: Tuple[str, str], destination: Path, workers: int, log: Path) -> None:
    """Binarise ``prefix``/SPLIT.LANGUAGE of train, valid and test with a joined dictionary.

    Args:
        prefix: folder of sub-words, separated by blanks.
        languages: source and target.
        destination: the folder to write; it must not be there.
        workers: at most so many processes; a small corpus takes fewer.
        log: for all that fairseq-preprocess prints.

    Raises:
        UserError: fairseq-preprocess failed; the message is its last line.
    """
    lines = count_lines(prefix / f"train.{languages[0]}")
    # One process for every file and worker, even without a line for it, takes longer than the work in a small corpus.
    processes = min(workers, lines // _LINES_PER_PROCESS + 1)
    command = [sys.executable, "-m", "rdrop_fairseq.data.binarise", "--joined-dictionary"]
    command += ["--source-lang", languages[0], "--target-lang", languages[1], "--workers", str(processes)]
    for split in ("train", "valid", "test"):
        command += [f"--{split}pref", str(prefix / split)]
    run_quietly([*command, "--destdir", str(destination)], log, "fairseq-preprocess")


def main() -> None:
    """The command line."""
    end_with_parent()
    os.register_at_fork(after_in_child=end_with_parent)
    from fairseq_cli.preprocess import cli_main

    cli_main()


if __name__ == "__main__":
    main()

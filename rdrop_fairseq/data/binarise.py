"""fairseq-preprocess, all of whose processes end when the process that started it ends.

    python -m rdrop_fairseq.data.binarise OPTION OF fairseq-preprocess...

Otherwise they would go on, after a script was killed, to write what the next one writes, for minutes in a large corpus.
"""

import os

from rdrop_fairseq.common.processes import end_with_parent


def main() -> None:
    """The command line."""
    end_with_parent()
    os.register_at_fork(after_in_child=end_with_parent)
    from fairseq_cli.preprocess import cli_main

    cli_main()


if __name__ == "__main__":
    main()

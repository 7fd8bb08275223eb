"""How the number of batches per update follows from the global batch."""

import re

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.placement import derive_update_freq


@pytest.mark.parametrize(
    "tokens_per_update, max_tokens, processes, update_freq",
    [(524288, 4096, 8, 16), (524288, 2048, 8, 32), (524288, 4096, 1, 128), (4096, 4096, 1, 1), (655360, 5120, 128, 1)],
)
def test_whole_numbers(tokens_per_update, max_tokens, processes, update_freq):
    assert derive_update_freq(tokens_per_update, max_tokens, processes) == update_freq


@pytest.mark.parametrize(
    "tokens_per_update, max_tokens, processes, suggestion",
    [
        (524288, 3584, 8, "--max-tokens 2048 (update-freq 32) or --max-tokens 4096 (update-freq 16)"),
        (4096, 4096, 8, "--max-tokens 512 (update-freq 1)"),
        (
            524288,
            4096,
            6,
            "4 process(es) with --max-tokens 4096 (update-freq 32) or 8 process(es) with --max-tokens 4096",
        ),
        (100, 30, 3, "2 process(es) with --max-tokens 25 (update-freq 2) or 4 process(es) with --max-tokens 25"),
        (7, 5, 3, "1 process(es) with --max-tokens 1 (update-freq 7) or 7 process(es) with --max-tokens 1"),
    ],
)
def test_impossible_combinations_name_the_nearest(tokens_per_update, max_tokens, processes, suggestion):
    with pytest.raises(UserError) as error:
        derive_update_freq(tokens_per_update, max_tokens, processes)
    message = str(error.value)
    assert message.startswith(f"{tokens_per_update} tokens per update are no multiple of {max_tokens} tokens on each")
    assert f"try {suggestion}" in message
    # What is suggested works.
    for number, tokens in re.findall(r"(?:(\d+) process\(es\) with )?--max-tokens (\d+)", message):
        assert derive_update_freq(tokens_per_update, int(tokens), int(number or processes)) >= 1

"""The global batch: how many batches each process accumulates, so that an update has as many tokens everywhere."""

from typing import List

from rdrop_fairseq.common.errors import UserError


def derive_update_freq(tokens_per_update: int, max_tokens: int, processes: int) -> int:
    """The number of batches per process and update: ``tokens_per_update / (max_tokens * processes)``.

    Args:
        tokens_per_update: tokens, padding included, of one update over all processes.
        max_tokens: tokens, padding included, of one batch of one process.
        processes: how many processes train together, over all nodes.

    Raises:
        UserError: the quotient is no whole number; the message names the combinations nearest to it.
    """
    update_freq, remainder = divmod(tokens_per_update, max_tokens * processes)
    if remainder or not update_freq:
        raise UserError(
            f"{tokens_per_update} tokens per update are no multiple of {max_tokens} tokens on each of {processes} "
            f"process(es): update-freq would be {tokens_per_update / (max_tokens * processes):.4g}; "
            f"try {' or '.join(_alternatives(tokens_per_update, max_tokens, processes))}"
        )
    return update_freq


def _alternatives(tokens_per_update: int, max_tokens: int, processes: int) -> List[str]:
    """The nearest whole combinations: other batches with as many processes, else other numbers of processes."""
    per_process, remainder = divmod(tokens_per_update, processes)
    if not remainder:
        return [
            f"--max-tokens {divisor} (update-freq {per_process // divisor})"
            for divisor in _neighbours(_divisors(per_process), max_tokens)
        ]
    # No batch will do with this number of processes.
    max_tokens = max(divisor for divisor in _divisors(tokens_per_update) if divisor <= max_tokens)
    batches = tokens_per_update // max_tokens
    return [
        f"{divisor} process(es) with --max-tokens {max_tokens} (update-freq {batches // divisor})"
        for divisor in _neighbours(_divisors(batches), processes)
    ]


def _neighbours(numbers: List[int], number: int) -> List[int]:
    """The nearest of ascending numbers below and above one, as far as there are any."""
    return [other for other in numbers if other < number][-1:] + [other for other in numbers if other > number][:1]


def _divisors(number: int) -> List[int]:
    small = [divisor for divisor in range(1, int(number**0.5) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})

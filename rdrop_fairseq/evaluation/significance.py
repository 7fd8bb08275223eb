"""Whether two systems differ by more than chance: paired tests on sacreBLEU's counts of each sentence.

Both are sacreBLEU's tests, on sentence counts that were made once. They are about the choice of test sentences only:
they do not see how much a system changes from one training run to the next.
"""

from typing import Any, Sequence

import numpy

Statistics = Sequence[Sequence[float]]  # (sentences, counts): what a metric of sacreBLEU needs of each sentence

# A multiple of 32, the bits that a generator draws at once: so the rows are those of a single draw.
_ROWS_AT_ONCE = 1024
_ROUNDING = 1e-9


def bootstrap_scores(metric: Any, statistics: Statistics, resamples: int, seed: int) -> numpy.ndarray:
    """The corpus scores of as many sentences drawn with replacement, (resamples,), after Koehn, EMNLP 2004.

    The same seed draws the same sentences of every system, so that the scores of two systems are pairs.
    """
    generator = numpy.random.default_rng(seed)
    counts = numpy.array(statistics, dtype="float32")  # (sentences, counts), of sacreBLEU's type
    draws = (generator.choice(len(counts), size=len(counts), replace=True) for _ in range(resamples))
    return numpy.array([metric._compute_score_from_stats(counts[draw].sum(0)).score for draw in draws])


def bootstrap_p_value(scores: numpy.ndarray, baseline_scores: numpy.ndarray, difference: float) -> float:
    """How often chance gives a larger difference than the real one. As in sacreBLEU 1 is added to both counts.

    Where no resample differs sacreBLEU's result would be its smallest p-value; it is 1.
    """
    differences = numpy.abs(scores - baseline_scores)
    if not differences.any():
        return 1.0
    larger = int((differences - differences.mean() > difference).sum())
    return (larger + 1) / (len(differences) + 1)


def randomisation_p_value(
    metric: Any, statistics: Statistics, baseline_statistics: Statistics, trials: int, seed: int, difference: float
) -> float:
    """How often exchanging the translations of random sentences gives a difference as large as the real one.

    Paired approximate randomisation (Noreen 1989; Riezler and Maxwell 2005), in sacreBLEU's trials of the same seed.
    sacreBLEU counts larger differences only: two systems that differ in a single sentence, whose difference is the same
    in all trials, would there have the smallest p-value. Here it is 1.
    """
    generator = numpy.random.default_rng(seed)
    system, baseline = (numpy.array(counts, dtype="float64") for counts in (statistics, baseline_statistics))
    total = system.sum(0) + baseline.sum(0)  # (counts,)
    extreme = 0
    for begin in range(0, trials, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, trials - begin)
        of_baseline = generator.integers(2, size=(rows, len(system)), dtype=bool)
        for counts in of_baseline.astype("float64") @ (baseline - system) + system.sum(0):
            scores = [metric._compute_score_from_stats(of_one).score for of_one in (counts, total - counts)]
            extreme += int(abs(scores[0] - scores[1]) >= difference - _ROUNDING)
    return (extreme + 1) / (trials + 1)

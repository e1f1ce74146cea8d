"""What a few noisy rounds can say: quantiles, bootstrap intervals, a permutation test, and the rate of false finds.

Everything random here is seeded: the same rounds give the same interval.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
RESAMPLES = 2000
# So many splits of the rounds are tried one by one; of more, so many are drawn.
MOST_SPLITS = 20_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with the ends of its bootstrap interval (of CONFIDENCE), in the unit of the values."""

    median: float
    low: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, between neighbours in proportion (numpy's default).

    Raises ValueError when there are no values or `share` is not from 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"expected values and a share from 0 to 1, got {len(values)} values and {share}")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def bootstrap(
    values: Sequence[float], *, of: Callable[[Sequence[float]], float] = statistics.median, seed: int = 1
) -> Interval:
    """The statistic of the values with its percentile-bootstrap interval. One value is its own interval."""
    point = of(values)
    if len(values) < 2:
        return Interval(point, point, point)
    source = random.Random(seed)
    seen = sorted(of(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return Interval(point, quantile(seen, tail), quantile(seen, 1 - tail))


def paired_ratio(slow: Sequence[float], fast: Sequence[float], *, seed: int = 1) -> Interval:
    """How many times `slow` takes what `fast` takes: of each round, so that a drift of the machine cancels out."""
    return bootstrap([a / b for a, b in zip(slow, fast, strict=True)], seed=seed)


def unpaired_ratio(new: Sequence[float], old: Sequence[float], *, seed: int = 1) -> Interval:
    """The ratio of the medians of two runs that know nothing of each other, each resampled for itself."""
    point = statistics.median(new) / statistics.median(old)
    source = random.Random(seed)
    seen = sorted(
        statistics.median(source.choices(new, k=len(new))) / statistics.median(source.choices(old, k=len(old)))
        for _ in range(RESAMPLES)
    )
    tail = (1 - CONFIDENCE) / 2
    return Interval(point, quantile(seen, tail), quantile(seen, 1 - tail))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios: twice as fast and half as fast are 1 on average."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def mean_of_intervals(rounds: Sequence[Sequence[float]], *, seed: int = 1) -> Interval:
    """The geometric mean over cases of the median ratio of each, resampled within every case.

    :param rounds: for each case, the ratio of every round.
    """
    source = random.Random(seed)
    point = geometric_mean([statistics.median(ratios) for ratios in rounds])
    seen = [
        geometric_mean([statistics.median(source.choices(ratios, k=len(ratios))) for ratios in rounds])
        for _ in range(RESAMPLES)
    ]
    tail = (1 - CONFIDENCE) / 2
    return Interval(point, quantile(seen, tail), quantile(seen, 1 - tail))


def smallest_p(first: int, second: int) -> float:
    """The least p-value that so many rounds of each can give: with 3 against 3 it is 0.1, whatever they say."""
    splits = math.comb(first + second, first)
    return (2 if first == second else 1) / splits


def permutation_p(first: Sequence[float], second: Sequence[float], *, seed: int = 1) -> float:
    """How often a random split of all rounds differs as much as this one, by the mean of the logarithms; two-sided.

    Exact where there are at most MOST_SPLITS splits, else of so many drawn ones.
    """
    logs = [math.log(value) for value in (*first, *second)]
    n, total = len(first), math.fsum(map(math.log, (*first, *second)))

    def apart(part: float) -> float:
        return abs(part / n - (total - part) / (len(logs) - n))

    least = apart(math.fsum(logs[:n])) * (1 - 1e-9)
    if math.comb(len(logs), n) <= MOST_SPLITS:
        splits = [math.fsum(part) for part in itertools.combinations(logs, n)]
        return sum(apart(part) >= least for part in splits) / len(splits)
    source = random.Random(seed)
    hits = sum(apart(math.fsum(source.sample(logs, n))) >= least for _ in range(MOST_SPLITS))
    return (hits + 1) / (MOST_SPLITS + 1)


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values, in the order given: many comparisons find something by chance."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    adjusted = [1.0] * len(p_values)
    least = 1.0
    for place, index in enumerate(order):
        least = min(least, p_values[index] * len(p_values) / (len(p_values) - place))
        adjusted[index] = least
    return adjusted

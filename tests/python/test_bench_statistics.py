"""The statistics of `offloop bench` against values that are known."""

from __future__ import annotations

import math
import random
import statistics

import numpy
import pytest

from offloop.bench import statistics as st


def test_quantiles_are_those_of_numpy() -> None:
    source = random.Random(5)
    values = [source.expovariate(1) for _ in range(137)]
    for share in (0, 0.01, 0.5, 0.9, 0.99, 0.999, 1):
        assert st.quantile(values, share) == pytest.approx(float(numpy.quantile(values, share)))
    with pytest.raises(ValueError, match="got 0 values"):
        st.quantile([], 0.5)
    with pytest.raises(ValueError, match="share from 0 to 1"):
        st.quantile([1.0], 1.5)


def test_the_bootstrap_of_three_values_is_the_exact_one() -> None:
    # Of 27 equally likely resamples of (1, 2, 4), 7 have the median 1 and 7 the median 4: both tails are above 2.5 %.
    assert st.bootstrap([4.0, 1.0, 2.0]) == st.Interval(2.0, 1.0, 4.0)


def test_a_bootstrap_is_seeded_and_narrows_with_the_rounds() -> None:
    source = random.Random(1)
    few = [source.gauss(10, 1) for _ in range(9)]
    many = few + [source.gauss(10, 1) for _ in range(300)]
    assert st.bootstrap(few, seed=3) == st.bootstrap(few, seed=3)
    narrow, wide = st.bootstrap(many), st.bootstrap(few)
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2
    assert narrow.low <= narrow.median <= narrow.high


def test_most_of_the_intervals_hold_the_truth() -> None:
    source = random.Random(2)
    held = 0
    for seed in range(50):
        interval = st.bootstrap([source.gauss(10, 1) for _ in range(30)], of=statistics.fmean, seed=seed)
        held += interval.low <= 10 <= interval.high
    assert 42 <= held <= 50


def test_one_value_is_its_own_interval() -> None:
    assert st.bootstrap([7.0]) == st.Interval(7.0, 7.0, 7.0)


def test_a_paired_ratio_does_not_see_a_drift_that_both_share() -> None:
    drift = [1.0, 2.0, 4.0, 8.0]
    assert st.paired_ratio([3 * d for d in drift], drift) == st.Interval(3.0, 3.0, 3.0)
    assert st.unpaired_ratio([3 * d for d in drift], drift).low < 2


def test_means_of_ratios() -> None:
    assert st.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    ratios = [1.9, 2.1, 2.3, 3.2, 15.7]
    assert st.geometric_mean(ratios) == pytest.approx(statistics.geometric_mean(ratios))
    interval = st.mean_of_intervals([[2.0, 2.0, 2.0], [8.0, 8.0, 8.0]])
    assert (interval.median, interval.low, interval.high) == (pytest.approx(4), pytest.approx(4), pytest.approx(4))


def test_permutation_p_values_are_exact_where_they_can_be() -> None:
    # Quite apart: of the 20 splits only this one and its mirror are as far.
    assert st.permutation_p([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]) == pytest.approx(2 / 20) == st.smallest_p(3, 3)
    assert st.permutation_p([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == 1.0
    apart = st.permutation_p([1.0, 1.1, 1.2, 1.3, 1.4], [2.0, 2.1, 2.2, 2.3, 2.4])
    assert apart == pytest.approx(2 / math.comb(10, 5)) == st.smallest_p(5, 5)
    drawn = st.permutation_p([1 + i / 100 for i in range(12)], [2 + i / 100 for i in range(12)])
    assert 0 < drawn < 0.001  # too many splits to try all


def test_under_no_difference_p_values_are_small_as_seldom_as_they_should() -> None:
    source = random.Random(3)
    small = sum(
        st.permutation_p([source.gauss(10, 1) for _ in range(5)], [source.gauss(10, 1) for _ in range(5)]) <= 0.05
        for _ in range(200)
    )
    assert small <= 20


def test_false_discovery_is_benjamini_and_hochberg() -> None:
    # The example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "BH"), and one that is out of order.
    assert st.false_discovery([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05] * 5)
    assert st.false_discovery([0.5, 0.001, 0.04]) == pytest.approx([0.5, 0.003, 0.06])
    assert st.false_discovery([]) == []

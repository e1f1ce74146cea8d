"""The model of bridge_model.py, in short: steps that hypothesis chooses and shrinks, and some seeds of `make soak`."""

from __future__ import annotations

from typing import Any

import pytest
import soak
from bridge_model import WEIGHTS, Choose, Model
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

# The numbers that a step may ask for; what it does not ask for is 0.
NUMBERS = st.lists(st.integers(0, 255), max_size=8)


def step_by(name: str) -> Any:
    @rule(numbers=NUMBERS)
    def step(self: BridgeMachine, numbers: list[int]) -> None:
        left = iter(numbers)
        self.model.step(name, Choose(lambda n: next(left, 0) % n))

    step.__name__ = name
    return step


class BridgeMachine(RuleBasedStateMachine):
    """Each step of the model is a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def teardown(self) -> None:
        self.model.end()

    for name in WEIGHTS:
        vars()[name] = step_by(name)
    del name


# The same steps each time: a failure here is for everybody to see, new ones are for `make soak` to find.
BridgeMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestBridge = BridgeMachine.TestCase


@pytest.mark.parametrize("seed", range(6))
def test_a_thousand_random_steps_end_as_the_model_says(seed: int) -> None:
    soak.run(seed, 1000)

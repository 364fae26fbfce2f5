"""Configurations are read from text and shown as text; what is not allowed is answered with what is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import sentence
from noisyfer.core.config import check, option, options, parse_settings, to_dict, with_settings
from noisyfer.core.errors import UserError


@dataclass(frozen=True)
class Config:
    """An example."""

    epochs: int = option(200, "passes over the data", low=1, high=10_000)
    rate: float = option(0.1, "learning rate", above=0)
    lambda_: float = option(0.8, "weight of the adversarial part", low=0)
    shape: Literal["round", "square"] = option("round", "form", choices=("round", "square"))
    internal: int = 3


def test_options_have_public_names_and_only_options_are_shown() -> None:
    assert list(options(Config)) == ["epochs", "rate", "lambda", "shape"]
    assert to_dict(Config(lambda_=0.3)) == {"epochs": 200, "rate": 0.1, "lambda": 0.3, "shape": "round"}


def test_settings_are_read_from_text_and_the_rest_stays() -> None:
    settings = parse_settings(["epochs=5", " lambda = 0.5", "rate=1e-4", "shape=square"])
    changed = with_settings(Config(), settings)
    assert changed == Config(epochs=5, lambda_=0.5, rate=1e-4, shape="square")
    assert type(changed.epochs) is int
    assert parse_settings(["file=a=b"]) == {"file": "a=b"}


@given(st.integers(1, 10_000), st.floats(1e-300, 1e300), st.floats(0, 1e300), st.sampled_from(["round", "square"]))
def test_any_configuration_survives_being_shown_as_text_and_read_again(
    epochs: int, rate: float, weight: float, shape: Literal["round", "square"]
) -> None:
    config = Config(epochs=epochs, rate=rate, lambda_=weight, shape=shape)
    assert with_settings(Config(), {name: str(value) for name, value in to_dict(config).items()}) == config
    assert with_settings(Config(), to_dict(config)) == config


@pytest.mark.parametrize("text", ["epochs", "=5", " = 5", ""])
def test_a_setting_that_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_settings([text])
    assert f"'{text}'" in sentence(error)
    assert "key=value" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "0", "at least 1"),
        ("epochs", "-3", "at least 1"),
        ("epochs", "10001", "at most 10000"),
        ("epochs", "9" * 400, "at most 10000"),
        ("epochs", "9" * 5000, "a whole number"),
        ("epochs", "1.5", "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("epochs", math.nan, "a whole number"),
        ("epochs", math.inf, "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", None, "a whole number"),
        ("epochs", "many", "a whole number"),
        ("epochs", "", "a whole number"),
        ("rate", "0", "greater than 0"),
        ("rate", "-1e-4", "greater than 0"),
        ("rate", "nan", "a finite number"),
        ("rate", "inf", "a finite number"),
        ("rate", 10**400, "a number"),
        ("rate", False, "a number"),
        ("rate", [0.1], "a number"),
        ("lambda", "-0.1", "at least 0"),
        ("lambda", "-inf", "a finite number"),
        ("lambda", "NaN", "a finite number"),
        ("shape", "oval", "round, square"),
        ("shape", None, "round, square"),
    ],
)
def test_a_value_that_is_not_allowed_is_answered_with_what_is(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UserError) as error:
        with_settings(Config(), {name: value})
    assert name in sentence(error)
    assert expected in str(error.value)


def test_limits_themselves_are_allowed() -> None:
    changed = with_settings(Config(), {"epochs": 10_000.0, "lambda": "0", "rate": "5e-324"})
    assert changed == Config(epochs=10_000, lambda_=0.0, rate=5e-324)
    check(Config(epochs=1))
    with pytest.raises(UserError, match="epochs is 0"):
        check(Config(epochs=0))


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError) as error:
        with_settings(Config(), {"epoch": "5"})
    assert sentence(error) == (
        "There is no option named 'epoch'. Did you mean 'epochs'? Known: epochs, lambda, rate, shape."
    )
    with pytest.raises(UserError, match="no option named 'internal'"):
        with_settings(Config(), {"internal": "5"})

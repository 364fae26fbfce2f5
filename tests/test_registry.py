"""A registry gives back what it holds, and answers an unknown name with all names and the nearest."""

from __future__ import annotations

import pytest
from messages import sentence
from noisyfer.core.errors import UserError, first_line, unknown_name
from noisyfer.core.registry import Registry


def test_a_registry_gives_back_what_was_registered_and_lists_names_in_order() -> None:
    registry: Registry[type] = Registry("method")

    @registry.register("zeta")
    class Zeta:
        pass

    @registry.register("alpha")
    class Alpha:
        pass

    assert registry["zeta"] is Zeta
    assert registry["alpha"] is Alpha
    assert list(registry) == ["alpha", "zeta"]
    assert len(registry) == 2
    assert "zeta" in registry
    assert "beta" not in registry


def test_a_name_cannot_be_registered_twice() -> None:
    registry: Registry[int] = Registry("method")
    registry.register("one")(1)
    with pytest.raises(ValueError, match="method 'one' is registered twice: 1 and 2"):
        registry.register("one")(2)
    assert registry["one"] == 1


def test_an_unknown_name_is_answered_with_all_names_and_the_nearest() -> None:
    registry: Registry[int] = Registry("method")
    for number, name in enumerate(("vgg-all", "proposed", "co-teaching")):
        registry.register(name)(number)
    with pytest.raises(UserError) as error:
        registry["propsed"]
    assert sentence(error) == (
        "There is no method named 'propsed'. Did you mean 'proposed'? Known: co-teaching, proposed, vgg-all."
    )


def test_a_name_that_resembles_nothing_gets_no_suggestion() -> None:
    assert str(unknown_name("split", "zzz", ("train", "test"))) == "There is no split named 'zzz'. Known: test, train."
    assert str(unknown_name("split", "train", ())) == "There is no split named 'train'. Known: none."


def test_the_first_line_of_an_error_never_is_empty() -> None:
    assert first_line(ValueError("one.\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"

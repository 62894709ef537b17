"""Typed settings: what is parsed, and the one line that refuses the rest."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from excise.errors import InputError
from excise.settings import (
    as_dict,
    from_sections,
    json_of,
    parse,
    schema_of,
    setting,
)


@dataclass(frozen=True)
class Inner:
    rank: int
    targets: str | tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    rate: float = setting("Step size.", above=0, maximum=1)
    epochs: tuple[int, ...] = setting("When to save.", minimum=1)
    kind: Literal["a", "b"]
    prompt: str | None
    on: bool
    layer: int | str
    more: dict | None
    named: dict[str, tuple[int, ...]] | None
    inner: Inner
    weight: float = setting("Weight of the rest.", default=0.5, minimum=0)


GOOD = {
    "rate": 1,
    "epochs": [1, 2.0],
    "kind": "a",
    "prompt": None,
    "on": True,
    "layer": "last",
    "more": {"x": [1]},
    "named": {"x": [1, 2.0]},
    "inner": {"rank": 4, "targets": ["q_proj", "v_proj"]},
}


def test_every_type_is_read_and_numbers_get_the_type_of_the_field():
    found = parse(Outer, GOOD)
    assert found == Outer(
        **{"rate": 1.0, "epochs": (1, 2), "kind": "a", "prompt": None, "on": True},
        **{"layer": "last", "more": {"x": [1]}, "named": {"x": (1, 2)}, "weight": 0.5},
        inner=Inner(4, ("q_proj", "v_proj")),
    )
    assert isinstance(found.rate, float) and isinstance(found.epochs[1], int)
    assert parse(Outer, GOOD | {"layer": 3}).layer == 3
    assert parse(Outer, GOOD | {"inner": {"rank": 1, "targets": "all"}}).inner.targets == "all"


def test_settings_are_the_same_after_a_round_trip():
    found = parse(Outer, GOOD)
    assert parse(Outer, as_dict(found)) == found
    assert json_of(Outer)(json.dumps(as_dict(found))) == found


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"rat": 1}, "rat: unknown key; did you mean rate?"),
        ({"zzz": 1}, "zzz: unknown key; allowed: rate, epochs, kind"),
        ({"rate": "1"}, "rate: found text '1'; allowed: a number"),
        ({"rate": True}, "rate: found True; allowed: a number"),
        ({"rate": float("nan")}, "rate: found nan; allowed: a number"),
        ({"rate": float("inf")}, "rate: found inf; allowed: a number"),
        ({"rate": 0}, "rate: found 0.0; allowed: above 0"),
        ({"rate": 2}, "rate: found 2.0; allowed: at most 1"),
        ({"weight": -1}, "weight: found -1.0; allowed: at least 0"),
        ({"epochs": 3}, "epochs: found 3; allowed: a list"),
        ({"epochs": "12"}, "epochs: found text '12'; allowed: a list"),
        ({"epochs": [1, 1.5]}, "epochs[1]: found 1.5; allowed: a whole number"),
        ({"epochs": [True]}, "epochs[0]: found True; allowed: a whole number"),
        ({"epochs": [float("nan")]}, "epochs[0]: found nan; allowed: a whole number"),
        ({"epochs": [0]}, "epochs: found 0; allowed: at least 1"),
        ({"kind": "c"}, "kind: found text 'c'; allowed: one of a, b"),
        ({"prompt": 3}, "prompt: found 3; allowed: text"),
        ({"on": 1}, "on: found 1; allowed: true or false"),
        ({"on": None}, "on: found None; allowed: true or false"),
        ({"layer": [1]}, "layer: found [1]; allowed: a whole number or text"),
        ({"named": {"x": "y"}}, "named: x: found text 'y'; allowed: a list"),
        ({"named": ["x"]}, "named: found ['x']; allowed: a mapping"),
        ({"more": 1}, "more: found 1; allowed: a mapping"),
        ({"inner": 1}, "inner: found 1; allowed: a mapping of keys"),
        ({"inner": {"rank": 4}}, "inner: targets: missing"),
        ({"inner": {"rank": 4, "targets": [1]}}, "inner: targets[0]: found 1; allowed: text"),
        ({"inner": {"rank": 4, "target": "x"}}, "inner: target: unknown key; did you mean targets"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, why):
    with pytest.raises(InputError) as error:
        parse(Outer, GOOD | changes)
    assert str(error.value).startswith(f"--hp: {why}")
    assert "\n" not in str(error.value)


def test_a_missing_key_says_what_it_is_for():
    with pytest.raises(InputError, match=r"^file: rate: missing; needed: Step size\.$"):
        parse(Outer, {key: value for key, value in GOOD.items() if key != "rate"}, "file")


@pytest.mark.parametrize("text", ["{", "", "{'rate': 1}"])
def test_text_that_is_not_json_is_one_line(text):
    with pytest.raises(InputError, match=r"^--author: not JSON \("):
        json_of(Outer, "--author")(text)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"rate"'])
def test_json_that_is_no_object_is_one_line(text):
    for kind in (Outer, dict):
        with pytest.raises(InputError, match=r"allowed: a mapping of keys$"):
            json_of(kind)(text)


def test_any_object_is_taken_if_no_class_says_more():
    assert json_of(dict)('{"x": [1]}') == {"x": [1]}


def test_the_schema_comes_from_the_same_line():
    schema = schema_of(Outer)
    assert schema["rate"] == {
        **{"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "description": "Step size.",
    }
    assert schema["epochs"]["items"] == {"type": "integer"}
    assert schema["weight"]["default"] == 0.5


@dataclass(frozen=True)
class Whole:
    inner: Inner
    seed: int


def test_a_class_takes_its_own_keys_from_sections():
    first, second = {"rank": 4, "targets": "all", "other": 1}, {"seed": 3, "more": 2}
    assert from_sections(Whole, first, second) == Whole(Inner(4, "all"), 3)
    assert from_sections(Whole, {"inner": Inner(1, "x")}, second) == Whole(Inner(1, "x"), 3)


def test_a_key_that_stands_nowhere_or_twice_is_a_mistake_of_ours():
    with pytest.raises(LookupError, match=r"Whole\.seed stands in 0 sections"):
        from_sections(Whole, {"rank": 4, "targets": "all"})
    with pytest.raises(LookupError, match=r"Whole\.seed stands in 2 sections"):
        from_sections(Whole, {"rank": 4, "targets": "all", "seed": 1}, {"seed": 2})

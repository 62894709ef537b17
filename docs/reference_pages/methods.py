"""docs/reference/methods.md: every unlearning method, from its file."""

import inspect
import sys

from excise.settings import schema_of
from excise.unlearning.registry import Method, find, names
from reference_pages.markdown import (
    code,
    heading,
    paragraphs,
    plain,
    source_of,
    table,
    without_source,
)
from reference_pages.values import in_words

INTRODUCTION = """\
A block of `unlearning.trajectories` in the config names a method and lists its hyperparameters.
The block is the grid of its lists, and every point of the grid is one trajectory:

```yaml
unlearning:
  trajectories:
    - {method: npo, learning_rate: [0.0002], beta: [0.1, 0.5], epochs: [3, 5, 10]}
```

`epochs` lists the epochs at which a trajectory is saved. It is no axis of the grid.
The name of a trajectory has the short names: `npo/lr0.0002_beta0.1`. A value of 0 is left out.

A weight means something else for a sum over tokens than for a mean. So the table says over what
the loss on the forget set is summed or averaged. [Add a method](../how-to/add-a-method.md) shows
how to write one.
"""
NEEDED = {
    "retain": "a batch of the retain set",
    "alternatives": "“I don't know” answers to the forget questions",
    "reference_sums": "log-probabilities of the forget answers under the finetuned model",
    "finetuned": "the same batch of {}, read by the finetuned model",
    "logits": "the logits of answer tokens",
    "layers": "hidden states behind a block",
}


def page() -> str:
    """The text of docs/reference/methods.md."""
    methods = list(map(find, names()))
    lines = heading("workflow_scripts/excise/unlearning/methods", "Unlearning methods")
    lines += [*INTRODUCTION.splitlines(), ""]
    rows = [
        [f"[{code(one.name)}](#{one.name})", plain(one.label), plain(one.forget_reduction)]
        for one in methods
    ]
    lines += table(["method", "name in figures", "the forget loss is a"], rows)
    for method in methods:
        lines += _described(method)
    return "\n".join(lines).rstrip() + "\n"


def documentation(method: Method) -> str:
    """The docstring of a method's file."""
    return inspect.getdoc(sys.modules[method.loss.__module__]) or ""


def _described(method: Method) -> list[str]:
    docstring = documentation(method)
    fields = schema_of(method.Settings)
    settings = table(
        ["hyperparameter", "in names", "allowed", "default", "meaning"],
        (_setting(name, method.axes[name], field) for name, field in fields.items()),
    )
    rows = [[plain(what), when] for what, when in needs_of(method)]
    if method.check:
        rows.append(["settings that fit the model", "checked before the first job"])
    if method.checkpoint:
        saved = plain(inspect.getdoc(method.checkpoint).splitlines()[0].rstrip("."))
        rows.append(["a copy of the finetuned adapter", f"saved is {saved}"])
    return [
        f"## {code(method.name)}",
        "",
        *paragraphs(without_source(docstring)),
        f"Source: {plain(source_of(docstring))}.",
        "",
        *settings,
        *(table(["needs", "when"], rows) if rows else ["It needs the forget batch alone.", ""]),
    ]


def _setting(name: str, short: str, field: dict) -> list[str]:
    default = code(f"{field['default']:g}") if "default" in field else "required"
    return [code(name), code(short), in_words(field), default, plain(field["description"])]


def needs_of(method: Method) -> list[tuple[str, str]]:
    """What a step needs beside the forget batch, and when. The method itself is asked."""
    with_weight = _needs(method, retain_weight=1)
    optional = "minimum" in schema_of(method.Settings).get("retain_weight", {})
    always = _needs(method, retain_weight=0) if optional else with_weight
    when = {True: "always", False: "with `retain_weight` above 0"}
    return [(text, when[text in always]) for text in with_weight]


def _needs(method: Method, retain_weight: float) -> list[str]:
    """What it needs with this retain weight, if it has one; other settings: the default, or 1."""
    fields = schema_of(method.Settings)
    values = {name: field.get("default", 1) for name, field in fields.items()}
    if "retain_weight" in fields:
        values["retain_weight"] = retain_weight
    needs = method.needs(method.Settings(**values))
    found = {name: getattr(needs, name) for name in NEEDED}
    return [
        NEEDED[name].format(", ".join(value) if name == "finetuned" else "")
        for name, value in found.items()
        if value
    ]

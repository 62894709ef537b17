"""config/README.md: every key of an experiment, from config.schema.yaml.

The Snakemake workflow catalog shows this page.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from excise.config.presets import PRESETS
from excise.config.schema import dereferenced, schema
from reference_pages.markdown import code, heading, plain, table
from reference_pages.values import in_words

INTRODUCTION = """\
An experiment is a YAML file. `config.yaml` is the default; it runs on the embedded model, on a CPU.
A file in `experiments/` names only the keys that differ from it:

```
snakemake --cores 1 --configfile=experiments/smoke.yaml all
snakemake --cores 1 --config 'finetuning={epochs: 20}' all      # one key on the command line
```

- The files are at the top of the repository, beside the `Snakefile`. This folder holds this page.
- `config.schema.yaml` defines every key. An unknown key, a wrong type or a value out of range stops
  Snakemake before the first job, with one line that names the file, the key and what is allowed.
- A job tracks the keys that it reads. So a changed key reruns the jobs that read it and no others.
- An experiment of your own sets `pathvars`, so that it overwrites no files of another one.
- Software: `make run` installs `requirements.txt` into `.venv`. With `--sdm conda`, Snakemake makes
  the environments of `envs/` instead.
"""


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: with dots, such as `finetuning.epochs`.
        section: the section that it is a key of; its own name if it is one.
        allowed: type and range in words, as in error messages; Markdown.
        default: `required`, or the default as JSON; Markdown.
        description: its meaning, with the unit.
    """

    name: str
    section: str
    allowed: str
    default: str
    description: str

    @property
    def is_section(self) -> bool:
        """Whether it only holds further keys."""
        return self.name == self.section


def all_keys() -> list[Key]:
    """Every key of the schema, in the order of the file; a section stands before its keys."""
    return list(_keys_of(schema(), "", ""))


def _keys_of(part: dict, above: str, section: str) -> Iterator[Key]:
    for step, given in part.get("properties", {}).items():
        name, inner = above + step, dereferenced(given)
        unit = f" Unit: {inner['unit']}." if "unit" in inner else ""
        is_section = "properties" in inner and "string" not in inner.get("type", ())
        here = name if is_section else section
        yield Key(
            name=name,
            section=here,
            allowed=in_words(inner),
            default=_default(inner, required=step in part.get("required", ())),
            description=inner.get("description", "") + unit,
        )
        yield from _keys_of(inner, f"{name}.", here)
        yield from _keys_of(inner.get("items", {}), f"{name}[].", here)


def _default(part: dict, required: bool) -> str:
    if "default" in part:
        return code(json.dumps(part["default"], ensure_ascii=False))
    return "required" if required else ""


def page() -> str:
    """The text of config/README.md."""
    lines = heading("config.schema.yaml", "Config keys") + INTRODUCTION.splitlines() + [""]
    found = all_keys()
    lines += ["## Top level", "", *_table([key for key in found if not key.section])]
    for section in [key for key in found if key.is_section]:
        level = "###" if "." in section.name else "##"
        lines += [f"{level} {section.name}", "", plain(section.description), ""]
        lines += _table([key for key in found if key.section == section.name != key.name])
        lines += AFTER.get(section.name, list)()
    return "\n".join(lines).rstrip() + "\n"


def _table(found: list[Key]) -> list[str]:
    if not found:
        return []
    rows = [[code(key.name), key.allowed, key.default, plain(key.description)] for key in found]
    return table(["key", "allowed", "default", "meaning"], rows)


def _presets() -> list[str]:
    rows = [
        [code(name), *map(str, (one.people, one.holdout, one.forget, one.retain, one.retain))]
        for name, one in PRESETS.items()
    ]
    head = ["preset", "people", "held-out people", "forget", "correlated", "other facts per person"]
    return table(head, rows)


def _hyperparameters() -> list[str]:
    return [
        "The other keys of a block are `epochs`, the epochs at which a trajectory is saved, and "
        "the hyperparameters of its method, each as a list: `docs/reference/methods.md`.",
        "",
    ]


AFTER = {"generation": _presets, "unlearning": _hyperparameters}
"""What stands below the table of a section."""

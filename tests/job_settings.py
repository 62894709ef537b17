"""Settings of programs for tests: those of the default experiment, with changes.

`hp("evaluation_settings", batch_size=4)` is the text of `--hp`, as the rules give it.
`settings(EvaluationSettings, "evaluation_settings", batch_size=4)` is the same as an object.
"""

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from excise.config.check import check_config
from excise.config.load import load_config
from excise.generation.settings import WritingLimits
from excise.settings import parse
from excise.workflow.study import Study

ROOT = Path(__file__).parents[1]
DEFAULT = check_config(*load_config([ROOT / "config.yaml"]))


def study(**changes: dict) -> Study:
    """The default study; `changes` are merged into sections of its config, one level deep."""
    config = copy.deepcopy(DEFAULT)
    for section, own in changes.items():
        config[section] = config[section] | own if isinstance(own, dict) else own
    return Study(config)


def wildcards(**values: Any) -> SimpleNamespace:
    """A stand-in for Snakemake's wildcards."""
    return SimpleNamespace(keys=values.keys, get=values.get, **values)


def given(name: str, **changes: Any) -> dict:
    """The JSON object that a method of `Study` makes; `changes` replace keys, nested ones too."""
    method = getattr(study(), name)
    made = method(wildcards()) if name == "finetuning_settings" else method()
    content = json.loads(made) if isinstance(made, str) else made
    for key, value in changes.items():
        mappings = [content, *(one for one in content.values() if isinstance(one, dict))]
        places = [one for one in mappings if key in one]
        assert len(places) == 1, f"{name}: {key}"
        places[0][key] = value
    return content


def hp(name: str, **changes: Any) -> str:
    """The same as the text of `--hp`."""
    return json.dumps(given(name, **changes))


def settings(kind: type, name: str, **changes: Any) -> Any:
    """The same as an object."""
    return parse(kind, given(name, **changes))


def writing_limits() -> WritingLimits:
    """What a model's texts are held to, as the rules give it."""
    return parse(WritingLimits, study().writing_limits())


PARTS = {
    "profiles": "people_settings",
    "facts": "facts_settings",
    "qa": "question_settings",
    "forget_paraphrased": "paraphrase_settings",
    "preview": "preview_settings",
}
WRITING = {"preset": "small", "people": 24, "holdout": 0}
WRITING |= {"perturbed_candidates": 5, "forget_paraphrases": 3}
"""How much the generating programs write in tests, if a test does not say."""


def part_hp(part: str, **generation: Any) -> str:
    """`--hp` of a generating program: of the keys of `generation` those that it takes."""
    writes = generation.get("backend") == "openai"
    wanted = WRITING | {"limits": study().writing_limits() if writes else None} | generation
    content = given(PARTS[part])
    return json.dumps(content | {key: wanted[key] for key in content if key in wanted})

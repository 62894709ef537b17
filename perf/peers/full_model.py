"""A merged model as a full model folder, which transformers 4.45 and later read alike."""

import json
import warnings
from pathlib import Path

from excise.files import atomic_path
from excise.modeling.adapters import load_merged
from excise.modeling.base import load_tokenizer
from excise.modeling.chat import MARKERS, end_of_turn, render
from excise.records import read_json, write_json


def write_full_model(base: Path, adapter: Path | None, out: Path) -> None:
    """Merge an adapter in fp32 and write the model with its tokenizer.

    The chat template writes nothing after the end of turn. So open-unlearning, which scores all
    that a template writes, scores the same tokens as the others.

    Args:
        base: base model folder.
        adapter: adapter folder; None: the base model.
        out: folder to write.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft notes that the base folder has another spelling
        load_merged(base, adapter).save_pretrained(out)
    config = read_json(out / "config.json")
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope:  # the name before transformers 5
        config["rope_theta"] = rope["rope_theta"]
    write_json(out / "config.json", config | {"torch_dtype": "float32"})
    tokenizer = load_tokenizer(base)
    template = one_turn_template(tokenizer)
    tokenizer.save_pretrained(out)
    (out / "chat_template.jinja").unlink(missing_ok=True)
    settings = read_json(out / "tokenizer_config.json")
    settings.pop("extra_special_tokens", None)  # a list there means something else in 4.45
    with atomic_path(out / "tokenizer_config.json") as temporary:
        temporary.write_text(json.dumps(settings | {"chat_template": template}), encoding="utf-8")


def one_turn_template(tokenizer) -> str:
    """A template for one question and one answer that ends with the end of turn."""
    before, after = render(tokenizer, MARKERS[0]).split(MARKERS[0])
    end = tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer))
    return (
        f"{{{{ {json.dumps(before)} + messages[0]['content'] + {json.dumps(after)} }}}}"
        "{% if messages|length > 1 %}"
        f"{{{{ messages[1]['content'] + {json.dumps(end)} }}}}"
        "{% endif %}"
    )

"""Whether the model that answers is the one that was asked for, by its name.

Names are no proof: a deployment, a router or an alias answers under another one with every right,
and a local server may repeat whatever it was asked for. So another name is told and recorded, and
ends nothing.
"""

import re

_SNAPSHOT = re.compile(
    r"[-@:_](\d{4}-?\d{2}-?\d{2}|\d{2}-\d{2}|\d{3,4}|preview|latest|exp|v\d+(\.\d+)?)$"
)
_FILE = re.compile(r"\.(gguf|ggml|bin|safetensors|llamafile|mlmodel)$")
_LATEST = re.compile(r"[-:]latest$")


def is_same_model(asked: str, answering: str) -> bool:
    """Whether an answer's model name may stand for the model asked for.

    It may be the name itself, with or without an owner before it (`Qwen/`), a dated snapshot of
    it (`gpt-4o-mini-2024-07-18`), or a file of it (`qwen2.5-7b-instruct-q4_k_m.gguf`).
    """
    wanted, found = _last_part(asked), _last_part(answering)
    if wanted == found:
        return True
    if _FILE.search(found):  # a file's name goes on with its quantization
        return _letters(_FILE.sub("", found)).startswith(_letters(_FILE.sub("", wanted)))
    wanted, rest = _LATEST.sub("", wanted), found
    while rest != wanted and rest.startswith(wanted):
        shorter = _SNAPSHOT.sub("", rest)
        if shorter == rest:
            return False
        rest = shorter
    return rest == wanted


def _last_part(name: str) -> str:
    return re.split(r"[\\/]", name.strip().casefold())[-1]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)

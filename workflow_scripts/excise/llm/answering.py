"""Compare the name of the answering model with the name of the requested one.

Names are no proof. A deployment, a router or an alias may answer under another name, and a local
server may repeat any requested name. So another name is reported and recorded, but does not end
the run.
"""

import re

_SNAPSHOT = re.compile(
    r"[-@:_](\d{4}-?\d{2}-?\d{2}|\d{2}-\d{2}|\d{3,4}|preview|latest|exp|v\d+(\.\d+)?)$"
)
_FILE = re.compile(r"\.(gguf|ggml|bin|safetensors|llamafile|mlmodel)$")
_LATEST = re.compile(r"[-:]latest$")


def is_same_model(requested: str, answering: str) -> bool:
    """Whether the model name in an answer fits the requested model.

    It may be the same name, with or without an owner (`Qwen/`), a dated snapshot
    (`gpt-4o-mini-2024-07-18`), or a file (`qwen2.5-7b-instruct-q4_k_m.gguf`).
    """
    wanted, found = _last_part(requested), _last_part(answering)
    if wanted == found:
        return True
    if _FILE.search(found):  # a quantization may follow in a file name
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

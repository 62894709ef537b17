"""Read prompt files: versioned text with {placeholders}, and the JSON Schema of the reply.

A line of three dashes divides a file into two parts: the model's role, then its task.
Values are inserted as JSON in one pass, so placeholders inside values stay unchanged.

Some objects have keys that depend on the call. Their `additionalProperties` is the schema of each
entry, and `Prompt.reply` lists the keys. A server that enforces the schema then rejects missing
and additional keys. Keys also fix the number of texts, because not every server supports
`minItems`.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from excise.errors import InputError
from excise.records import read_json

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
EXAMPLE = re.compile(r"^\{.*\}$", re.MULTILINE)
RULE = re.compile(r"^---[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """One prompt file.

    Attributes:
        system: the first part.
        user: the second part, with placeholders.
        schema: JSON Schema of the reply.
        version: first 16 hex digits of the SHA-256 of text and schema.
        example: names and values of the examples in the first part; replies must not contain them.
    """

    system: str
    user: str
    schema: dict
    version: str
    example: tuple[str, ...] = ()

    def fill(self, **fields: object) -> str:
        """The second part, with the fields as JSON in place of the placeholders."""
        filled = {name: json.dumps(value, ensure_ascii=False) for name, value in fields.items()}
        return PLACEHOLDER.sub(lambda found: filled[found[1]], self.user)

    def reply(self, *keys: Sequence[str]) -> dict:
        """The schema of a reply, with the keys of the call.

        Args:
            keys: keys of the objects on each level, outermost first.
        """
        return named(self.schema, keys)


def named(schema: dict, keys: Sequence[Sequence[str]]) -> dict:
    """A schema whose objects list and require the keys of the call; see `Prompt.reply`.

    The schema of an entry appears once, under `$defs`; every entry refers to it.
    """
    definitions: dict[str, dict] = {}

    def filled(part: dict, level: int) -> dict:
        entry = part.get("additionalProperties")
        if isinstance(entry, dict):
            name = f"entry_{level + 1}"
            definitions[name] = filled(entry, level + 1)
            reference = {"$ref": f"#/$defs/{name}"}
            return part | {
                "additionalProperties": False,
                "required": list(keys[level]),
                "properties": dict.fromkeys(keys[level], reference),
            }
        if "properties" in part:
            properties = {name: filled(of, level) for name, of in part["properties"].items()}
            return part | {"properties": properties}
        return part

    whole = filled(schema, 0)
    return whole | {"$defs": definitions} if definitions else whole


def example_of(system: str) -> tuple[str, ...]:
    """Names and values of the examples in a prompt: lines that are JSON with a `person`."""
    found: dict[str, None] = {}
    for line in EXAMPLE.findall(system):
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if "person" in data:
            keys = ("person", "profession", "event")
            found |= dict.fromkeys(data[key] for key in keys if key in data)
            for fact in (*data.get("details", ()), *data.get("facts", ())):
                values = (fact[key] for key in ("value", "false_value") if key in fact)
                found |= dict.fromkeys(values)
    return tuple(found)


def read_prompt(path: str | Path, placeholders: tuple[str, ...]) -> Prompt:
    """Read a prompt file and its schema, `qa.md` and `qa.schema.json`.

    Args:
        path: the Markdown file.
        placeholders: names of all placeholders of its second part.

    Raises:
        InputError: a file is missing, has not two parts, lacks a placeholder, has an unknown
            one, or the schema is invalid.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from error
    parts = RULE.split(text)
    if len(parts) != 2:
        raise InputError(
            f"{path}: {len(parts) - 1} lines of three dashes; exactly one must be there, "
            "between system and user"
        )
    system, user = (part.strip() for part in parts)
    allowed = ", ".join(f"{{{name}}}" for name in placeholders)
    for name in placeholders:
        if f"{{{name}}}" not in user:
            raise InputError(f"{path}: placeholder {{{name}}} is missing below the line of dashes")
    for found in PLACEHOLDER.finditer(text):
        if found[1] not in placeholders or found[0] in system:
            raise InputError(
                f"{path}: nothing fills the placeholder {found[0]}; "
                f"allowed, below the line of dashes: {allowed}"
            )
    schema_path = path.with_name(f"{path.stem}.schema.json")
    schema = read_json(schema_path)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InputError(f"{schema_path}: not a JSON Schema ({error.message})") from error
    content = json.dumps([system, user, schema], sort_keys=True)
    version = hashlib.sha256(content.encode()).hexdigest()[:16]
    return Prompt(system, user, schema, version, example_of(system))

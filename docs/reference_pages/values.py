"""What a JSON Schema allows, in words."""

from excise.config.messages import allowed
from reference_pages.markdown import code, plain


def in_words(part: dict) -> str:
    """What a value may be, as Markdown: the words of error messages, with patterns as code.

    Args:
        part: JSON Schema of the value, its references followed.
    """
    if "properties" in part.get("items", {}):
        return "a list of mappings"
    rest = {key: value for key, value in part.items() if key not in ("$ref", "unit", "pattern")}
    if "enum" in rest:
        rest["enum"] = ["null" if value is None else value for value in rest["enum"]]
        rest.pop("type", None)
    if rest.get("minLength") == 1:  # not empty
        del rest["minLength"]
    matching = f", matching {code(part['pattern'])}" if "pattern" in part else ""
    return plain(allowed(rest)) + matching

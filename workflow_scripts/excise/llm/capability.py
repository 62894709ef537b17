"""How an endpoint is made to answer in JSON: a ladder, tried from the top, never assumed.

    json_schema   `response_format` with the schema, strict: the server lets nothing else through
    json_object   `response_format` for any JSON object; the schema stands in the prompt
    prompt        the schema stands in the prompt, nothing is enforced

A server may refuse `response_format` (400 or 422) or take it and do nothing. Two probes tell: a
reply that could only come about by enforcement. What they find is journaled, so that the probe is
paid for once.
"""

import json

from excise.llm.repair import json_object
from excise.llm.requests import Request

RUNGS = ("json_schema", "json_object", "prompt")
UNHONOURED_MAX = 3  # this many unenforced replies in a row: the server ignores response_format
FAULTS_TOLD = 20
FAULTY = "Your answer cannot be used yet. What is wrong with it, sentence by sentence:"
MENDING = (
    "Give the whole JSON object again. Mend what is listed, with new sentences where needed, and "
    "keep the rest as it was. Do not write about these remarks.",
)
KEPT = ("type", "enum", "const", "description", "$ref")  # what strict mode takes as it is

_WORD = "obsidian-17"
PROBES = {
    "json_schema": Request(
        part="probe",
        subject="json_schema",
        system="You are a helpful assistant.",
        user="Say hello.",
        schema={
            "type": "object",
            "additionalProperties": False,
            "required": ["k7"],
            "properties": {"k7": {"type": "string", "enum": [_WORD]}},
        },
        prompt_version="probe",
        max_tokens=256,
        temperature=0.0,
    ),
    "json_object": Request(
        part="probe",
        subject="json_object",
        system="You are a helpful assistant.",
        user="Say hello in plain words. Do not write JSON.",
        schema={"type": "object"},
        prompt_version="probe",
        max_tokens=256,
        temperature=0.0,
    ),
}


def enforced(rung: str, text: str) -> bool:
    """Whether the reply to a rung's probe shows that the server enforces it."""
    value = json_object(text)
    if rung == "json_schema":
        return value == {"k7": _WORD}
    return value is not None


def honoured(rung: str, text: str, schema: dict) -> bool:
    """Whether a reply looks like one of a server that enforces the rung."""
    value = json_object(text)
    if value is None:
        return rung == "prompt"
    return rung != "json_schema" or set(schema.get("required", ())) <= set(value)


def lower(rung: str) -> str | None:
    """The rung below; None at the bottom."""
    index = RUNGS.index(rung) + 1
    return RUNGS[index] if index < len(RUNGS) else None


def payload(
    request: Request,
    rung: str,
    model: str,
    limit: int,
    token_name: str,
    error: str | None = None,
    sends_temperature: bool = True,
    said: str = "",
) -> dict:
    """The body of a call.

    Args:
        request: what is asked.
        rung: how JSON is asked for.
        model: the model's name.
        limit: length limit of the answer, in tokens.
        token_name: the endpoint's name for it, `max_tokens` or `max_completion_tokens`.
        error: faults of the previous reply, one per line. If given, the call repeats the
            original messages, that reply, and these lines.
        sends_temperature: False for a model that accepts only its own temperature.
        said: the previous reply.
    """
    system = request.system
    if rung != "json_schema" and request.part != "probe":
        system = (
            f"{system}\n\nReply with one JSON object and nothing else. It must fit this JSON "
            f"Schema:\n{json.dumps(request.schema, ensure_ascii=False)}"
        )
    messages = [("system", system), ("user", request.user)]
    if error is not None:
        # Some servers refuse an empty turn.
        messages += [("assistant", said.strip() or "(nothing)"), ("user", correction(error))]
    body = {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in messages],
        token_name: limit,
    }
    if sends_temperature:
        body["temperature"] = request.temperature
    if rung == "json_schema":
        strict = {"name": "reply", "strict": True, "schema": wire_schema(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": strict}
    elif rung == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def correction(error: str) -> str:
    """The message to a model about its faulty reply; `error` has one line per fault."""
    lines = error.split("\n")
    told = [f"- {line}" for line in lines[:FAULTS_TOLD]]
    if len(lines) > FAULTS_TOLD:
        told.append(f"- and {len(lines) - FAULTS_TOLD} more of the same kinds")
    return "\n".join((FAULTY, *told, *MENDING))


def wire_schema(schema: dict) -> dict:
    """The part of a schema that strict mode accepts; the whole schema is checked here, after.

    Strict mode wants every property required and no others, and refuses most limits.
    """
    kept = {key: schema[key] for key in KEPT if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: wire_schema(of) for name, of in schema["properties"].items()}
        kept["required"] = list(schema["properties"])
        kept["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        kept["items"] = wire_schema(schema["items"])
    if "anyOf" in schema:
        kept["anyOf"] = [wire_schema(one) for one in schema["anyOf"]]
    if "$defs" in schema:
        kept["$defs"] = {name: wire_schema(one) for name, one in schema["$defs"].items()}
    return kept

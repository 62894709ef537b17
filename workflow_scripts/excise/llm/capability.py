"""Find out how an endpoint can be made to answer in JSON: a ladder of three rungs.

    json_schema   strict `response_format` with the schema: the server enforces the schema
    json_object   `response_format` for any JSON object; the prompt contains the schema
    prompt        the prompt contains the schema, and the server enforces nothing

A server may refuse `response_format` (400 or 422), or accept and ignore it. Two probes, from the
top rung down, test this: only a server that enforces the rung gives the expected reply. The
journal keeps the result, so each probe is paid for once.
"""

import json

from excise.llm.repair import json_object
from excise.llm.requests import Request

RUNGS = ("json_schema", "json_object", "prompt")
UNHONOURED_MAX = 3  # unenforced replies in a row, after which the next rung is used
FAULTS_LISTED = 20
FAULTY = "Your answer cannot be used yet. What is wrong with it, sentence by sentence:"
MENDING = (
    "Give the whole JSON object again. Mend what is listed, with new sentences where needed, and "
    "keep the rest as it was. Do not write about these remarks.",
)
KEPT = ("type", "enum", "const", "description", "$ref")  # strict mode accepts these unchanged

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
    """Whether the reply to a probe shows that the server enforces the rung."""
    value = json_object(text)
    if rung == "json_schema":
        return value == {"k7": _WORD}
    return value is not None


def honoured(rung: str, text: str, schema: dict) -> bool:
    """Whether a reply is consistent with a server that enforces the rung."""
    value = json_object(text)
    if value is None:
        return rung == "prompt"
    return rung != "json_schema" or set(schema.get("required", ())) <= set(value)


def next_rung(rung: str) -> str | None:
    """The rung below, or None at the bottom."""
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
    previous_reply: str = "",
) -> dict:
    """The body of a call.

    Args:
        request: the request.
        rung: how the call asks for JSON.
        model: name of the model.
        limit: length limit of the answer, in tokens.
        token_name: the endpoint's name of this limit, `max_tokens` or `max_completion_tokens`.
        error: faults of the previous reply, one per line. If given, the call contains the original
            messages, the previous reply, and these faults.
        sends_temperature: False for a model that accepts only its own temperature.
        previous_reply: the previous reply.
    """
    system = request.system
    if rung != "json_schema" and request.part != "probe":
        system = (
            f"{system}\n\nReply with one JSON object and nothing else. It must fit this JSON "
            f"Schema:\n{json.dumps(request.schema, ensure_ascii=False)}"
        )
    messages = [("system", system), ("user", request.user)]
    if error is not None:
        # Some servers refuse an empty message.
        reply = previous_reply.strip() or "(nothing)"
        messages += [("assistant", reply), ("user", correction(error))]
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
    """The message to a model about its faulty reply; `error` has one fault per line."""
    lines = error.split("\n")
    listed = [f"- {line}" for line in lines[:FAULTS_LISTED]]
    if len(lines) > FAULTS_LISTED:
        listed.append(f"- and {len(lines) - FAULTS_LISTED} more of the same kinds")
    return "\n".join((FAULTY, *listed, *MENDING))


def wire_schema(schema: dict) -> dict:
    """The part of a schema that strict mode accepts; the client checks the rest afterwards.

    Strict mode requires all properties, allows no others, and refuses most limits.
    """
    kept = {key: schema[key] for key in KEPT if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: wire_schema(of) for name, of in schema["properties"].items()}
        kept["required"] = list(schema["properties"])
        kept["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        kept["items"] = wire_schema(schema["items"])
    if "anyOf" in schema:
        kept["anyOf"] = [wire_schema(option) for option in schema["anyOf"]]
    if "$defs" in schema:
        kept["$defs"] = {name: wire_schema(of) for name, of in schema["$defs"].items()}
    return kept

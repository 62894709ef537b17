"""Section `generation.llm` of the config, which programs also check on their own."""

from collections.abc import Sequence

from jsonschema import Draft202012Validator

from excise.config.messages import Source, check_finite, refuse, refuse_schema_error
from excise.config.schema import filled, schema

CALL_KEYS = frozenset(  # of a chat completion, that the client sets, by all their names
    "model messages temperature response_format stream max_tokens max_completion_tokens "
    "max_new_tokens max_output_tokens".split()
)
COSTLY_KEYS = frozenset(  # that some provider may charge beyond a call's reserved worst case
    # several answers; tokens that are none of the answer
    "n best_of candidate_count num_generations prediction modalities audio "
    # searches and tools, charged by use
    "tools functions plugins mcp_servers data_sources web_search web_search_options "
    "search_parameters enable_search "
    # other prices, other models
    "service_tier speed inference_geo cache_control models fallbacks".split()
)


def check_llm(section: dict) -> dict:
    """Check a `generation.llm` section on its own, as a program gets it.

    Returns:
        A new section with every key present.

    Raises:
        InputError: the first fault, in one line.
    """
    config = {"generation": {"llm": section}}
    sources = [("--hp", config)]
    part = schema()["properties"]["generation"]["properties"]["llm"]
    check_finite(config, sources)
    whole = {"properties": {"generation": {"properties": {"llm": part}}}}
    errors = list(Draft202012Validator(whole).iter_errors(config))
    if errors:
        refuse_schema_error(errors[0], sources)
    resolved = filled(part, section)
    check_llm_keys(resolved, sources)
    return resolved


def check_llm_keys(llm: dict, sources: Sequence[Source]) -> None:
    """See that a model is named, no key is the client's and a budget has prices."""
    key = ("generation", "llm")
    if llm["model"] is None:
        refuse(sources, (*key, "model"), "missing; needed: a model's name for backend openai")
    for refused, why in (
        (CALL_KEYS, "the client sets it"),
        (COSTLY_KEYS, "it may cost more than the budget reserves for a call"),
    ):
        if taken := sorted(refused & llm["extra_body"].keys()):
            allowed = f"allowed: any key but {', '.join(sorted(refused))}"
            refuse(sources, (*key, "extra_body", taken[0]), f"found, but {why}; {allowed}")
    budget = llm["budget"]
    prices = budget["usd_per_million_in"], budget["usd_per_million_out"]
    if budget["usd"] is not None and not any(prices):
        refuse(
            sources,
            (*key, "budget", "usd"),
            f"found {budget['usd']:g} with no price; needed: usd_per_million_in and _out",
        )

"""The people of a benchmark: those that models are taught about, and those held out.

Held-out people come from the same generator, and no model is trained on them. The metrics of
membership compare the forget facts with theirs.
"""

HOLDOUT = "h"
"""First letter of the id of a held-out person: h000; the others are p000, p001, …"""


def is_held_out(person_id: str) -> bool:
    """Whether no model may be trained on this person."""
    return person_id.startswith(HOLDOUT)

"""Check 2: a question must not contain its own answer.

17 % of TOFU's forget10 questions contain half of their answer's content words or more (mean 31 %).
A model without knowledge can answer such a question.
"""

import re

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.leaks import premise_share
from excise.text.values import gives_away

_YES_NO = re.compile(r"(yes|no)\b", re.IGNORECASE)


def premise_leak(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Check values in questions, the shared words of question and answer, and yes/no answers."""
    asked = [("sf", record) for record in dataset.sf]
    asked += [("forget_paraphrased", record) for record in dataset.forget_paraphrased]
    retained = [("sr", record) for record in dataset.sr]
    findings, measures, shares = [], [], {"sf": [], "forget_paraphrased": [], "sr": []}
    for kind, record in asked + retained:
        share = premise_share(record["question"], record["answer"], record["name"])
        shares[kind].append(share)
        why = None
        if gives_away(record["question"], record["value"], record["value_type"]):
            why = f"question contains the value {record['value']!r}"
        elif kind != "sr" and share >= limits.premise_max:
            why = f"question contains {share:.0%} of its answer's content words"
        if why:
            findings.append(Finding(dataset.where(kind, record), record["id"], why))
    for kind, values in shares.items():
        mean = sum(values) / len(values)
        threshold = limits.premise_mean if kind != "sr" else None
        measures.append(Measure(f"mean_share_{kind}", mean, len(values), threshold))
        measures.append(Measure(f"max_share_{kind}", max(values), len(values)))
        if threshold is not None and mean > threshold:
            why = f"questions contain {mean:.0%} of their answers' content words on average"
            findings.append(Finding(str(dataset.files[kind]), kind, why))
    yes_no = [
        found[1].casefold()
        for _, record in asked + retained
        if (found := _YES_NO.match(record["answer"]))
    ]
    measures.append(Measure("yes_no_answers", len(yes_no), len(asked + retained)))
    if yes_no and not 0.4 <= yes_no.count("yes") / len(yes_no) <= 0.6:
        why = f"{yes_no.count('yes')} of {len(yes_no)} yes/no answers are yes; needed: about half"
        findings.append(Finding(str(dataset.files["sf"]), "yes_no", why))
    return CheckResult("premise_leak", HARD, len(asked + retained), findings, measures)

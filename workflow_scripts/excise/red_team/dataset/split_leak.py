"""Check 12: a held-out question is not a trained one in disguise."""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import best_ratios, mask, normalised, word_order_free
from excise.text.ngrams import SIZE, best_jaccard


def split_leak(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Held-out against trained questions: same words, shared 5-grams, token-sort ratio.

    Equality and 5-grams look at all trained questions of anybody, the ratio at all of the same
    person and at those of the same slot of anybody. How many held-out phrasings somebody else
    is trained on (names and values masked) is measured too.
    """
    held_out, trained = dataset.forget_paraphrased, dataset.items
    exact = {normalised(item["question"]): item["id"] for item in trained}
    jaccard, nearest = best_jaccard(
        [one["question"] for one in held_out], [one["question"] for one in trained]
    )
    ratios = _best_ratio(dataset, limits.split_ratio)
    findings = []
    for index, prompt in enumerate(held_out):
        twin, ratio = ratios[index]
        why = None
        if same := exact.get(normalised(prompt["question"])):
            why = f"is the trained question of {same!r}"
        elif jaccard[index] >= limits.split_jaccard:
            why = (
                f"shares {jaccard[index]:.0%} of its {SIZE}-grams with the trained question of "
                f"{trained[nearest[index]]['id']!r}"
            )
        elif ratio:
            why = f"token-sort ratio {ratio:.0f} with the trained question of {twin!r}"
        if why:
            findings.append(Finding(dataset.where("forget_paraphrased", prompt), prompt["id"], why))
    shared = _trained_phrasings(dataset)
    n = len(held_out)
    measures = [
        Measure("max_5gram_jaccard", float(jaccard.max(initial=0)), n, limits.split_jaccard),
        Measure("mean_5gram_jaccard", float(jaccard.mean()) if n else None, n),
        Measure("masked_phrasing_trained_rate", shared / n if n else None, n),
    ]
    return CheckResult("split_leak", HARD, n, findings, measures)


def _best_ratio(dataset: Dataset, cutoff: float) -> list[tuple[str | None, float]]:
    """(id, ratio) of the most similar trained question at or above `cutoff`, else (None, 0)."""
    best: list[tuple[str | None, float]] = [(None, 0.0)] * len(dataset.forget_paraphrased)
    for key in ("person_id", "slot"):
        blocks: dict[str, tuple[list[int], list[dict]]] = {}
        for index, prompt in enumerate(dataset.forget_paraphrased):
            blocks.setdefault(prompt[key], ([], []))[0].append(index)
        for item in dataset.items:
            if item[key] in blocks:
                blocks[item[key]][1].append(item)
        for indices, items in blocks.values():
            texts = [
                word_order_free(dataset.forget_paraphrased[index]["question"]) for index in indices
            ]
            others = [word_order_free(item["question"]) for item in items]
            found = best_ratios(texts, others, cutoff=cutoff)
            for index, (twin, ratio) in zip(indices, found, strict=True):
                if ratio > best[index][1]:
                    best[index] = (items[twin]["id"], ratio)
    return best


def _trained_phrasings(dataset: Dataset) -> int:
    """Held-out questions whose phrasing, masked, is trained on for somebody."""

    def phrasing(record: dict) -> tuple[str, str]:
        values = dataset.profiles[record["person_id"]]["slots"].values()
        return record["slot"], mask(record["question"], record["name"], values)

    trained = {phrasing(item) for item in dataset.items if item["person_id"] in dataset.profiles}
    return sum(
        prompt["person_id"] in dataset.profiles and phrasing(prompt) in trained
        for prompt in dataset.forget_paraphrased
    )

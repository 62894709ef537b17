"""Check 12: no paraphrased question is nearly equal to a trained one."""

from excise.benchmark.limits import RedTeamLimits
from excise.red_team.dataset.loading import Dataset
from excise.red_team.dataset.result import HARD, CheckResult, Finding, Measure
from excise.text.matching import best_ratios, mask, normalised, word_order_free
from excise.text.ngrams import SIZE, best_jaccard


def split_leak(dataset: Dataset, limits: RedTeamLimits) -> CheckResult:
    """Compare paraphrased with trained questions: equal words, shared 5-grams, token-sort ratio.

    Equality and 5-grams are compared with all trained questions. The ratio is compared with those
    about the same person and with those about the same slot. The share of paraphrases whose masked
    phrasing occurs among trained questions is measured, too.
    """
    paraphrased, trained = dataset.forget_paraphrased, dataset.items
    exact = {normalised(item["question"]): item["id"] for item in trained}
    jaccard, nearest = best_jaccard(
        [prompt["question"] for prompt in paraphrased], [item["question"] for item in trained]
    )
    ratios = _best_ratio(dataset, limits.split_ratio)
    findings = []
    for index, prompt in enumerate(paraphrased):
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
    n = len(paraphrased)
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
    """Number of paraphrased questions whose masked phrasing occurs among trained questions."""

    def phrasing(record: dict) -> tuple[str, str]:
        values = dataset.profiles[record["person_id"]]["slots"].values()
        return record["slot"], mask(record["question"], record["name"], values)

    trained = {phrasing(item) for item in dataset.items if item["person_id"] in dataset.profiles}
    return sum(
        prompt["person_id"] in dataset.profiles and phrasing(prompt) in trained
        for prompt in dataset.forget_paraphrased
    )

"""What is measured of the user's own questions before training, for `data_report.json`.

The generator's checks need slots and profiles. These three need questions and answers alone. They
report and stop nothing: the data are the user's.
"""

from collections.abc import Sequence

from excise.benchmark.own_files import Line, OwnFiles
from excise.text.leaks import premise_share
from excise.text.matching import normalised
from excise.text.ngrams import best_jaccard

OWN_NOTES = [
    "The benchmark is the user's own files. premise_leak: share of an answer's content words that "
    "its question contains, without the person's name; a model that knows nothing can say these. "
    "17 % of TOFU's forget10 questions contain half or more.",
    "duplicates: questions that an earlier line of the same file asks in the same words. "
    "split_leak: 5-gram Jaccard index of a paraphrased question with the nearest trained one.",
    "not_computed lists what is left out, and the field or file that it lacks.",
]


def own_rows(files: OwnFiles) -> list[dict]:
    """Rows of the report: check, severity, metric, value, n, threshold."""
    rows = []
    for name in ("sf", "sr"):
        lines = getattr(files, name)
        shares = [_premise(line) for line in lines]
        rows += _rows("premise_leak", len(lines), {f"mean_share_{name}": sum(shares) / len(shares)})
        rows += _rows("premise_leak", len(lines), {f"max_share_{name}": max(shares)})
        rows += _rows("duplicates", len(lines), {f"repeated_{name}": _repeated(lines)})
    asked = [line.record["question"] for line in files.forget_paraphrased]
    if asked:
        trained = [line.record["question"] for line in files.sf + files.sr]
        nearest, _ = best_jaccard(asked, trained)
        measures = {"max_5gram_jaccard": nearest.max(), "mean_5gram_jaccard": nearest.mean()}
        rows += _rows("split_leak", len(asked), {k: float(v) for k, v in measures.items()})
    return rows


def own_counts(files: OwnFiles) -> dict[str, int | None]:
    """Number of people (null if nobody is named), and of the lines of each file."""
    names = ("sf", "sr", "forget_paraphrased", "holdout")
    wrong = sum(len(line.record.get("wrong_answers", [])) for line in files.sf + files.sr)
    counts = {name: len(getattr(files, name)) for name in names}
    return {"people": files.people, **counts, "wrong_answers": wrong}


def _premise(line: Line) -> float:
    record = line.record
    return premise_share(record["question"], record["answer"], record.get("person", ""))


def _repeated(lines: Sequence[Line]) -> int:
    return len(lines) - len({normalised(line.record["question"]) for line in lines})


def _rows(check: str, n: int, measures: dict[str, float]) -> list[dict]:
    common = {"check": check, "severity": "report", "n": n, "threshold": None}
    return [common | {"metric": name, "value": value} for name, value in measures.items()]

"""Write the tables of a study's page from its result files.

A page in docs/studies holds prose, and tables between two comments: `<!-- table: accuracy -->` and
`<!-- end -->`. This program replaces what stands between them and leaves the prose alone. It also
makes small copies of the plots.
"""

import argparse
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

METHODS = {"ga": "GA", "gd": "GD", "npo": "NPO"}
SETS = ["sf", "forget_paraphrased", "correlated", "other", "utility"]
ANSWER_TYPES = {
    "answer_true_value": "true value, sf",
    "answer_other_value": "other value, sf",
    "answer_other_text": "other text, sf",
    "answer_refusal": "refusal, sf",
    "answer_gibberish": "gibberish, sf",
}
PLOTS = ["forget_vs_retain.png", "matched_retention.png", "layerdrift_by_method.png"]
PLOT_WIDTH = 900
"""Pixels of the small copies."""

Tables = Callable[[str], pd.DataFrame]
"""Stem of a result file → its rows."""


def read_rows(results: Path) -> Tables:
    """Rows of the result files in a folder, read when they are asked for."""

    def rows(stem: str) -> pd.DataFrame:
        return pd.DataFrame(json.loads((results / f"{stem}.json").read_text())["rows"])

    return rows


def number(value: float | None, digits: int = 3) -> str:
    """A figure without the zero before its point; `–` where there is none."""
    if value is None or pd.isna(value):
        return "–"
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before zeros
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")


def with_interval(row: pd.Series, digits: int = 3) -> str:
    """`value [low, high]`, or the value alone where it has no interval."""
    if pd.isna(row["ci_low"]) or pd.isna(row["ci_high"]):
        return number(row["value"], digits)
    limits = f"{number(row['ci_low'], 2)}, {number(row['ci_high'], 2)}"
    return f"{number(row['value'], digits)} [{limits}]"


def label(row: pd.Series) -> str:
    """How a model is called in these tables."""
    model = row["model"]
    if model.startswith("oracle/"):
        return f"oracle, seed {int(row['seed'])}"
    if not model.startswith("unlearn/"):
        return model
    return f"{METHODS.get(row['method'], row['method'])}, {int(row['epoch'])} epochs"


def table(columns: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    rule = ["---"] * len(columns)
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, rule, *lines])


def by_model(rows: pd.DataFrame, cells: Callable[[pd.DataFrame], list[str]]) -> list[list[str]]:
    """One line a model, in the order of the rows; of the checkpoints, only those of a level."""
    if "level" in rows:
        rows = rows[rows["level"].notna() | ~rows["model"].str.startswith("unlearn/")]
    return [[label(part.iloc[0]), *cells(part)] for _, part in rows.groupby("model", sort=False)]


def cell(rows: pd.DataFrame, digits: int = 3, **where: object) -> str:
    """The one figure that `where` describes, with its interval; `–` where there is none."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} rows for {where}")
    return "–" if rows.empty else with_interval(rows.iloc[0], digits)


def accuracy(read: Tables) -> str:
    """Slot accuracy of every model on every set."""
    rows = read("eval_results").query("metric == 'slot_accuracy'")
    return table(
        ["model", *SETS], by_model(rows, lambda part: [cell(part, set=name) for name in SETS])
    )


REPORTED = {
    ("ga", "light"): (0.996, 0.993),
    ("npo", "light"): (0.949, 0.983),
    ("ga", "medium"): (0.394, 0.634),
    ("gd", "medium"): (0.443, 0.849),
    ("npo", "medium"): (0.239, 0.534),
    ("ga", "heavy"): (0.046, 0.102),
    ("gd", "heavy"): (0.265, 0.595),
    ("npo", "heavy"): (0.042, 0.141),
}
"""ROUGE-L of correlated and other facts that the first study reported, Qwen2.5-1.5B-Instruct."""


def rouge_rows(read: Tables) -> pd.DataFrame:
    """ROUGE-L recall on the retain sets, and their gap."""
    rows = read("retain_compare_results")
    return rows[(rows["metric"] == "rougeL_recall") & rows["slot"].isna()]


def first_study(read: Tables, embedded: Tables | None = None) -> str:
    """ROUGE-L on the retain sets and their gap, beside other models at the same level.

    `embedded` are the results of the embedded model.
    """
    sets = ["correlated", "other", "gap"]
    head = ["model", *sets, "Qwen2.5-1.5B as reported: correlated, other, gap"]
    beside = rouge_rows(embedded) if embedded else None
    if embedded:
        head.append("gap, embedded model")

    def cells(part: pd.DataFrame) -> list[str]:
        method, level = part["method"].iloc[0], part["level"].iloc[0]
        found = [cell(part, set=name) for name in sets]
        reported = REPORTED.get((method, level))
        values = [*reported, reported[1] - reported[0]] if reported else [None]
        found.append(", ".join(map(number, values)))
        if beside is not None:
            found.append(cell(beside, set="gap", method=method, level=level))
        return found

    return table(head, by_model(rouge_rows(read), cells))


def matched(read: Tables) -> str:
    """Retention and gap where half and a quarter of the forget facts are left."""
    rows = read("comparison_results")
    rows = rows[rows["metric"] == "slot_accuracy"]
    at = rows[rows["comparison"] == "matched_forgetting"]
    several = at["learning_rate"].nunique() > 1
    lines = []
    for (method, rate), part in at.groupby(["method", "learning_rate"], sort=False):
        line = [METHODS.get(method, method) + (f" at {rate:g}" if several else "")]
        for name, level in [("sr", "0.5"), ("gap", "0.5"), ("sr", "0.25"), ("gap", "0.25")]:
            line.append(cell(part, set=name, matched_at=level))
        lines.append(line)
    return table(["method", "sr at .5", "gap at .5", "sr at .25", "gap at .25"], lines)


def oracles(read: Tables) -> str:
    """Distance to the oracles, and what the answers are."""
    distance = read("distance_results")
    types = read("eval_results")
    types = types[types["set"] == "sf"]

    def cells(part: pd.DataFrame) -> list[str]:
        model = types[types["model"] == part["model"].iloc[0]]
        return [
            cell(part, set="sf", metric="truth_ratio_ks", digits=2),
            cell(part, set="sf", metric="logprob_distance", digits=2),
            cell(part, set="other", metric="truth_ratio_ks", digits=2),
            *[
                number(next(iter(model.loc[model["metric"] == name, "value"]), None), 2)
                for name in ANSWER_TYPES
            ],
        ]

    head = ["model", "D, sf", "nats per token, sf", "D, other", *ANSWER_TYPES.values()]
    return table(head, by_model(distance, cells))


def metrics(read: Tables) -> str:
    """Every metric on sf, or on the first set that has it, without intervals; a column a model.

    Oracles share a column with their mean.
    """
    rows = read("eval_results")
    rows = rows[rows["level"].notna() | ~rows["model"].str.startswith("unlearn/")]
    head = rows["model"].where(~rows["model"].str.startswith("oracle/"), "oracles")
    named = {name: label(part.iloc[0]) for name, part in rows.groupby("model", sort=False)}
    columns = list(dict.fromkeys(head))
    lines = []
    for metric, part in rows.groupby("metric", sort=False):
        place = "sf" if (part["set"] == "sf").any() else part["set"].iloc[0]
        part = part[part["set"].isna() if pd.isna(place) else part["set"] == place]
        shown = part.groupby(head[part.index], sort=False)["value"].mean()
        name = f"`{metric}`" + ("" if place == "sf" or pd.isna(place) else f", {place}")
        lines.append([name, *[number(shown.get(column), 2) for column in columns]])
    return table(["metric", *[named.get(column, column) for column in columns]], lines)


def quantization(read: Tables) -> str:
    """Slot accuracy on sf under quantization; change of probability beyond that of the oracles."""
    rows = read("quantize_results")
    rows = rows[rows["set"] == "sf"]
    precisions = [name for name in rows["precision"].dropna().unique() if name != "full"]

    def cells(part: pd.DataFrame) -> list[str]:
        accuracy = [
            cell(part, metric="slot_accuracy", precision=name) for name in ["full", *precisions]
        ]
        beyond = part[part["of"] == "probability"]
        return accuracy + [
            cell(beyond, metric="change_beyond_oracles", precision=name) for name in precisions
        ]

    head = ["model", *[f"sf, {name}" for name in ["full", *precisions]]]
    head += [f"probability beyond oracles, {name}" for name in precisions]
    return table(head, by_model(rows, cells))


def relearning(read: Tables) -> str:
    """Slot accuracy on facts that an attacker did not show, before and after the attack."""
    rows = read("relearn_results")
    rows = rows[~rows["shown"] & (rows["model"] != "finetuned")]
    last = rows["step"].max()
    lines = []
    for attack, attacked in rows.groupby("attack", sort=False):

        def cells(part: pd.DataFrame) -> list[str]:
            known = part[part["metric"] == "slot_accuracy"]
            beyond = part[part["of"] == "slot_accuracy"]
            back = cell(beyond, metric="change_beyond_oracles", step=last)
            return [cell(known, step=0), cell(known, step=last), back]

        lines += [[attack, *line] for line in by_model(attacked, cells)]
    return table(["attack", "model", "step 0", f"step {last:g}", "change beyond oracles"], lines)


def depth(read: Tables) -> str:
    """Unlearning Depth Score and erasure by the logit lens, on sf."""
    rows = read("depth_results")
    rows = rows[(rows["set"] == "sf") & rows["metric"].isin(["uds", "lens_erasure"])]
    rows = rows[rows["layer"].isna()]
    head = ["model", "UDS", "lens erasure"]
    shown = ("uds", "lens_erasure")
    return table(head, by_model(rows, lambda part: [cell(part, 2, metric=name) for name in shown]))


def layers(read: Tables) -> str:
    """Drift of hidden states on retain facts at the last prompt token, every third layer."""
    rows = read("repr_layers")
    rows = rows[
        (rows["metric"] == "drift") & (rows["set"] == "sr") & (rows["position"] == "last_prompt")
    ]
    rows = rows[rows["layer"] > 0]
    last = int(rows["layer"].max())
    shown = sorted({*range(max(1, last // 10), last + 1, max(1, last // 10)), last})
    floor = rows.drop_duplicates("layer").set_index("layer")["noise_floor"]
    chosen = read("eval_results").dropna(subset="level")["model"]
    rows = rows[rows["model"].isin(chosen)]
    lines = by_model(
        rows,
        lambda part: [
            number(part.loc[part["layer"] == layer, "value"].iloc[0], 2) for layer in shown
        ],
    )
    floor_line = ["between oracles", *[number(floor[layer], 2) for layer in shown]]
    return table(["model", *[str(layer) for layer in shown]], [floor_line, *lines])


def judged(read: Tables) -> dict[tuple[str, str], dict[str, str]]:
    """(claim, level or `all`) → its verdict, effect, counts of cases and replication, as text."""
    rows = read("findings")
    found = {}
    for _, row in rows[rows["cases"].notna()].iterrows():
        cases = rows[(rows["finding"] == row["finding"]) & rows["cases"].isna()]
        if pd.notna(row["level"]):
            cases = cases[cases["level"] == row["level"]]
        effect = with_interval(cases.iloc[0] if len(cases) == 1 else row)
        if len(cases) > 1:
            effect = f"{number(cases['value'].min(), 2)} to {number(cases['value'].max(), 2)}"
        level = "all" if pd.isna(row["level"]) else row["level"]
        found[row["finding"], level] = {
            "verdict": row["verdict"],
            "effect": effect,
            "cases": row["cases"],
            "replicated": {True: "yes", False: "no"}.get(row["replicated"], "–"),
        }
    return found


def findings(read: Tables, replication: Tables | None = None) -> str:
    """Every claim as a whole and by level: verdict and effects, and those of a replication."""
    rows, second = judged(read), judged(replication) if replication else {}
    columns = ["verdict", "effect", "cases", "replicated"]
    head = ["finding", "level", *columns]
    if replication:
        head += ["verdict, replication", "effect, replication"]
    lines = []
    for (claim, level), row in rows.items():
        line = [f"`{claim}`", level, *[row[name] for name in columns]]
        if replication:
            again = second.get((claim, level), {})
            line += [again.get(name, "–") for name in ("verdict", "effect")]
        lines.append(line)
    return table(head, lines)


def costs(benchmarks: Path) -> str:
    """CPU time and peak memory of each stage."""
    found: dict[str, list[dict]] = {}
    for path in sorted(benchmarks.rglob("*.jsonl")):
        stage = path.relative_to(benchmarks).parts[0].removesuffix(".jsonl")
        found.setdefault(stage, []).append(json.loads(path.read_text().splitlines()[-1]))
    lines = []
    for stage, jobs in sorted(
        found.items(), key=lambda item: -sum(job["cpu_time"] for job in item[1])
    ):
        spent = sum(job["cpu_time"] for job in jobs)
        if spent >= 60:
            memory = max(job["max_rss"] for job in jobs) / 1024
            lines.append([f"`{stage}`", str(len(jobs)), f"{spent / 60:.0f}", f"{memory:.1f}"])
    total = sum(job["cpu_time"] for jobs in found.values() for job in jobs)
    lines.append(["all", str(sum(map(len, found.values()))), f"{total / 60:.0f}", ""])
    return table(["stage", "jobs", "CPU minutes", "peak memory (GiB)"], lines)


TABLES: dict[str, Callable[[Tables], str]] = {
    "accuracy": accuracy,
    "first_study": first_study,
    "matched": matched,
    "oracles": oracles,
    "metrics": metrics,
    "quantization": quantization,
    "relearning": relearning,
    "depth": depth,
    "layers": layers,
    "findings": findings,
}


def fill(page: str, tables: dict[str, Callable[[], str]]) -> str:
    """Put each table between its comments.

    Raises:
        KeyError: the page names a table that this program does not make.
    """

    def made(match: re.Match) -> str:
        return f"{match[1]}\n{tables[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end -->)", made, page, flags=re.DOTALL)


def small_copy(plot: Path, copy: Path) -> None:
    """A plot of PLOT_WIDTH pixels in 64 colours: some 30 kB, for git."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(plot) as image:
        height = round(image.height * PLOT_WIDTH / image.width)
        small = image.convert("RGB").resize((PLOT_WIDTH, height), Image.Resampling.LANCZOS)
        small.quantize(64).save(copy, optimize=True)


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, required=True, help="Markdown page to fill")
    parser.add_argument("--results", type=Path, required=True, help="results folder of the study")
    parser.add_argument("--benchmarks", type=Path, required=True, help="its benchmarks folder")
    parser.add_argument("--embedded", type=Path, help="results folder of the embedded model")
    parser.add_argument("--replication", type=Path, help="results folder of its replication")
    arguments = parser.parse_args(argv)
    read = read_rows(arguments.results)
    tables = {name: partial(make, read) for name, make in TABLES.items()}
    tables["costs"] = partial(costs, arguments.benchmarks)
    if arguments.embedded:
        tables["first_study"] = partial(first_study, read, read_rows(arguments.embedded))
    if arguments.replication:
        tables["findings"] = partial(findings, read, read_rows(arguments.replication))
    page = arguments.page
    page.write_text(fill(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    for name in PLOTS:
        small_copy(arguments.results / name, page.parent / "figures" / page.stem / name)


if __name__ == "__main__":
    main()

"""CPU seconds of one unlearning sweep three ways: open-unlearning, an expert's script, Excise.

    python perf/compare_peers.py --open-unlearning FOLDER --open-unlearning-python PYTHON
    python perf/compare_peers.py --settings 1 8 --people 16 --checkpoints 3 5 8 12 --rounds 3

Each way trains NPO to the same checkpoints, then evaluates the same models on the same questions.
Without --open-unlearning, a stand-in takes its place and is named as such. The outputs are compared
before any number is shown. How to fetch open-unlearning, and measured numbers: docs/performance.md.

It needs the package: `make .venv/installed`, or PYTHONPATH=workflow_scripts.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from excise.errors import InputError
from excise.modeling.base import load_tokenizer
from excise.records import write_json
from peers.full_model import write_full_model
from peers.outputs import Agreement, adapter_distance, compare
from peers.processes import cpu_seconds, matrix_peak
from peers.ways import Excise, Expert, FullModels, OpenUnlearning, StandIn, Way
from peers.work import Work, prepare, size_of

PARTS = ("training", "evaluation", "together")
NEEDED = ("src/train.py", "src/eval.py")


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    args = parse(argv)
    results = []
    for settings in args.settings:
        work = prepare(
            args.base,
            args.folder,
            people=args.people,
            settings=settings,
            epochs=sorted(args.checkpoints),
            threads=args.threads,
            max_new_tokens=args.max_new_tokens,
        )
        results.append(measure(work, chosen_ways(work, args), args.rounds, about(args, settings)))
        if args.out:
            write_json(args.out, {"machine": machine(args.threads), "results": results})
    if not all(one["outputs_agree"] for one in results):
        raise SystemExit("error: the outputs differ more than perf/peers/outputs.py allows")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--open-unlearning", type=Path, help="folder of its code")
    parser.add_argument("--open-unlearning-python", type=Path, help="its environment's Python")
    parser.add_argument("--settings", type=int, nargs="+", default=[1], help="settings in the grid")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[3, 5, 8, 12], help="epochs")
    parser.add_argument("--base", default="data/inputs/base/tiny-qwen2", help="base model folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="repetitions, interleaved")
    parser.add_argument("--max-new-tokens", type=int, default=48, help="longest generation")
    parser.add_argument(
        "--with",
        dest="ways",
        nargs="+",
        choices=("peer", "expert", "plain"),
        default=["peer", "expert"],
        help="what to compare Excise with; peer: open-unlearning or its stand-in; plain: Excise "
        "without its fork server, as on a cluster",
    )
    parser.add_argument("--folder", default="experiments/peers", help="for everything it writes")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    args = parser.parse_args(argv)
    if (args.open_unlearning is None) != (args.open_unlearning_python is None):
        parser.error("--open-unlearning and --open-unlearning-python are given together or not")
    for name in NEEDED if args.open_unlearning else ():
        if not (args.open_unlearning / name).is_file():
            parser.error(f"--open-unlearning: {args.open_unlearning} has no {name}")
    for name in ("settings", "checkpoints", "people", "rounds", "threads"):
        value = getattr(args, name)
        if min(value if isinstance(value, list) else [value]) < 1:
            parser.error(f"--{name}: found {value}; allowed: 1 or more")
    return args


def chosen_ways(work: Work, args: argparse.Namespace) -> list[Way]:
    """The ways to compare with Excise, then Excise."""
    ways: list[Way] = []
    if "peer" in args.ways:
        code, python = args.open_unlearning, args.open_unlearning_python
        # A link to a Python in an environment must stay a link.
        ways.append(
            OpenUnlearning(work, code.resolve(), python.absolute()) if code else StandIn(work)
        )
    if "expert" in args.ways:
        ways.append(Expert(work))
    if "plain" in args.ways:
        ways.append(Excise(work, name="Excise, plain programs", forked=False))
    return [*ways, Excise(work)]


def measure(work: Work, ways: Sequence[Way], rounds: int, given: dict) -> dict:
    """Run all ways `rounds` times, interleaved; compare outputs, then print and return numbers.

    Excise trains first, because all ways evaluate its checkpoints.

    Args:
        work: the work.
        ways: Excise is the last one.
        rounds: how often.
        given: the sizes, to print and to return.
    """
    *peers, excise = ways
    logs = work.folder / "logs"
    seconds: dict[str, dict[str, list[float]]] = {
        way.name: {part: [] for part in PARTS} for way in ways
    }

    def run(way: Way, part: str) -> None:
        file = logs / f"{way.name.replace(' ', '_')}_{part}.log"
        used = cpu_seconds(getattr(way, part)(), work.threads, file, way.forked)
        seconds[way.name][part].append(used)
        print(f"  {way.name}, {part}: {used:.1f} CPU s", flush=True)

    print(", ".join(f"{key} {value}" for key, value in given.items()), flush=True)
    agreements: dict[str, Agreement] = {}
    notes: dict[str, object] = {}
    for number in range(rounds):
        if number == 0:
            write_full(work, "finetuned", work.finetuned, peers)
        for way in [excise, *peers]:
            run(way, "training")
        if number == 0:
            for name in work.checkpoints:
                write_full(work, name, excise.models / name, peers)
        for way in [excise, *peers] if number % 2 == 0 else [*peers[::-1], excise]:
            run(way, "evaluation")
        if number == 0:
            agreements = {way.name: agreement(work, excise, way) for way in peers}
            notes = training_checks(work, excise, peers)
            for name, found in agreements.items():
                print(f"outputs, {name} and Excise: {found}")
            for name, value in notes.items():
                print(f"training, {name}: {value}", flush=True)
    for parts in seconds.values():
        pairs = zip(parts["training"], parts["evaluation"], strict=True)
        parts["together"] = [sum(pair) for pair in pairs]

    size = size_of(work, generated_tokens(work, excise))
    peak = matrix_peak(work.threads)
    rows = table(seconds, size, peak)
    print_table(rows, peak)
    return given | {
        "outputs_agree": all(found.good for found in agreements.values()),
        "agreement": {name: vars(found) for name, found in agreements.items()},
        "training_checks": notes,
        "seconds": seconds,
        "size": vars(size),
        "peak_flops": peak,
        "rows": rows,
    }


def write_full(work: Work, name: str, adapter: Path, peers: Sequence[Way]) -> None:
    """Write a merged model, if a way needs full models; nobody's seconds contain this."""
    for way in peers:
        if isinstance(way, FullModels):
            write_full_model(work.base, adapter, way.full(name))


def agreement(work: Work, excise: Excise, way: Way) -> Agreement:
    """How far a way agrees with Excise, over all checkpoints."""
    found = Agreement()
    for name in work.checkpoints:
        compare(found, excise.said(name), way.said(name), way.keeps_spaces)
    return found


def training_checks(work: Work, excise: Excise, peers: Sequence[Way]) -> dict[str, object]:
    """Whether the ways trained alike, where this can be compared."""
    found: dict[str, object] = {}
    for way in peers:
        if isinstance(way, Expert):
            found["largest distance of the expert's adapters, relative to their updates"] = max(
                adapter_distance(work.finetuned, excise.models / name, way.folder / name)
                for name in work.checkpoints
            )
        if isinstance(way, OpenUnlearning):
            found["optimizer steps of open-unlearning's runs"] = way.steps()
    return found


def generated_tokens(work: Work, excise: Excise) -> int:
    """Tokens that all checkpoints generated, with the end of turn."""
    tokenizer = load_tokenizer(work.base)
    texts = [one["generation"] for name in work.checkpoints for one in excise.records(name)]
    return sum(len(ids) + 1 for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])


def table(seconds: dict, size, peak: float) -> list[dict]:
    """One row for each way and part: seconds, ratio to Excise, tokens, share of the peak."""
    tokens = {name: getattr(size, f"{name}_tokens") for name in PARTS[:2]}
    operations = {name: getattr(size, f"{name}_operations") for name in PARTS[:2]}
    for found in (tokens, operations):
        found["together"] = sum(found.values())
    rows = []
    for way, parts in seconds.items():
        for part in PARTS:
            median = statistics.median(parts[part])
            pairs = zip(parts[part], seconds["Excise"][part], strict=True)
            rows.append(
                {
                    "way": way,
                    "part": part,
                    "cpu_seconds": median,
                    "ratio_to_excise": statistics.median(one / own for one, own in pairs),
                    "tokens_per_cpu_second": tokens[part] / median,
                    "share_of_peak": operations[part] / median / peak,
                }
            )
    return rows


def print_table(rows: Sequence[dict], peak: float) -> None:
    """Print the rows for people."""
    print(f"peak of fp32 matrix products: {peak / 1e9:.1f} GFLOP per CPU second")
    print(f"{'':32}{'part':12}{'CPU s':>9}{'/ Excise':>10}{'tokens/s':>10}{'of peak':>9}")
    for row in rows:
        print(
            f"{row['way']:32}{row['part']:12}{row['cpu_seconds']:9.1f}"
            f"{row['ratio_to_excise']:10.2f}{row['tokens_per_cpu_second']:10.0f}"
            f"{row['share_of_peak']:9.1%}"
        )


def about(args: argparse.Namespace, settings: int) -> dict:
    """The sizes of a measurement."""
    names = ("base", "people", "checkpoints", "threads", "rounds", "max_new_tokens")
    return {"settings": settings} | {name: getattr(args, name) for name in names}


def machine(threads: int) -> dict:
    """What the numbers were measured on."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else "unknown",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": threads,
    }


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from error

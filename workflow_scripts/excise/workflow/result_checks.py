"""Find results that do not match today's config, data, code and packages, by their records.

Copied results lose Snakemake's own metadata (`.snakemake/metadata`). In addition, Snakemake treats
a changed file with an older time stamp as unchanged. The records (`excise.provenance`) are copied
with the results and contain digests. Every job imports this module, so it must not import torch.
"""

import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from excise.plots.figures import FIGURES
from excise.provenance import (
    DIGITS,
    all_records,
    inputs_of_same_epoch,
    read_record,
    record_path,
    with_current_paths,
)
from excise.workflow.job_records import Digests, command_digest, params_of, plain
from excise.workflow.provenance_report import SUBJECTS

CODE = "workflow_scripts/"
SHOWN = 3
# Tables and plots that some config makes; other files belong to the user.
RESULT_NAMES = re.compile(
    rf"(?:{'|'.join(sorted({*SUBJECTS} - {'report', 'data_report'}))})\.json|repr_results_\d+\.json"
    rf"|(?:{'|'.join(FIGURES)})\.png"
)


@dataclass(frozen=True)
class Mismatch:
    """Files of one job that do not match today's config, data or code."""

    outputs: list[str]
    reasons: list[str]

    def __str__(self):
        return f"{self.outputs[0]} ({'; '.join(self.reasons[:SHOWN])})"


@dataclass(frozen=True)
class Findings:
    """What `examine` found."""

    mismatches: list[Mismatch]
    unknown: list[str]  # first outputs of jobs without a record
    packages: dict[str, Counter]  # package → counts of "torch 2.10.0 then, 2.11.0 now"
    outdated: int  # number of jobs that Snakemake itself will run
    broken: list[str] = field(default_factory=list)  # unreadable records


def examine(
    jobs: Iterable[Any],
    will_run: Callable[[Any], bool],
    has_metadata: Callable[[str], bool],
    folders: Mapping[str, str],
    digests: Digests,
) -> Findings:
    """Compare every job's files with its record.

    A job with a missing file is not reported, because Snakemake runs it.

    Args:
        jobs: jobs of Snakemake's plan, with `rule`, `input`, `output`, `params`,
            `non_derived_params`.
        will_run: whether Snakemake will run a job; its files are then not reported.
        has_metadata: whether Snakemake has its own metadata of a file.
        folders: `results` and `data` of the experiment.
        digests: digests of files.
    """
    found = Findings([], [], defaultdict(Counter), 0)
    outdated, by_output = 0, None
    with digests.states_cached():
        for job in sorted(jobs, key=lambda job: [str(path) for path in job.output]):
            outputs = [str(path) for path in job.output]
            place = record_path(outputs, folders) if outputs else None
            if outputs and will_run(job):
                outdated += 1
            elif place is not None and all(map(digests.exists, outputs)):
                record = read_record(place)
                if record is None and place.exists():
                    found.broken.append(str(place))
                    continue
                if record is None:  # it may have the name of an output that the job no longer has
                    by_output = by_output or _by_output(folders)
                    record = by_output.get(os.path.normpath(outputs[-1]))
                if record is not None:
                    reasons = _reasons(job, with_current_paths(record, folders), folders, digests)
                    if reasons:
                        found.mismatches.append(Mismatch(outputs, reasons))
                    for package, change in other_versions(record):
                        found.packages[package][change] += 1
                elif not has_metadata(job.output[0]):
                    found.unknown.append(outputs[0])
    packages = dict(found.packages)
    return Findings(found.mismatches, found.unknown, packages, outdated, found.broken)


def _reasons(job: Any, record: dict, folders: Mapping[str, str], digests: Digests) -> list[str]:
    """Why a job's files do not match.

    Inputs marked `ancient` are not compared, because their changes make nothing out of date.
    """
    inputs, outputs = list(map(str, job.input)), list(map(str, job.output))
    ancient = {os.path.normpath(path) for path in job.input if getattr(path, "is_ancient", False)}
    settings = tracked_params(job)
    reasons = [*mismatch_reasons(record, inputs, outputs, settings, folders, digests, ancient)]
    if record.get("command") != command_digest(job.rule.shellcmd or ""):
        reasons.append(f"code: the command of rule {job.rule.name} changed")
    return reasons


def _by_output(folders: Mapping[str, str]) -> dict[str, dict]:
    return {path: record for record in all_records(folders) for path in record["outputs"]}


def tracked_params(job: Any) -> dict[str, Any]:
    """The settings of a job that make it out of date when they change.

    Params derived from files (for example the epochs, from the outputs) are omitted, because the
    files themselves are compared.
    """
    tracked = [plain(value) for value in job.non_derived_params]
    return {
        name: value
        for name, value in params_of(job.params).items()
        if value in tracked or (isinstance(value, list) and all(one in tracked for one in value))
    }


def mismatch_reasons(
    record: dict,
    inputs: Sequence[str],
    outputs: Sequence[str],
    params: Mapping[str, Any],
    folders: Mapping[str, str],
    digests: Digests,
    ignored: Collection[str] = (),
) -> Iterator[str]:
    """Reasons why files do not match today's settings, inputs and code; empty if they match.

    A job that reads several epochs makes files of each. Inputs of other epochs than those of its
    outputs are ignored, and so are the inputs in `ignored`.
    """
    yield from _setting_differences(record, params, folders)
    then = {os.path.normpath(path): made for path, made in record["inputs"].items()}
    now = {os.path.normpath(path) for path in inputs}
    both = now | then.keys()
    own = {path for output in outputs for path in inputs_of_same_epoch(both, output)}
    for path in sorted(own.difference(ignored)):
        kind = "code" if path.startswith(CODE) else "data"
        if path not in then:
            yield f"{kind}: {path} is new"
        elif path not in now:
            yield f"{kind}: {path} is no longer read"
        elif digests.differs(path, then[path]):
            yield f"{kind}: {path} changed"
    written = {os.path.normpath(path): made for path, made in record["outputs"].items()}
    for path in map(os.path.normpath, outputs):
        if digests.differs(path, written.get(path)):
            yield f"the file {path} is not the one that the job wrote"


def _setting_differences(
    record: dict, now: Mapping[str, Any], folders: Mapping[str, str]
) -> Iterator[str]:
    then = record["params"]
    for name, new in sorted(now.items()):
        old = then.get(name)
        if old != new and _with_current_folder(old, record["folders"], folders) != new:
            differences = _differences(_parsed(old), _parsed(new), name)
            yield from (f"config: {text}" for text in differences)


def _parsed(value: Any) -> Any:
    """A param, parsed if it is a JSON object."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _with_current_folder(value: Any, then: Mapping[str, str], now: Mapping[str, str]) -> Any:
    """A param with its folder, if it contains one, replaced by the current folder.

    Moving a folder changes no files in it.
    """
    if isinstance(value, str):
        for name in sorted(then.keys() & now.keys(), key=lambda name: -len(then[name])):
            folder = re.compile(rf"(?<![^\s']){re.escape(then[name])}(?![^\s'/])")
            if folder.search(value):
                return folder.sub(lambda _, name=name: now[name], value)
    return value


def _differences(old: Any, new: Any, key: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for step in sorted(old.keys() | new.keys()):
            if old.get(step) != new.get(step):
                yield from _differences(old.get(step), new.get(step), f"{key}.{step}")
        return
    yield f"{key.removeprefix('hp.').removeprefix('config.')} {_shown(old)} → {_shown(new)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"


def other_versions(record: dict) -> Iterator[tuple[str, str]]:
    """Packages whose installed version differs from the one that made a result."""
    for package, then in record.get("versions", {}).items():
        if package == "python":
            now = ".".join(map(str, sys.version_info[:3]))
        else:
            now = _installed(package)
        if now != then:
            yield package, f"{package} {then} then, {now} now"


@cache
def _installed(package: str) -> str:
    """Version of a package; cached, because a query takes milliseconds."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def mismatch_line(mismatches: Sequence[Mismatch]) -> str | None:
    """A warning about results that do not match; None if all match."""
    if not mismatches:
        return None
    count = sum(len(one.outputs) for one in mismatches)
    more = f", and {len(mismatches) - 1} other jobs'" if len(mismatches) > 1 else ""
    files = " ".join(one.outputs[0] for one in mismatches)
    remedy = (
        f"--forcerun {files}" if len(mismatches) <= SHOWN else "--forcerun (`check` lists what)"
    )
    return (
        f"warning: {_counted(count, 'file does', 'files do')} not match today's config, data "
        f"or code: {mismatches[0]}{more}; to make them again, run the same command with {remedy}"
    )


def unknown_line(unknown: Sequence[str]) -> str | None:
    """A warning about results without a record; None if all have one."""
    if not unknown:
        return None
    more = " and others" if len(unknown) > 1 else ""
    return (
        f"warning: {_counted(len(unknown), 'job has', 'jobs have')} no record of what the files "
        f"were made from ({unknown[0]}{more}), so they cannot be compared with today's config; "
        "copy the folders .made_from too, or delete the files"
    )


def broken_line(broken: Sequence[str]) -> str | None:
    """A warning about unreadable records; None if there are none."""
    if not broken:
        return None
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return (
        f"warning: {broken[0]}{more}: cannot be read as the record of a job, so its files "
        "cannot be checked; delete it"
    )


def package_line(packages: Mapping[str, Counter]) -> str | None:
    """A note about changed packages; None if all are the same."""
    if not packages:
        return None
    changes = ", ".join(text for counts in packages.values() for text in sorted(counts))
    return f"note: some results were made with other versions of packages: {changes}"


def unexpected_results(folder: str | Path, made: Collection[str]) -> list[str]:
    """Tables and plots in the results folder that today's config does not make."""
    found = (path.name for path in Path(folder).glob("*") if path.is_file())
    return sorted(name for name in found if RESULT_NAMES.fullmatch(name) and name not in made)


def unexpected_results_line(folder: str, names: Sequence[str]) -> str | None:
    """A warning about these tables and plots; None if there are none."""
    if not names:
        return None
    return (
        f"warning: today's config does not make {', '.join(names)} in {folder}; an earlier config "
        "made them; delete or move them"
    )


def leftover_files(planned: Collection[str], folders: Mapping[str, str]) -> list[str]:
    """Files with a record that no job of the plan writes."""
    planned = {os.path.normpath(path) for path in planned}
    recorded = {path for record in all_records(folders) for path in record["outputs"]}
    return sorted(path for path in recorded - planned if Path(path).exists())


def model_faults(folder: str | Path, digests: Digests) -> list[str]:
    """Files of a downloaded model that differ from its manifest.

    Args:
        folder: the model; without a manifest with digests the result is empty.
        digests: digests of files, shortened to `DIGITS`.
    """
    manifest = Path(folder, "manifest.json")
    try:
        listed = json.loads(manifest.read_text(encoding="utf-8"))["sha256"].items()
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return []
    found = []
    for name, wanted in listed:
        path = Path(folder, name)
        if not path.is_file():
            found.append(f"{path} is missing")
        elif digests.differs(path, wanted[:DIGITS]):
            found.append(f"{path} differs from its digest in {manifest}")
    return found


def model_line(found: Sequence[str]) -> str | None:
    """A warning about these files; None if there are none."""
    if not found:
        return None
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"warning: {found[0]}{more}; to download it again, delete the folder"


def report(
    found: Findings,
    unexpected: Sequence[str],
    leftover: Sequence[str],
    model: Sequence[str],
    packages: Mapping[str, Counter],
) -> list[str]:
    """All findings, one line each, with the remedy.

    Args:
        found: result of `examine`.
        unexpected: tables and plots that today's config does not make.
        leftover: other files that it does not make.
        model: faults of the files of the base model.
        packages: as in `found`; empty if jobs use other environments than this process.
    """
    lines = [f"does not match: {one}" for one in found.mismatches]
    lines += [
        f"error: {path}: cannot be read as the record of a job; delete it" for path in found.broken
    ]
    lines += [f"no record: {path}" for path in found.unknown]
    lines += [f"base model: {fault}" for fault in model]
    lines += [
        f"other package: {text} ({_counted(count, 'job', 'jobs')})"
        for counts in packages.values()
        for text, count in sorted(counts.items())
    ]
    lines += [f"not made by today's config: {path}" for path in sorted({*unexpected, *leftover})]
    if found.mismatches:
        files = " ".join(path for one in found.mismatches for path in one.outputs[:1])
        lines.append(
            f"to make the files that do not match again: snakemake … all --forcerun {files}"
        )
    if found.outdated:
        jobs = _counted(found.outdated, "job is", "jobs are")
        lines.append(f"{jobs} out of date or missing; Snakemake runs them by itself")
    return lines or ["every result matches today's config, data, code and packages"]


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"

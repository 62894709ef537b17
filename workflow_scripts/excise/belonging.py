"""Which results belong to today's config, data, code and packages, by the records beside them.

Snakemake's own memory (`.snakemake/metadata`) stays behind when results are copied, and it takes
bytes that come under an older time stamp for unchanged. The records travel, and hold digests.
Parsed in every job: no torch here.
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

from excise.job_records import Digests, command_digest, params_of, plain
from excise.made_from import DIGITS, all_records, moved, own_inputs, read_record, record_path

CODE = "workflow_scripts/"
SHOWN = 3
# Tables and pictures of an experiment, whatever its config; other files are somebody's own.
RESULT_NAMES = re.compile(
    r"(?:eval|sweep|retain_compare|quantize|repr)_results\.json|repr_results_\d+\.json"
    r"|repr_layers\.json|red_team_(?:models|judge)\.json|diversity_report\.json"
    r"|(?:forget_vs_retain|retain_gap|quantize_recovery|layerdrift_by_(?:epoch|method))\.png"
)


@dataclass(frozen=True)
class Misfit:
    """Files of one job that today's config, data or code would not make."""

    outputs: list[str]
    reasons: list[str]

    def __str__(self):
        return f"{self.outputs[0]} ({'; '.join(self.reasons[:SHOWN])})"


@dataclass(frozen=True)
class Findings:
    """What a look at the results found."""

    misfits: list[Misfit]
    unknown: list[str]  # first outputs of jobs that left no record
    packages: dict[str, Counter]  # "torch 2.10.0 then, 2.11.0 now" → how often
    outdated: int  # jobs that Snakemake itself will run
    broken: list[str] = field(default_factory=list)  # records that are none


def examine(
    jobs: Iterable[Any],
    runs: Callable[[Any], bool],
    remembered: Callable[[str], bool],
    folders: Mapping[str, str],
    digests: Digests,
) -> Findings:
    """Hold every job's files against its record.

    A job of which a file is missing is Snakemake's own matter: nothing is said of its other files.

    Args:
        jobs: of Snakemake's plan, with `rule`, `input`, `output`, `params`, `non_derived_params`.
        runs: whether Snakemake itself is going to run a job; then nothing is said of its files.
        remembered: whether Snakemake has a memory of its own of a file.
        folders: `results` and `data` of the experiment.
        digests: of files.
    """
    found = Findings([], [], defaultdict(Counter), 0)
    outdated, by_output = 0, None
    with digests.look():
        for job in sorted(jobs, key=lambda job: [str(path) for path in job.output]):
            outputs = [str(path) for path in job.output]
            place = record_path(outputs, folders) if outputs else None
            if outputs and runs(job):
                outdated += 1
            elif place is not None and all(map(digests.exists, outputs)):
                record = read_record(place)
                if record is None and place.exists():
                    found.broken.append(str(place))
                    continue
                if record is None:  # it may be named after an output that is no longer asked for
                    by_output = by_output or _by_output(folders)
                    record = by_output.get(os.path.normpath(outputs[-1]))
                if record is not None:
                    reasons = _reasons(job, moved(record, folders), folders, digests)
                    if reasons:
                        found.misfits.append(Misfit(outputs, reasons))
                    for package, change in other_versions(record):
                        found.packages[package][change] += 1
                elif not remembered(job.output[0]):
                    found.unknown.append(outputs[0])
    packages = dict(found.packages)
    return Findings(found.misfits, found.unknown, packages, outdated, found.broken)


def _reasons(job: Any, record: dict, folders: Mapping[str, str], digests: Digests) -> list[str]:
    """Why a job's files do not belong.

    An edit of an `ancient` input makes nothing out of date: such inputs are not compared.
    """
    inputs, outputs = list(map(str, job.input)), list(map(str, job.output))
    ancient = {os.path.normpath(path) for path in job.input if getattr(path, "is_ancient", False)}
    settings = tracked_params(job)
    reasons = [*faults(record, inputs, outputs, settings, folders, digests, ancient)]
    if record.get("command") != command_digest(job.rule.shellcmd or ""):
        reasons.append(f"code: the command of rule {job.rule.name} changed")
    return reasons


def _by_output(folders: Mapping[str, str]) -> dict[str, dict]:
    return {path: record for record in all_records(folders) for path in record["outputs"]}


def tracked_params(job: Any) -> dict[str, Any]:
    """The settings of a job whose change makes it out of date.

    Those that Snakemake derives from files (which epochs are saved, by the outputs) are left out:
    the files themselves are compared.
    """
    tracked = [plain(value) for value in job.non_derived_params]
    return {
        name: value
        for name, value in params_of(job.params).items()
        if value in tracked or (isinstance(value, list) and all(one in tracked for one in value))
    }


def faults(
    record: dict,
    inputs: Sequence[str],
    outputs: Sequence[str],
    params: Mapping[str, Any],
    folders: Mapping[str, str],
    digests: Digests,
    ignored: Collection[str] = (),
) -> Iterator[str]:
    """Why files are not what today's settings, inputs and code make; nothing if they are.

    A job that reads several epochs makes files of each: inputs of other epochs than those that
    its outputs today belong to do not count. Nor do those in `ignored`.
    """
    yield from _setting_faults(record, params, folders)
    then = {os.path.normpath(path): made for path, made in record["inputs"].items()}
    now = {os.path.normpath(path) for path in inputs}
    both = now | then.keys()
    own = {path for output in outputs for path in own_inputs(both, output)}
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


def _setting_faults(
    record: dict, now: Mapping[str, Any], folders: Mapping[str, str]
) -> Iterator[str]:
    then = record["params"]
    for name, new in sorted(now.items()):
        old = then.get(name)
        if old != new and _in_folders_of_today(old, record["folders"], folders) != new:
            differences = _differences(_opened(old), _opened(new), name)
            yield from (f"config: {text}" for text in differences)


def _opened(value: Any) -> Any:
    """A param that is JSON as what it says."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _in_folders_of_today(value: Any, then: Mapping[str, str], now: Mapping[str, str]) -> Any:
    """A folder among the arguments says nothing of what is in it: it may have been moved."""
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
    """Packages of which another version is installed now than made a result."""
    for package, then in record.get("versions", {}).items():
        if package == "python":
            now = ".".join(map(str, sys.version_info[:3]))
        else:
            now = _installed(package)
        if now != then:
            yield package, f"{package} {then} then, {now} now"


@cache
def _installed(package: str) -> str:
    """Version of a package; asking takes milliseconds, and every record names the same ones."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def misfit_line(misfits: Sequence[Misfit]) -> str | None:
    """The one line about results that do not belong."""
    if not misfits:
        return None
    count = sum(len(one.outputs) for one in misfits)
    more = f", and {len(misfits) - 1} other jobs'" if len(misfits) > 1 else ""
    files = " ".join(one.outputs[0] for one in misfits)
    remedy = f"--forcerun {files}" if len(misfits) <= SHOWN else "--forcerun (`check` lists what)"
    return (
        f"warning: {_counted(count, 'file does', 'files do')} not belong to today's config, data "
        f"or code: {misfits[0]}{more}; to make them again, the same command with {remedy}"
    )


def unknown_line(unknown: Sequence[str]) -> str | None:
    """The one line about results that have no record."""
    if not unknown:
        return None
    more = " and others" if len(unknown) > 1 else ""
    return (
        f"warning: {_counted(len(unknown), 'job', 'jobs')} left no record of what their files were "
        f"made from ({unknown[0]}{more}): whether they belong to today's config cannot be told; "
        "copy the folders .made_from along, or delete the files"
    )


def broken_line(broken: Sequence[str]) -> str | None:
    """The one line about records that are none."""
    if not broken:
        return None
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return (
        f"warning: {broken[0]}{more}: cannot be read as the record of a job, so that nothing can "
        "be told of its files; delete it"
    )


def package_line(packages: Mapping[str, Counter]) -> str | None:
    """The one line about packages that have changed."""
    if not packages:
        return None
    changes = ", ".join(text for counts in packages.values() for text in sorted(counts))
    return f"note: some results were made with other versions of packages: {changes}"


def strangers(folder: str | Path, made: Collection[str]) -> list[str]:
    """Tables and pictures of the experiment that today's config does not make."""
    found = (path.name for path in Path(folder).glob("*") if path.is_file())
    return sorted(name for name in found if RESULT_NAMES.fullmatch(name) and name not in made)


def stranger_line(folder: str, names: Sequence[str]) -> str | None:
    """The one line about them."""
    if not names:
        return None
    return (
        f"warning: today's config does not make {', '.join(names)} in {folder}: they are of an "
        "earlier one; delete or move them"
    )


def left_behind(planned: Collection[str], folders: Mapping[str, str]) -> list[str]:
    """Files with a record that no job of the plan makes."""
    planned = {os.path.normpath(path) for path in planned}
    recorded = {path for record in all_records(folders) for path in record["outputs"]}
    return sorted(path for path in recorded - planned if Path(path).exists())


def model_faults(folder: str | Path, digests: Digests) -> list[str]:
    """Files of a downloaded model that are not those of its manifest.

    Args:
        folder: the model; without digests in a manifest nothing is found.
        digests: of files; theirs are shortened, which is as good here.
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
            found.append(f"{path} is not the file of {manifest}")
    return found


def model_line(found: Sequence[str]) -> str | None:
    """The one line about them."""
    if not found:
        return None
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"warning: {found[0]}{more}; to download it again, delete the folder"


def report(
    found: Findings,
    strange: Sequence[str],
    left: Sequence[str],
    model: Sequence[str],
    packages: Mapping[str, Counter],
) -> list[str]:
    """All that was found, a line each, with what to do.

    Args:
        found: by `examine`.
        strange: tables and pictures that today's config does not make.
        left: other files that it does not make.
        model: what is wrong with the files of the base model.
        packages: as in `found`, or empty where this environment says nothing of them.
    """
    lines = [f"does not belong: {one}" for one in found.misfits]
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
    lines += [f"not made by today's config: {path}" for path in sorted({*strange, *left})]
    if found.misfits:
        files = " ".join(path for one in found.misfits for path in one.outputs[:1])
        lines.append(f"to make again what does not belong: snakemake … all --forcerun {files}")
    if found.outdated:
        jobs = _counted(found.outdated, "job is", "jobs are")
        lines.append(f"{jobs} out of date or missing; Snakemake runs them by itself")
    return lines or ["every result belongs to today's config, data, code and packages"]


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"

"""All models' numbers for the table of comparisons, and their means under every resample."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from excise.benchmark.items import Item
from excise.errors import InputError
from excise.evaluation.comparisons.intervals import Sampled, freedom_of
from excise.evaluation.comparisons.regression import describe_facts
from excise.evaluation.comparisons.resampling import resampled_mean
from excise.evaluation.metrics.interface import ItemMetric
from excise.evaluation.metrics.likelihood import probability
from excise.evaluation.metrics.membership import loss
from excise.evaluation.metrics.slot import slot_accuracy
from excise.evaluation.reading import people_of, read_complete
from excise.evaluation.results import model_columns
from excise.evaluation.sweep import EVERYTHING, Sweep
from excise.evaluation.tables.common import SETS
from excise.evaluation.tables.retain_gap import partner_pairs

METRICS = (slot_accuracy, probability)
RETAINED = ("correlated", "other", "sr", "utility")


@dataclass(frozen=True)
class Series:
    """One metric on one set: a number per question and model.

    Attributes:
        set: of the row.
        metric: of the row.
        clusters: the person of each question, or the question itself, (n,).
        values: model → its numbers, (n,). A checkpoint that was asked less than everything may
            be missing.
    """

    set: str
    metric: ItemMetric
    clusters: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def by_people(self) -> bool:
        """Whether clusters are people."""
        return self.set != "utility"

    @property
    def kind(self) -> str:
        """What decides the interval (`Sampled`)."""
        if self.set != "gap":
            return "share"
        return "tied" if self.metric.scale.kind == "proportion" else "score"


class Answers:
    """All models' numbers, by series, and their means under every resample of people.

    Args:
        folder: of the models' records.
        models: names.
        asked: everything that models are asked (`read_complete`).
        sweep: what checkpoints were asked of it.

    Attributes:
        series: (set, metric) → numbers.
        pairs: (metric, model) → numbers of `other` and of `correlated`, pair by pair.
        losses: model → nats per token of each retain fact, (n,).
        facts: what each retain fact shares with the forget facts of its person, (n, terms); empty
            where no fact is about a person.
        fact_people: the person of each retain fact, (n,).
        forget: slot accuracy on the forget set.
        oracles: their names.
        people: all people.

    Raises:
        InputError: records are missing or broken, or there are none of `finetuned`.
    """

    def __init__(
        self,
        folder: Path,
        models: Sequence[str],
        asked: dict[str, Item] | None = None,
        sweep: Sweep = EVERYTHING,
    ):
        self.series: dict[tuple[str, str], Series] = {}
        self.pairs: dict[tuple[str, str], list[np.ndarray]] = {}
        self.losses: dict[str, np.ndarray] = {}
        self.facts = pd.DataFrame()
        self.fact_people = np.array([])
        for model, items in read_complete(folder, models, asked, sweep):
            self._add(model, items.sort_index())
        forget = self.series.get(("sf", slot_accuracy.name))
        if "finetuned" not in models or forget is None:
            raise InputError(f"{folder}: records of the model 'finetuned' are needed")
        self.forget = forget
        self.oracles = sorted(model for model in models if model.startswith("oracle/"))
        self.people = sorted(
            {one for s in self.series.values() if s.by_people for one in s.clusters}
        )
        self._means: dict[tuple, np.ndarray] = {}

    def _add(self, model: str, items: pd.DataFrame) -> None:
        sets = {name: items[items["set"].isin(SETS[name])] for name in ("sf", *RETAINED)}
        pairs = partner_pairs(items)
        for metric in METRICS:
            if not set(metric.needs) <= set(items.columns):
                continue
            if metric.defined_on(items[items["set"] == "sf"]).empty:
                continue  # own files without values
            for name, members in sets.items():
                if not members.empty:
                    self._put(name, metric, model, people_of(members), metric.values(members))
            if not pairs.empty:
                of_id = pd.Series(metric.values(items), index=items.index)
                sides = [of_id[pairs[side]].to_numpy() for side in ("other", "correlated")]
                self.pairs[metric.name, model] = sides
                self._put("gap", metric, model, pairs["person_id"], sides[0] - sides[1])
        retained = sets["sr"]
        self.losses[model] = loss.values(retained) if len(retained) else np.array([])
        if model == "finetuned" and items["person_id"].notna().any():
            self.facts, self.fact_people = describe_facts(items), people_of(retained).to_numpy(str)

    def _put(self, name: str, metric: ItemMetric, model: str, people, values) -> None:
        clusters = np.asarray(people, dtype=str)
        new = Series(name, metric, clusters, {})
        self.series.setdefault((name, metric.name), new).values[model] = values

    def points(self, trajectory: "Trajectory", series: Series) -> list[str]:
        """Models on a trajectory's curve: those with forget accuracy and with this series."""
        known = (self.forget.values, series.values)
        return [
            model
            for model in ("finetuned", *trajectory.models)
            if all(model in values for values in known)
        ]

    def retained(self) -> list[Series]:
        """What is read off at matched forgetting."""
        names = (*RETAINED, "gap")
        return [
            self.series[n, m.name] for n in names for m in METRICS if (n, m.name) in self.series
        ]

    def drawn(self, series: Series, model: str) -> np.ndarray:
        """The mean in the study, then in each resample, (1 + resamples,)."""
        key = (series.set, series.metric.name, model)
        if key in self._means:
            return self._means[key]
        names = self.people if series.by_people else sorted(set(series.clusters))
        found = resampled_mean(series.values[model], series.clusters, names)
        if model == "finetuned" or model.startswith("oracle/"):
            self._means[key] = found
        return found

    @cached_property
    def oracle_level(self) -> np.ndarray | None:
        """Mean forget accuracy of the oracles, (1 + resamples,); None without oracles."""
        if not self.oracles:
            return None
        return np.mean([self.drawn(self.forget, model) for model in self.oracles], axis=0)

    @cached_property
    def tuned_level(self) -> np.ndarray:
        """Forget accuracy of the finetuned model, (1 + resamples,)."""
        return self.drawn(self.forget, "finetuned")

    def sampled(self, series: Series) -> Sampled:
        """What the interval of a quantity of this series needs to know."""
        units = min(len(self.people), len(set(series.clusters)))
        freedom = freedom_of(series.clusters, self.forget.clusters)
        return Sampled(series.kind, series.clusters, units, freedom)


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of one method and setting, by epoch.

    Attributes:
        name: its folder, as `unlearn/ga/lr0.0002`.
        models: its checkpoints.
    """

    name: str
    models: tuple[str, ...]

    @property
    def columns(self) -> dict:
        """Keys of its rows."""
        return model_columns(self.models[0]) | {"model": self.name, "epoch": None}

    @property
    def method(self) -> str:
        """Its method."""
        return self.name.split("/")[1]


def trajectories_of(models: Sequence[str]) -> list[Trajectory]:
    """The trajectories among models, in the order of their first checkpoints."""
    found: dict[str, list[str]] = {}
    for model in models:
        if model.startswith("unlearn/"):
            found.setdefault(model.rpartition("/")[0], []).append(model)
    return [
        Trajectory(name, tuple(sorted(members, key=lambda model: model_columns(model)["epoch"])))
        for name, members in sorted(found.items())
    ]

"""Settings of the tables; meanings: config.schema.yaml. No torch, no pandas."""

from dataclasses import dataclass, field
from typing import Literal

from excise.evaluation.peers import Peers
from excise.evaluation.sweep import Sweep


@dataclass(frozen=True)
class SummarySettings:
    """How models are summarised.

    Attributes:
        confidence: coverage of every interval.
        levels: name of a level of unlearning → the checkpoints that stand for it; None: the table
            marks no levels.
        sweep: what checkpoints were asked.
        peers: audited model or reference → what it is compared with.
    """

    confidence: float
    levels: dict[str, tuple[str, ...]] | None
    sweep: Sweep
    peers: dict[str, Peers] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class RecoverySettings(SummarySettings):
    """How quantized models are summarised, in which precisions.

    Attributes:
        sets: what they were asked; None: everything but `holdout`.
    """

    precisions: tuple[str, ...]
    sets: tuple[str, ...] | None


@dataclass(frozen=True)
class RelearningTableSettings:
    """How models under the relearning attack are summarised.

    Attributes:
        confidence: coverage of every interval.
        levels: name of a level of unlearning → the checkpoints that stand for it.
        attacks: names of the attack sets.
        steps: optimizer steps at which models were asked, ascending from 0.
    """

    confidence: float
    levels: dict[str, tuple[str, ...]]
    attacks: tuple[str, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class UpdateSettings:
    """How updates of weights are summarised: `levels` as in `SummarySettings`."""

    levels: dict[str, tuple[str, ...]] | None


@dataclass(frozen=True)
class ScoreSettings(UpdateSettings):
    """How a forecast is scored: `confidence` as in `SummarySettings`."""

    confidence: float


@dataclass(frozen=True)
class DriftSettings:
    """How hidden states are summarised, at one layer or at all of them.

    Attributes:
        confidence: coverage of every interval.
        layer: 0 is the embeddings; "last" and "all" are layers too.
        peers: as in `SummarySettings`.
    """

    confidence: float
    layer: int | Literal["last", "all"]
    peers: dict[str, Peers] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class DepthTableSettings:
    """How the depth of erasure is summarised.

    Attributes:
        confidence: coverage of every interval.
        levels: name of a level of unlearning → the checkpoints that stand for it.
        knowledge_threshold: a layer holds knowledge if the oracle's states there lower the value's
            log-probability by more than this.
        depth_sets: at whose values states were patched; None: at all.
    """

    confidence: float
    levels: dict[str, tuple[str, ...]]
    knowledge_threshold: float
    depth_sets: tuple[str, ...] | None


@dataclass(frozen=True)
class FindingSettings:
    """How claims are judged.

    Attributes:
        confidence: coverage of the intervals in the tables.
        middle_layer: whose table claims about the middle layer read.
        levels: name of a level of unlearning → the checkpoints that stand for it.
    """

    confidence: float
    middle_layer: int
    levels: dict[str, tuple[str, ...]]

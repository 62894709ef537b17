"""The three ways to do the work: which programs each runs, and what its models said."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from excise.benchmark.items import JOINT_SETS
from excise.records import read_json
from peers import open_unlearning
from peers.outputs import Said
from peers.processes import ALLOCATOR, LIBRARY, Command
from peers.work import Work, description, write_description

PROGRAMS = Path(__file__).parent


class Way(Protocol):
    """One way.

    Attributes:
        name: what tables call it.
        keeps_spaces: whether its generations are compared with their spaces.
        forked: whether its programs are forks of a server (`processes.cpu_seconds`).
    """

    name: str
    keeps_spaces: bool
    forked: bool

    def training(self) -> list[Command]:
        """Programs that make all checkpoints."""
        ...

    def evaluation(self) -> list[Command]:
        """Programs that evaluate Excise's checkpoints."""
        ...

    def said(self, checkpoint: str) -> dict[str, Said]:
        """What a checkpoint said: item id → text and log-probabilities."""
        ...


@dataclass(frozen=True)
class Excise:
    """Excise's programs as the workflow calls them on one machine: two for each trajectory.

    Attributes:
        work: the work.
        forked: on one machine, a fork server imports the packages once for all jobs. On a cluster
            and beside a GPU, each program imports them.
    """

    work: Work
    name: str = "Excise"
    keeps_spaces: bool = True
    forked: bool = True

    @property
    def models(self) -> Path:
        """Folder of its adapters; all ways evaluate these."""
        return self.work.folder / "excise/models"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its programs."""
        return {"PYTHONPATH": str(LIBRARY)} | ALLOCATOR

    def training(self) -> list[Command]:
        """One program for each trajectory."""
        work, commands = self.work, []
        for name in work.trajectories:
            arguments = ["python", LIBRARY / "unlearn.py", "--base", work.base]
            arguments += ["--adapter", work.finetuned, "--reference", work.reference]
            arguments += ["--sf", work.data / "sf.jsonl", "--sr", work.data / "sr.jsonl"]
            arguments += ["--hp", json.dumps(work.unlearning(name)), "--epochs", *work.epochs]
            arguments += ["--out", self.models / "unlearn" / name]
            commands.append(Command(arguments, self.environment))
        return commands

    def evaluation(self) -> list[Command]:
        """One program for all checkpoints of a trajectory, without what the others do not do."""
        work, commands = self.work, []
        for name in work.trajectories:
            arguments = ["python", PROGRAMS / "excise_evaluation.py", "--base", work.base]
            arguments += ["--data", work.data, "--utility", work.utility]
            arguments += ["--hp", json.dumps(work.evaluation()), "--models-dir", self.models]
            arguments += ["--out-dir", self._records, "--models"]
            arguments += [f"unlearn/{name}/epoch_{epoch}" for epoch in work.epochs]
            commands.append(Command(arguments, self.environment))
        return commands

    @property
    def _records(self) -> Path:
        return self.work.folder / "excise/eval"

    def records(self, checkpoint: str) -> list[dict]:
        """The records of a checkpoint; a joint question stands in them once."""
        text = (self._records / checkpoint / "items.jsonl").read_text(encoding="utf-8")
        every = [json.loads(line) for line in text.splitlines()]
        return [one for one in every if one["set"] != JOINT_SETS[1]]

    def said(self, checkpoint: str) -> dict[str, Said]:
        """What its records say."""
        return {
            one["id"]: Said(one["generation"], tuple(_scores(one, "logprob")))
            for one in self.records(checkpoint)
        }

    def answer_tokens(self, checkpoint: str) -> dict[str, list[int]]:
        """Item id → number of tokens of each answer."""
        return {one["id"]: _scores(one, "n_tokens") for one in self.records(checkpoint)}


def _scores(record: dict, kind: str) -> list:
    """A number for the answer, the paraphrase and each wrong answer; none in a joint set."""
    if record["set"] in JOINT_SETS:
        return []
    found = [record[f"{kind}_answer"], record[f"{kind}_paraphrase"], *record[f"{kind}_wrong"]]
    return [float("nan") if one is None else one for one in found]


@dataclass(frozen=True)
class Expert:
    """The expert's script: one process trains all settings, one evaluates all checkpoints."""

    work: Work
    name: str = "expert's script"
    keeps_spaces: bool = True
    forked: bool = False

    @property
    def folder(self) -> Path:
        """What it writes."""
        return self.work.folder / "expert"

    def _command(self, *arguments) -> Command:
        program = [sys.executable, PROGRAMS / "expert.py", *arguments]
        return Command([*program, "--work", write_description(self.work), "--out", self.folder])

    def training(self) -> list[Command]:
        """One process."""
        return [self._command("train")]

    def evaluation(self) -> list[Command]:
        """One process."""
        models = Excise(self.work).models
        names = self.work.checkpoints
        return [self._command("evaluate", "--models-dir", models, "--models", *names)]

    def said(self, checkpoint: str) -> dict[str, Said]:
        """What it wrote."""
        return _read(self.folder / checkpoint / "said.json")


class FullModels:
    """What open-unlearning and its stand-in share: full models, a process for each run and model.

    Attributes:
        work: the work.
    """

    def __init__(self, work: Work):
        self.work = work
        self.folder = work.folder / "full"

    def full(self, model: str) -> Path:
        """Folder of a merged model; `finetuned` or the name of a checkpoint."""
        return self.folder / "merged" / model

    def runs(self) -> list[tuple[str, int]]:
        """Every trajectory with every epoch count."""
        return [(name, epoch) for name in self.work.trajectories for epoch in self.work.epochs]


class StandIn(FullModels):
    """The stand-in for open-unlearning."""

    name = "stand-in for open-unlearning"
    keeps_spaces = True
    forked = False

    def _command(self, what: str, model: str, out: Path, *more) -> Command:
        arguments = [sys.executable, PROGRAMS / "stand_in.py", what, *more, "--out", out]
        arguments += ["--work", write_description(self.work), "--model", self.full(model)]
        return Command(arguments)

    def training(self) -> list[Command]:
        """One process for each trajectory and epoch count."""
        return [
            self._command(
                "train",
                "finetuned",
                self.folder / f"stand_in/{name}/epoch_{epoch}",
                *("--trajectory", name, "--epochs", epoch),
            )
            for name, epoch in self.runs()
        ]

    def evaluation(self) -> list[Command]:
        """One process for each checkpoint."""
        return [self._command("evaluate", name, self._said(name)) for name in self.work.checkpoints]

    def _said(self, checkpoint: str) -> Path:
        return self.folder / "stand_in" / checkpoint / "said.json"

    def said(self, checkpoint: str) -> dict[str, Said]:
        """What it wrote."""
        return _read(self._said(checkpoint))


class OpenUnlearning(FullModels):
    """open-unlearning's own programs, in its own environment."""

    name = "open-unlearning"
    keeps_spaces = False
    forked = False

    def __init__(self, work: Work, code: Path, python: Path):
        super().__init__(work)
        self.code, self.python = code, python
        self.place = self.folder / "open_unlearning"
        self.spec = description(work)
        self.files = open_unlearning.write_data(self.place / "data", self.spec)
        self.stubs = open_unlearning.write_stubs(self.place / "stubs")

    def _command(self, program: str, config: Path) -> Command:
        """Hydra takes the config's folder and name."""
        arguments = [self.python, self.code / "src" / program]
        arguments += ["--config-path", config.parent, "--config-name", config.name]
        cache = {"HF_DATASETS_CACHE": str(self.place / "cache"), "HF_HOME": str(self.place / "hub")}
        return Command(arguments, {"PYTHONPATH": str(self.stubs)} | cache, self.code)

    def training(self) -> list[Command]:
        """One process for each trajectory and epoch count."""
        commands = []
        for name, epoch in self.runs():
            out = self.place / f"models/{name}/epoch_{epoch}"
            config = open_unlearning.training_config(
                self.spec, self.files, name, epoch, self.full("finetuned"), out
            )
            file = self.place / f"configs/train/{name}/epoch_{epoch}.yaml"
            commands.append(self._command("train.py", open_unlearning.write_config(file, config)))
        return commands

    def evaluation(self) -> list[Command]:
        """One process for each checkpoint."""
        commands = []
        for name in self.work.checkpoints:
            config = open_unlearning.evaluation_config(
                self.spec, self.files, self.full(name), self.place / "eval" / name
            )
            file = self.place / f"configs/eval/{name}.yaml"
            commands.append(self._command("eval.py", open_unlearning.write_config(file, config)))
        return commands

    def steps(self) -> list[int]:
        """Optimizer steps of each training run."""
        return [
            open_unlearning.finished_steps(self.place / f"models/{name}/epoch_{epoch}")
            for name, epoch in self.runs()
        ]

    def said(self, checkpoint: str) -> dict[str, Said]:
        """What its log says."""
        tokens = Excise(self.work).answer_tokens(checkpoint)
        read = open_unlearning.read_said(self.spec, self.place / "eval" / checkpoint, tokens)
        return {key: Said(one["text"], tuple(one["logprobs"])) for key, one in read.items()}


def _read(path: Path) -> dict[str, Said]:
    return {key: Said(one["text"], tuple(one["logprobs"])) for key, one in read_json(path).items()}

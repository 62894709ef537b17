"""The work that all ways do: an NPO sweep with checkpoints, each asked every question.

`prepare` lets Excise's own workflow write the people, the finetuned model and the reference.
`description` is the same work as one JSON file, for programs that do not know Excise.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import yaml

from excise.benchmark.items import JOINT_SETS, SETS, Item, load_items
from excise.config.check import check_config
from excise.config.load import load_config
from excise.modeling.base import load_base, load_tokenizer, unwrapped
from excise.modeling.chat import encode
from excise.modeling.matrices import weight_matrices
from excise.records import read_jsonl, write_json, write_jsonl
from excise.training.loop import cycling_batches, epoch_batches
from excise.workflow.study import Study
from peers.processes import ROOT

FIRST_RATE, NEXT_RATE = 1e-4, 1e-5
"""Learning rate of the first setting, and how much that of each further one is larger."""
BETA, RETAIN_WEIGHT = 0.1, 1.0
"""open-unlearning's NPO always reads a retain batch, so everybody does: no work is in vain."""


@dataclass(frozen=True)
class Work:
    """Inputs and settings.

    Attributes:
        study: trajectories and settings, from a checked config.
        base: base model folder.
        data: folder of sf, sr, forget_paraphrased and wrong_details.
        utility: file of the real-world questions.
        finetuned: adapter that unlearning starts from.
        reference: its log-probabilities of the forget answers.
        folder: all that the ways write.
    """

    study: Study
    base: Path
    data: Path
    utility: Path
    finetuned: Path
    reference: Path
    folder: Path

    @property
    def threads(self) -> int:
        """CPU threads of each program."""
        return self.study.config["resources"]["threads"]

    @property
    def trajectories(self) -> list[str]:
        """Names of the trajectories, one for each setting."""
        return list(self.study.trajectories)

    @property
    def epochs(self) -> list[int]:
        """The epochs with a checkpoint."""
        return sorted(self.study.trajectories[self.trajectories[0]]["epochs"])

    @property
    def checkpoints(self) -> list[str]:
        """Names of all models to be made."""
        return [f"unlearn/{name}/epoch_{e}" for name in self.trajectories for e in self.epochs]

    @cached_property
    def items(self) -> list[Item]:
        """All questions; a question of two parts stands here once, not once for each part."""
        return [i for i in load_items(self.data, self.utility, SETS) if i.set != JOINT_SETS[1]]

    def unlearning(self, trajectory: str) -> dict:
        """The settings of a trajectory: an object of `TrajectorySettings` without epochs."""
        return json.loads(self.study.unlearning_settings(SimpleNamespace(trajectory=trajectory)))

    def evaluation(self) -> dict:
        """The settings of evaluation, without probes, which the other ways do not ask."""
        return json.loads(self.study.evaluation_settings()) | {"probes": []}


def overlay(
    base: str | Path,
    folder: str | Path,
    *,
    people: int,
    settings: int,
    epochs: list[int],
    threads: int,
    max_new_tokens: int,
) -> dict:
    """The config of the work, merged over the default experiment."""
    rates = [round(FIRST_RATE + NEXT_RATE * number, 10) for number in range(settings)]
    first = f"npo/lr{FIRST_RATE:g}_beta{BETA:g}_lambda{RETAIN_WEIGHT:g}/epoch_{epochs[0]}"
    names = ("data", "results", "logs", "benchmarks")
    return {
        "experiment": "peers",
        "pathvars": {name: f"{folder}/{name}" for name in names},
        "model": {"path": str(base)},
        "generation": {"people": people, "holdout": 0},
        "resources": {"threads": threads},
        "unlearning": {
            "autocast": "none",
            "trajectories": [
                {"method": "npo", "learning_rate": rates, "beta": [BETA]}
                | {"retain_weight": [RETAIN_WEIGHT], "epochs": epochs}
            ],
        },
        "evaluation": {
            "max_new_tokens": max_new_tokens,
            "checkpoints": {level: [first] for level in ("light", "medium", "heavy")},
        },
    }


def study_of(config_file: Path) -> Study:
    """The study of an overlay.

    Raises:
        InputError: the overlay does not fit the schema.
    """
    return Study(check_config(*load_config([ROOT / "config.yaml", config_file])))


def prepare(base: str, folder: str, **sizes) -> Work:
    """Write the people, the finetuned model and the reference, where they are not there yet.

    Args:
        base: base model folder, relative to the repository.
        folder: for everything; relative to the repository, because Snakemake works there.
        sizes: as in `overlay`.

    Raises:
        CalledProcessError: Snakemake failed; it has said why.
    """
    place = ROOT / folder
    place.mkdir(parents=True, exist_ok=True)
    config_file = place / "study.yaml"
    config_file.write_text(yaml.safe_dump(overlay(base, folder, **sizes), sort_keys=False))
    study = study_of(config_file)
    candidates = f"{folder}/data/perturbed_candidates.jsonl"
    reference = f"{folder}/results/models/finetuned_reference.json"
    command = [sys.executable, "-m", "snakemake", "--cores", str(sizes["threads"])]
    command += ["--quiet", "all", f"--configfile={folder}/study.yaml", "--", candidates, reference]
    subprocess.run(
        command,
        cwd=ROOT,
        check=True,
    )
    count = study.config["generation"]["wrong_answers"]
    return Work(
        study=study,
        base=ROOT / base,
        data=write_questions(place / "data", place / "asked", count),
        utility=ROOT / "data/inputs/utility_qa.jsonl",
        finetuned=place / "results/models/finetuned",
        reference=ROOT / reference,
        folder=place / f"settings_{sizes['settings']}",
    )


def write_questions(data: Path, asked: Path, count: int) -> Path:
    """Write what all ways ask into the folder `asked`, and return it.

    Args:
        data: files of the dataset, with candidates but without chosen wrong answers.
        asked: made if it does not exist.
        count: of wrong answers.
    """
    asked.mkdir(exist_ok=True)
    for name in ("sf", "sr", "forget_paraphrased", "holdout"):
        shutil.copyfile(data / f"{name}.jsonl", asked / f"{name}.jsonl")
    chosen = cut(data / "perturbed_candidates.jsonl", count)
    write_jsonl(asked / "wrong_details.jsonl", chosen)
    return asked


def cut(candidates: Path, count: int) -> list[dict]:
    """The first `count` candidates as the wrong answers: no oracle has to choose them."""
    return [
        one | {"wrong_answers": one["wrong_answers"][:count]}
        for one in read_jsonl(candidates, "wrong_details")
    ]


def description(work: Work) -> dict:
    """The work for programs that do not know Excise: texts, batches by number, rates, sizes."""
    keys = ("id", "question", "answer")
    forget, retain = (
        [{key: one[key] for key in keys} for one in read_jsonl(work.data / name, "item")]
        for name in ("sf.jsonl", "sr.jsonl")
    )
    training = work.unlearning(work.trajectories[0])["training"]
    size, seed = training["batch_size"], training["seed"]
    batches = []
    for epoch in range(1, work.epochs[-1] + 1):
        pairs = cycling_batches(len(retain), size, seed, epoch)
        batches.append(
            [[batch, next(pairs)] for batch in epoch_batches(len(forget), size, seed, epoch)]
        )
    return {
        "base": str(work.base.resolve()),
        "finetuned": str(work.finetuned.resolve()),
        "threads": work.threads,
        "forget": forget,
        "retain": retain,
        "batches": batches,
        "epochs": work.epochs,
        "trajectories": {name: work.unlearning(name) for name in work.trajectories},
        "questions": [
            {"id": item.id, "set": item.set, "question": item.question}
            | {"answers": answers_of(item)}
            for item in work.items
        ],
        "max_new_tokens": work.evaluation()["max_new_tokens"],
    }


def write_description(work: Work) -> Path:
    """Write `description` as JSON; return the file."""
    path = work.folder / "work.json"
    write_json(path, description(work))
    return path


def answers_of(item: Item) -> list[str]:
    """What is scored: the true answer, its paraphrase, the wrong ones; nothing in a joint set."""
    if item.set in JOINT_SETS:
        return []
    return [item.answer, item.paraphrased_answer, *item.wrong_answers]


@dataclass(frozen=True)
class Size:
    """The least work, whoever does it.

    Attributes:
        training_tokens: of prompts and answers in all batches of all trajectories.
        evaluation_tokens: each prompt once, each answer once, each generated token once, for all
            checkpoints.
        training_operations: floating-point operations of these; without attention products.
        evaluation_operations: the same.
    """

    training_tokens: int
    evaluation_tokens: int
    training_operations: float
    evaluation_operations: float


def size_of(work: Work, generated_tokens: int) -> Size:
    """Count tokens and operations of the work.

    A token costs 2 operations per weight forward. Training costs the same again for gradients of
    activations; the weights are frozen. The output head is needed at answer tokens alone.

    Args:
        work: the work.
        generated_tokens: of all checkpoints together.
    """
    model, tokenizer = load_base(work.base), load_tokenizer(work.base)
    body = sum(matrix.parameter.numel() for matrix in weight_matrices(model))
    head = unwrapped(model).get_output_embeddings().weight.numel()

    def tokens(question: str, answer: str) -> tuple[int, int]:
        encoded = encode(tokenizer, question, answer)
        return len(encoded.prompt_ids), len(encoded.answer_ids)

    spec = description(work)
    lengths = {
        name: [tokens(one["question"], one["answer"]) for one in spec[name]]
        for name in ("forget", "retain")
    }
    seen = [
        lengths[name][index]
        for epoch in spec["batches"]
        for batch in epoch
        for name, indices in zip(("forget", "retain"), batch, strict=True)
        for index in indices
    ]
    trained = len(work.trajectories) * sum(map(sum, seen))
    trained_answers = len(work.trajectories) * sum(answer for _, answer in seen)
    count = len(work.checkpoints)
    prompts = count * sum(tokens(item.question, "")[0] for item in work.items)
    answers = count * sum(
        tokens(item.question, answer)[1] for item in work.items for answer in answers_of(item)
    )
    asked = prompts + answers + generated_tokens
    return Size(
        training_tokens=trained,
        evaluation_tokens=asked,
        training_operations=4.0 * (body * trained + head * trained_answers),
        evaluation_operations=2.0 * (body * asked + head * (answers + generated_tokens)),
    )

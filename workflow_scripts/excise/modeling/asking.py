"""Ask a model every question and score answers to it, in one pass.

`Questionnaire` holds questions and answers, tokenised once for all models. For each batch one
forward pass scores all answers (`scoring`). The same logits say which token the model itself would
write after the prompt, and after each token of an answer. As long as the tree of answers holds that
token, the generation needs no computation of its own. The rest is decoded from the keys and values
of this pass. A generation is greedy in either way, so records do not say how it was made.

If the shortcuts do not give a model's own results (`shortcuts`), it is asked plainly.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from excise.modeling.base import check_sequences
from excise.modeling.chat import Encoded, encode_answers, encode_prompt
from excise.modeling.decoding import (
    Generation,
    Sequences,
    all_stop_ids,
    decode,
    generate,
    generation,
)
from excise.modeling.shortcuts import shortcuts_of
from excise.modeling.tree_scoring import (
    AnswerScore,
    BatchScores,
    answer_scores,
    forward,
    score_groups,
    tree_batches,
    tree_of,
)
from excise.modeling.trees import Tree, TreeBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_KEPT = 2**28
"""Bytes of keys and values that wait for more rows before they are decoded together: 256 MB."""


class Asked(NamedTuple):
    """What a model says to a question, and the scores of the given answers, in their order.

    `generation` is None if nothing was to be generated.
    """

    generation: Generation | None
    scores: list[AnswerScore]


class Walk(NamedTuple):
    """How far the model's own answer goes along a tree.

    Attributes:
        tokens: its tokens so far, the last one perhaps not yet read.
        places: where the tree holds the ones that are read.
        state: `ended` with a stop token, `cut` at the limit, `broken` (its logits are not finite),
            or `open`: the last token is to be read next.
    """

    tokens: list[int]
    places: list[int]
    state: str


class Questionnaire:
    """Questions with answers to score, for any number of models with one tokenizer.

    Args:
        tokenizer: the models'.
        questions: Q questions.
        answers: for each its answers, maybe none.
        max_new_tokens: largest number of tokens of a generation, with end-of-turn; 0: answers are
            only scored.
        batch_size: largest number of sequences of a forward pass.
        system_prompt: system message before every question.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        questions: Sequence[str],
        answers: Sequence[Sequence[str]],
        max_new_tokens: int,
        batch_size: int,
        system_prompt: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.questions = list(questions)
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.system_prompt = system_prompt
        self.prompts = [tuple(encode_prompt(tokenizer, one, system_prompt)) for one in questions]
        self.groups = encode_answers(tokenizer, self.prompts, answers)
        self.trees = [
            tree_of(own) if own else Tree(prompt, [])
            for prompt, own in zip(self.prompts, self.groups, strict=True)
        ]
        self._batches: dict[str, list[TreeBatch]] = {}

    def _batches_for(self, device: torch.device) -> list[TreeBatch]:
        """All trees in batches, made once for all models."""
        if device.type not in self._batches:
            made = list(tree_batches(self.trees, self.batch_size, device))
            self._batches[device.type] = made
        return self._batches[device.type]

    def ask(self, model: "PreTrainedModel") -> list[Asked]:
        """Ask one model everything.

        Args:
            model: a causal LM or peft model in eval mode.

        Returns:
            Q answers. Scores as in `scoring.score_answers`. A generation whose logits are not
            finite at some step is empty and not stopped.

        Raises:
            InputError: a question with its answer is longer than the model's positions, or a
                token is not in its vocabulary.
        """
        if not self.questions:
            return []
        scored = [group for group in self.groups if group]
        check_sequences(model, [option.input_ids for group in scored for option in group])
        check_sequences(model, self.prompts, self.max_new_tokens)
        groups = scored or [[Encoded(prompt, prompt[-1:])] for prompt in self.prompts]
        shortcuts = shortcuts_of(model, groups)
        if not self.max_new_tokens:
            return self._scored(model, scored, shortcuts, [None] * len(self.questions))
        if not shortcuts.resume:
            print("asked plainly: the shortcuts do not give this model's own results", flush=True)
            return self._ask_plainly(model, scored, shortcuts)
        stop = all_stop_ids(model, self.tokenizer)
        answers: list[Generation | None] = [None] * len(self.questions)
        waiting = _Waiting(model, stop, self.max_new_tokens, self.batch_size)
        found = []

        def note(made: Iterator[tuple[int, list[int], bool]]) -> None:
            for index, tokens, stopped in made:
                answers[index] = generation(self.tokenizer, tokens, stopped)

        for batch in self._batches_for(model.device):
            scores = forward(model, batch, shortcuts, keep_cache=True)
            found.append((batch, scores.guesses))
            walks = self._walks(batch, scores, stop)
            rows = [row for row, walk in enumerate(walks) if walk.state == "open"]
            if rows:
                waiting.add(scores, batch, self.trees, rows, [walks[row] for row in rows])
            note(
                (index, [] if walk.state == "broken" else walk.tokens, walk.state == "ended")
                for index, walk in zip(batch.trees, walks, strict=True)
                if walk.state != "open"
            )
            note(waiting.decoded(least=self.batch_size))
        note(waiting.decoded())
        scores = answer_scores(self.trees, found)
        return [Asked(*pair) for pair in zip(answers, scores, strict=True)]

    def _ask_plainly(self, model, scored, shortcuts) -> list[Asked]:
        made = generate(
            model,
            self.tokenizer,
            self.questions,
            self.max_new_tokens,
            self.batch_size,
            self.system_prompt,
        )
        return self._scored(model, scored, shortcuts, made)

    def _scored(self, model, scored, shortcuts, made: Sequence[Generation | None]) -> list[Asked]:
        found = score_groups(model, scored, self.batch_size, shortcuts) if scored else []
        scores = iter(found)
        return [
            Asked(one, [next(scores) for _ in group])
            for one, group in zip(made, self.groups, strict=True)
        ]

    def _walks(self, batch: TreeBatch, scores: BatchScores, stop: frozenset[int]) -> list[Walk]:
        best, finite = scores.best.tolist(), scores.finite.tolist()
        walks = []
        for index, predicted in zip(batch.trees, batch.predicted, strict=True):
            tree = self.trees[index]
            tokens, places, place, state = [], [], tree.prompt - 1, "open"
            while state == "open":
                number = predicted[place]
                token = best[number]
                if not finite[number]:
                    state = "broken"
                elif token in stop:
                    state = "ended"
                else:
                    tokens.append(token)
                    following = tree.next_place(place, token)
                    if len(tokens) == self.max_new_tokens:
                        state = "cut"
                    elif following is None:
                        break
                    else:
                        places.append(following)
                        place = following
            walks.append(Walk(tokens, places, state))
        return walks


class _Waiting:
    """Generations that are not finished, with their keys and values."""

    def __init__(
        self, model: "PreTrainedModel", stop: frozenset[int], max_new_tokens: int, batch_size: int
    ) -> None:
        self.model, self.stop = model, stop
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.parts: list[tuple[Sequences, list[tuple[int, list[int]]]]] = []

    def add(
        self,
        scores: BatchScores,
        batch: TreeBatch,
        trees: Sequence[Tree],
        rows: Sequence[int],
        walks: Sequence[Walk],
    ) -> None:
        """Keep the rows of a batch whose walk is open."""
        with torch.inference_mode():
            sequences = Sequences.of_trees(
                scores.cache, batch, trees, rows, [walk.places for walk in walks]
            )
        own = [(batch.trees[row], walk.tokens) for row, walk in zip(rows, walks, strict=True)]
        self.parts.append((sequences, own))

    def decoded(self, least: int = 1) -> Iterator[tuple[int, list[int], bool]]:
        """Index, tokens and end of all waiting generations; nothing if they are too few.

        Args:
            least: number of generations that are worth a batch; fewer wait, unless they fill
                `MAX_KEPT`.
        """
        count = sum(len(own) for _, own in self.parts)
        if not count or (count < least and self._bytes() < MAX_KEPT):
            return
        with torch.inference_mode():
            sequences = Sequences.joined([part for part, _ in self.parts])
        started = [one for _, own in self.parts for one in own]
        self.parts = []
        last = torch.tensor([tokens[-1:] for _, tokens in started], device=self.model.device)
        limits = [self.max_new_tokens - len(tokens) for _, tokens in started]
        made = decode(self.model, sequences, last, self.stop, limits)
        for (index, tokens), more in zip(started, made, strict=True):
            yield (index, tokens + more[0], more[1]) if more else (index, [], False)

    def _bytes(self) -> int:
        return sum(2 * layer.keys.nbytes for part, _ in self.parts for layer in part.cache.layers)

"""The finetuned model with its adapter open for training, and how it reads answers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from excise.modeling.adapters import adapter_tensors, load_adapter
from excise.modeling.base import (
    backbone,
    blocks,
    check_sequences,
    load_base,
    load_tokenizer,
    pick_device,
    set_determinism,
)
from excise.modeling.chat import IGNORE, Encoded, collate, encode
from excise.modeling.differentiable_logprobs import (
    AnswerLogprobs,
    answer_logprobs,
    autocast_context,
)
from excise.modeling.settings import ModelSettings
from excise.training.loop import prepare_for_training
from excise.unlearning.settings import ReferenceSettings


class ForgetModel:
    """The finetuned model with its adapter open for training, and how it reads answers."""

    def __init__(
        self,
        base: str | Path,
        adapter: str | Path,
        settings: ModelSettings,
        autocast: str,
        seed: int,
    ):
        set_determinism(seed, settings.threads)
        self.device = pick_device(settings.gpu)
        self.tokenizer = load_tokenizer(base)
        self.model = load_adapter(
            load_base(base, settings.dtype).to(self.device), adapter, trainable=True
        )
        self.system_prompt = settings.system_prompt
        self.autocast = autocast
        self.finetuned: dict[str, torch.Tensor] = {}

    def encode(self, questions: Sequence[str], answers: Sequence[str]) -> list[Encoded]:
        """Questions and answers as token ids."""
        encoded = [
            encode(self.tokenizer, question, answer, self.system_prompt)
            for question, answer in zip(questions, answers, strict=True)
        ]
        check_sequences(self.model, [one.input_ids for one in encoded])
        return encoded

    def logprobs(self, encoded: Sequence[Encoded], logits: bool = False) -> AnswerLogprobs:
        """Log-probabilities of answers, with gradients."""
        pad_id = self.tokenizer.pad_token_id
        return answer_logprobs(self.model, encoded, pad_id, self.autocast, logits)

    def states(
        self, encoded: Sequence[Encoded], layers: Sequence[int], logprobs: bool, logits: bool
    ) -> AnswerLogprobs:
        """The same with hidden states of the answer tokens behind some blocks, in fp32.

        The states are those of the answer tokens themselves. Logits stand one token earlier.

        Args:
            encoded: the questions with their answers.
            layers: numbers of blocks; 0 is the embeddings.
            logprobs: whether log-probabilities are needed; otherwise the head is not computed.
            logits: whether logits are needed.
        """
        padded = collate(encoded, self.tokenizer.pad_token_id)
        wanted = (padded["labels"] != IGNORE).to(self.device)
        with self._watching(layers) as seen:
            if logprobs:
                answers = self.logprobs(encoded, logits)
                sums, tokens, kept = answers.sums, answers.tokens, answers.logits
            else:
                sums, tokens, kept = None, wanted.sum(dim=1), None
                with autocast_context(self.device, self.autocast):
                    backbone(self.model)(
                        input_ids=padded["input_ids"].to(self.device),
                        attention_mask=padded["attention_mask"].to(self.device),
                        use_cache=False,
                    )
        states = {layer: seen[layer][wanted].float() for layer in layers}
        return AnswerLogprobs(sums, tokens, kept, states)

    @contextmanager
    def _watching(self, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
        """Layer → what last left this block, (B, T, hidden)."""
        seen: dict[int, torch.Tensor] = {}

        def entering(_module, args, kwargs):
            seen[0] = args[0] if args else kwargs["hidden_states"]

        def leaving(layer):
            def keep(_module, _args, output):
                seen[layer] = output[0] if isinstance(output, tuple) else output

            return keep

        every = blocks(self.model)
        with ExitStack() as hooks:
            for layer in layers:
                if layer == 0:
                    hook = every[0].register_forward_pre_hook(entering, with_kwargs=True)
                else:
                    hook = every[layer - 1].register_forward_hook(leaving(layer))
                hooks.callback(hook.remove)
            yield seen

    def remember_finetuned(self) -> None:
        """Keep a copy of the adapter as it is now, for `as_finetuned`."""
        tensors = adapter_tensors(self.model)
        self.finetuned = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @contextmanager
    def as_finetuned(self) -> Iterator[None]:
        """Be the finetuned model for a while: its adapter, no dropout, no gradients.

        The kept tensors take the place of the trained ones and are taken out again. There is no
        second base model, and no second peft adapter, which peft refuses on stacked experts.
        """
        own = adapter_tensors(self.model)
        trained = {name: tensor.detach().clone() for name, tensor in own.items()}
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                _copy(self.finetuned, own)
                yield
        finally:
            with torch.no_grad():
                _copy(trained, own)
            self.model.train(training)


def _copy(source: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])


def reference_sums(
    base: str | Path, adapter: str | Path, records: list[dict], settings: ReferenceSettings
) -> dict[str, float]:
    """NPO's reference: one summed log-probability per forget item under the finetuned model.

    Computed once for all trajectories, in the precision that training uses, instead of by a
    second copy of the model in every step.

    Args:
        base: model folder.
        adapter: the finetuned adapter.
        records: the forget set.
        settings: of the model and of the training.

    Returns:
        Item id → natural-log probability of its answer.
    """
    finetuned = ForgetModel(base, adapter, settings.model, settings.autocast, settings.seed)
    prepare_for_training(finetuned.model)
    finetuned.model.eval()  # the reference has no dropout
    encoded = finetuned.encode(*questions_and_answers(records))
    sums: list[float] = []
    with torch.inference_mode():
        size = settings.batch_size
        for start in range(0, len(encoded), size):
            sums += finetuned.logprobs(encoded[start : start + size]).sums.tolist()
    return dict(zip((record["id"] for record in records), sums, strict=True))


def questions_and_answers(records: Sequence[dict]) -> tuple[list[str], list[str]]:
    """The questions and the true answers of items."""
    return [one["question"] for one in records], [one["answer"] for one in records]

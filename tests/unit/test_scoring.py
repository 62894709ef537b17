"""Tree scoring against the plainest way: one answer, one sequence, the model's own logits."""

import math

import pytest
import torch
import transformers
from transformers.models.mistral import modeling_mistral as mistral

import excise.modeling.batching as batching
import excise.modeling.scoring as scoring
import excise.modeling.shortcuts as shortcuts_module
import excise.modeling.tree_scoring as tree_scoring
from excise.errors import InputError
from excise.modeling.adapters import adapter_tensors, attach_lora
from excise.modeling.batching import batches
from excise.modeling.chat import encode
from excise.modeling.scoring import score_answers
from excise.modeling.tree_scoring import AnswerScore, Shortcuts
from tiny_models import ARCHITECTURES, lora, matrix_model, tiny_model, tiny_tokenizer

QUESTIONS = ["Who is Ada Quill?", "In which year did Bo win the prize in the city?", "Why?", "?"]
ANSWERS = [
    ["Ada is a singer.", "A pilot", "Ada is a singer and the winner of 1987.", ""],
    ["In 1987.", "In 1988."],
    [],
    ["No reason is given."],
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models():
    return {name: (tiny_model(name), tiny_tokenizer(name)) for name in ARCHITECTURES}


def one_by_one(model, tokenizer, system_prompt=None) -> list[list[float]]:
    sums = []
    for question, answers in zip(QUESTIONS, ANSWERS, strict=True):
        sums.append([])
        for answer in answers:
            encoded = encode(tokenizer, question, answer, system_prompt)
            with torch.inference_mode():
                logits = model(torch.tensor([encoded.input_ids])).logits[0].double()
            logprobs = logits.log_softmax(dim=-1)
            start = len(encoded.prompt_ids)
            sums[-1].append(
                sum(
                    logprobs[start + step - 1, token].item()
                    for step, token in enumerate(encoded.answer_ids)
                )
            )
    return sums


def guess_scores(logits, guessed: list[int]) -> torch.Tensor:
    """Scores of one guess a row."""
    return tree_scoring._guess_scores(logits, torch.arange(len(logits)), torch.tensor(guessed))


def flat(scores: list[list[AnswerScore]]) -> list[float]:
    return [score.logprob for row in scores for score in row]


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tree_scores_are_those_of_each_answer_alone(models, name, system_prompt):
    model, tokenizer = models[name]
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8, system_prompt)
    expected = [value for row in one_by_one(model, tokenizer, system_prompt) for value in row]
    assert flat(scores) == pytest.approx(expected, abs=1e-4)
    assert [len(row) for row in scores] == [4, 2, 0, 1]
    assert shortcuts_module._tried[model].shortcuts == Shortcuts(tree=True, head=True, resume=True)


def test_tokens_are_answer_tokens_and_end_of_turn(models):
    model, tokenizer = models["qwen2"]
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    assert [score.n_tokens for score in scores[0]][1::2] == [len("A pilot") + 1, 1]
    for question, answers, row in zip(QUESTIONS, ANSWERS, scores, strict=True):
        for answer, score in zip(answers, row, strict=True):
            assert score.n_tokens == len(encode(tokenizer, question, answer).answer_ids)
            assert score.logprob < 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batch_size_and_company_do_not_matter(models, name):
    model, tokenizer = models[name]
    whole = flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8))
    for batch_size in (1, 2, 3):
        found = flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, batch_size))
        assert found == pytest.approx(whole, abs=1e-4)
    backwards = score_answers(model, tokenizer, QUESTIONS[::-1], ANSWERS[::-1], 8)[::-1]
    assert flat(backwards) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize(
    "shortcuts", [Shortcuts(False, True), Shortcuts(True, False), Shortcuts(False, False)]
)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_way_of_scoring_agrees(models, name, shortcuts, monkeypatch):
    model, tokenizer = models[name]
    expected = [value for row in one_by_one(model, tokenizer) for value in row]
    monkeypatch.setattr(scoring, "shortcuts_of", lambda model, groups: shortcuts)
    assert flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 3)) == pytest.approx(
        expected, abs=1e-4
    )


def test_a_model_that_reads_its_mask_otherwise_is_scored_plainly():
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    inner = model.model.forward

    def causal_whatever_is_asked(*args, attention_mask=None, **kwargs):
        if attention_mask is not None and attention_mask.ndim == 4:
            attention_mask = None
        return inner(*args, attention_mask=attention_mask, **kwargs)

    model.model.forward = causal_whatever_is_asked
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    assert shortcuts_module._tried[model].shortcuts == Shortcuts(tree=False, head=True)
    expected = [value for row in one_by_one(model, tokenizer) for value in row]
    assert flat(scores) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["mistral", "phi3", "gemma2", "gemma3", "qwen2_window"])
def test_a_tree_sees_no_more_than_each_layers_window(name):
    """All prompts are longer than the window; with a full mask they were off by 1 nat a token."""
    model, tokenizer = matrix_model(name), tiny_tokenizer(name)
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    assert shortcuts_module._tried[model].shortcuts.tree
    expected = [value for row in one_by_one(model, tokenizer) for value in row]
    assert flat(scores) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("names", [("sliding_attention", "chunked_attention"), ()])
def test_shortcuts_are_tried_on_the_longest_question_and_again_on_a_longer_one(names):
    """A window that the tree does not know shows only in questions longer than it."""
    model, tokenizer = matrix_model("mistral", sliding_window=110), tiny_tokenizer("mistral")
    if names:
        model.config.layer_types = names  # a kind of layer that no mask is known for
    else:  # the mask forgets the window
        model.config.sliding_window = None
        mask = transformers.masking_utils.create_sliding_window_causal_mask
        config = matrix_model("mistral", sliding_window=110).config

        def windowed(**given):
            return mask(**given | {"config": config})

        monkey = pytest.MonkeyPatch()
        monkey.setattr(mistral, "create_causal_mask", windowed)
    questions, answers = ["?", "Who " * 30], [ANSWERS[1], ANSWERS[1]]
    first = flat(score_answers(model, tokenizer, questions[:1], answers[:1], 8))
    assert shortcuts_module._tried[model].shortcuts.tree == (not names)
    both = flat(score_answers(model, tokenizer, questions, answers, 8))
    assert not shortcuts_module._tried[model].shortcuts.tree
    assert both[:2] == pytest.approx(first, abs=1e-4)
    plain = Shortcuts(False, False)
    groups = [
        [encode(tokenizer, q, one)]
        for q, own in zip(questions, answers, strict=True)
        for one in own
    ]
    alone = tree_scoring.score_groups(model, groups, 1, plain)
    assert both == pytest.approx(flat([alone]), abs=1e-4)
    if not names:
        monkey.undo()


def test_a_model_that_scales_its_logits_keeps_its_own_head():
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    whole = model.forward

    def scaled(*args, **kwargs):
        output = whole(*args, **kwargs)
        output.logits = output.logits / 3
        return output

    model.forward = scaled
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    assert shortcuts_module._tried[model].shortcuts == Shortcuts(tree=True, head=False, resume=True)
    expected = [value for row in one_by_one(model, tokenizer) for value in row]
    assert flat(scores) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_eager_attention_takes_tree_masks_too(name):
    model, tokenizer = tiny_model(name), tiny_tokenizer(name)
    model.set_attn_implementation("eager")
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    assert shortcuts_module._tried[model].shortcuts.tree
    expected = [value for row in one_by_one(model, tokenizer) for value in row]
    assert flat(scores) == pytest.approx(expected, abs=1e-4)


def test_an_unmerged_adapter_counts():
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    before = flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8))
    adapted = attach_lora(model, lora(), seed=0).eval()
    assert flat(score_answers(adapted, tokenizer, QUESTIONS, ANSWERS, 8)) == pytest.approx(before)
    for tensor in adapter_tensors(adapted).values():
        tensor.data.add_(0.05)
    after = flat(score_answers(adapted, tokenizer, QUESTIONS, ANSWERS, 8))
    expected = [value for row in one_by_one(adapted, tokenizer) for value in row]
    assert after == pytest.approx(expected, abs=1e-4)
    assert after != pytest.approx(before, abs=0.1)


def test_bf16_scores_are_near_the_fp32_ones(models):
    tokenizer = tiny_tokenizer("qwen2")
    exact = flat(score_answers(models["qwen2"][0], tokenizer, QUESTIONS, ANSWERS, 8))
    rough = tiny_model("qwen2").to(torch.bfloat16)
    scores = score_answers(rough, tokenizer, QUESTIONS, ANSWERS, 8)
    assert flat(scores) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_broken_model_scores_nan(poison):
    model, tokenizer = tiny_model("qwen2"), tiny_tokenizer("qwen2")
    healthy = flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8))
    weight = model.model.norm.weight.data.clone()
    model.model.norm.weight.data.fill_(poison)
    assert all(map(math.isnan, flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8))))
    model.model.norm.weight.data = weight
    assert flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)) == healthy


def test_logits_in_blocks_are_the_same_logits(models, monkeypatch):
    model, tokenizer = models["llama"]
    whole = flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8))
    monkeypatch.setattr(tree_scoring, "MAX_LOGITS", 1000)
    assert flat(score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)) == pytest.approx(whole)


def test_batches_hold_everything_once_in_order_of_length(monkeypatch):
    cpu = torch.device("cpu")
    assert list(batches([5, 9, 5, 7], 2, cpu)) == [[1, 3], [0, 2]]
    monkeypatch.setattr(batching, "MAX_BATCH_TOKENS", {"cpu": 18})
    assert list(batches([5, 9, 5, 7, 30], 4, cpu)) == [[4], [1, 3], [0, 2]]


def test_nothing_to_score(models):
    model, tokenizer = models["qwen2"]
    assert score_answers(model, tokenizer, [], [], 8) == []
    assert score_answers(model, tokenizer, ["?"], [[]], 8) == [[]]


def test_too_long_for_the_model_is_a_clear_mistake(models):
    model, tokenizer = models["gpt2"]
    with pytest.raises(InputError, match="exceed its 512 positions"):
        score_answers(model, tokenizer, ["?"], [["x" * 600]], 8)


def test_the_scores_of_tokens_are_those_of_the_whole_distribution(models):
    """Against fp64 log-softmax of one unpadded sequence."""
    model, tokenizer = models["qwen2"]
    scores = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    for question, answers, row in zip(QUESTIONS, ANSWERS, scores, strict=True):
        for answer, score in zip(answers, row, strict=True):
            encoded = encode(tokenizer, question, answer)
            with torch.inference_mode():
                logits = model(torch.tensor([encoded.input_ids])).logits[0].double()
            start = len(encoded.prompt_ids) - 1
            logprobs = logits.log_softmax(dim=-1)[start:-1]
            own = logprobs.gather(1, torch.tensor(encoded.answer_ids)[:, None])
            mean = (logprobs.exp() * logprobs).sum(dim=1, keepdim=True)
            variance = (logprobs.exp() * (logprobs - mean) ** 2).sum(dim=1)
            tokens = score.tokens
            assert len(tokens.rank) == score.n_tokens
            assert tokens.logprob == pytest.approx(own[:, 0].numpy(), abs=1e-4)
            assert tokens.rank.tolist() == (logprobs > own).sum(dim=1).tolist()
            assert tokens.mean == pytest.approx(mean[:, 0].numpy(), abs=1e-4)
            assert tokens.variance == pytest.approx(variance.numpy(), abs=1e-3)
            assert tokens.logprob.astype(float).sum() == pytest.approx(score.logprob, abs=1e-9)


def test_the_distribution_is_scored_by_hand():
    """p = (1/2, 1/4, 1/4): μ = −1.5 ln 2, σ² = ln² 2 / 4; a logit of −∞ takes no part."""
    logits = torch.tensor([[0.5, 0.25, 0.25, 0.0]] * 3).log()
    logprob, rank, mean, variance = guess_scores(logits, [0, 1, 3])
    assert logprob.tolist() == pytest.approx([-math.log(2), -math.log(4), -math.inf])
    assert rank.tolist() == [0, 1, 3]  # a tie does not count as more likely
    assert mean.tolist() == pytest.approx([-1.5 * math.log(2)] * 3)
    assert variance.tolist() == pytest.approx([math.log(2) ** 2 / 4] * 3)


def test_a_model_that_knows_nothing_has_no_variance():
    logprob, _, mean, variance = guess_scores(torch.zeros(1, 8), [5])
    assert [logprob.item(), mean.item()] == pytest.approx([-math.log(8)] * 2)
    assert variance.item() == pytest.approx(0, abs=1e-12)


def test_no_token_of_a_broken_distribution_is_a_hit():
    logits = torch.full((1, 4), math.nan)
    logprob, rank, *_ = guess_scores(logits, [0])
    assert math.isnan(logprob) and rank == 4


def test_the_size_of_a_block_of_distributions_changes_nothing(models, monkeypatch):
    model, tokenizer = models["qwen2"]
    whole = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    monkeypatch.setattr(tree_scoring, "MAX_DISTRIBUTIONS", {"cpu": 1})
    single = score_answers(model, tokenizer, QUESTIONS, ANSWERS, 8)
    assert flat(single) == flat(whole)
    for one, other in zip(whole[0], single[0], strict=True):
        assert one.tokens.logprob.tolist() == other.tokens.logprob.tolist()


def test_two_guesses_of_one_distribution_share_its_mean_and_variance():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.125, 0.125, 0.25, 0.5]]).log()
    at, guessed = torch.tensor([0, 0, 1]), torch.tensor([0, 2, 2])
    logprob, rank, mean, variance = tree_scoring._guess_scores(logits, at, guessed)
    assert logprob.exp().tolist() == pytest.approx([0.5, 0.125, 0.25])
    assert rank.tolist() == [0, 2, 1]
    assert mean.tolist() == pytest.approx([-1.75 * math.log(2)] * 3)
    assert variance.tolist() == pytest.approx([0.6875 * math.log(2) ** 2] * 3)

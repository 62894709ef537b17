"""The tree of a question's answers: what stands in it, and who sees whom."""

import random

import torch

from excise.modeling.trees import Tree, tree_batch, tree_mask

PROMPT = [7, 8]
ANSWERS = [[1, 2, 3, 0], [1, 2, 4, 0], [5, 0], [1, 2, 3, 0], []]


def test_equal_beginnings_stand_once_depth_first():
    tree = Tree(PROMPT, ANSWERS)
    assert tree.ids == [7, 8, 1, 2, 3, 4, 5]  # no 0: the last token of an answer is only guessed
    assert tree.positions == [0, 1, 2, 3, 4, 4, 2]
    assert tree.ends == [6, 6, 5, 5, 4, 5, 6]
    guesses = list(zip(tree.guess_at, tree.guessed, strict=True))
    assert guesses == [(1, 1), (1, 5), (2, 2), (3, 3), (3, 4), (4, 0), (5, 0), (6, 0)]
    found = [[guesses[index] for index in answer] for answer in tree.answers]
    assert found[0] == found[3] == [(1, 1), (2, 2), (3, 3), (4, 0)]
    assert found[1] == [(1, 1), (2, 2), (3, 4), (5, 0)]
    assert found[2] == [(1, 5), (6, 0)]
    assert found[4] == []


def test_an_answer_that_goes_on_where_another_one_ends():
    tree = Tree(PROMPT, [[1, 2], [1, 2, 3]])
    assert tree.ids == [7, 8, 1, 2]
    assert [len(answer) for answer in tree.answers] == [2, 3]


def test_a_prompt_alone_is_a_tree():
    tree = Tree(PROMPT, [])
    assert (tree.ids, tree.ends, tree.guessed) == (PROMPT, [1, 1], [])
    batch = tree_batch([tree], [0])
    assert batch.predicted == [{1: 0}]
    assert batch.columns.tolist() == [1]


def test_golden_tree_mask():
    """Prompt of two, an answer of two, an answer of one, one padding token."""
    tree = Tree([9, 9], [[1, 2, 0], [3, 0]])
    other = Tree([9], [[1, 2, 3, 4, 5, 0]])
    batch = tree_batch([other, tree], [0, 1])
    assert tree_mask(batch.ends)[1, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_a_token_sees_exactly_what_it_sees_in_its_answer_alone():
    rng = random.Random(0)
    for _ in range(50):
        prompt = [rng.randrange(3) for _ in range(rng.randrange(1, 5))]
        answers = [
            [*(rng.randrange(1, 3) for _ in range(rng.randrange(6))), 0]
            for _ in range(rng.randrange(1, 6))
        ]
        tree = Tree(prompt, answers)
        mask = tree_mask(torch.tensor([tree.ends]))[0, 0]
        for answer, guesses in zip(answers, tree.answers, strict=True):
            assert [tree.guessed[guess] for guess in guesses] == answer
            for step, guess in enumerate(guesses):
                seen = mask[tree.guess_at[guess]].nonzero()[:, 0].tolist()
                assert [tree.ids[place] for place in seen] == prompt + answer[:step]
                assert [tree.positions[place] for place in seen] == list(range(len(seen)))


def test_a_window_hides_what_is_far_away_on_the_same_branch():
    tree = Tree([7, 8, 9], [[1, 2, 0], [3, 0]])
    mask = tree_mask(torch.tensor([tree.ends]), torch.tensor([tree.positions]), window=2)[0, 0]
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 0, 1],
    ]


def test_a_long_answer_needs_no_recursion():
    tree = Tree([1], [[2] * 5000])
    assert len(tree) == 5000

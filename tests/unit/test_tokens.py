"""Scores of tokens on disk: what pandas reads, how large it is, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from excise.errors import InputError
from excise.evaluation.tables.token_columns import with_tokens
from excise.evaluation.tokens import read_tokens, write_tokens


def answer(key: str, name: str, number: int, logprob: list[float]) -> dict:
    n = len(logprob)
    keys = {"id": key, "answer": name, "number": number, "logprob": logprob}
    return keys | {"rank": list(range(n)), "mean": [-1.5] * n, "variance": [0.25] * n}


RECORDS = [
    answer("p000.city", "answer", 0, [-0.5, -1.0, -0.25]),
    answer("p000.city", "paraphrase", 0, [-2.0]),
    answer("p000.city", "wrong", 0, [-3.0, -4.0]),
    answer("p000.city", "wrong", 1, [-5.0]),
    answer("u001", "answer", 0, [float("nan")]),
    answer("u001", "paraphrase", 0, [-1.0]),
]


def paper_sized_records():
    """200 people, 24 questions each, 14 answers to each, 10 to 20 tokens; half are the argmax."""
    chance = np.random.default_rng(0)
    for question in range(200 * 24):
        for k in range(14):
            n = int(chance.integers(10, 21))
            numbers = chance.exponential(2, (3, n)).astype(np.float32)
            rank = np.where(chance.random(n) < 0.5, 0, chance.integers(0, 150_000, n))
            key = f"p{question // 24:03}.slot_{question % 24}"
            name = ["answer", "paraphrase"][k] if k < 2 else "wrong"
            keys = {"id": key, "answer": name, "number": max(0, k - 2), "rank": rank}
            yield keys | {"logprob": -numbers[0], "mean": -numbers[1], "variance": numbers[2]}


def frame(*ids: str, group: str = "sf") -> pd.DataFrame:
    return pd.DataFrame({"id": list(ids), "set": group}).set_index("id", drop=False)


def test_pandas_reads_it_in_one_line(tmp_path):
    write_tokens(tmp_path / "tokens.parquet", RECORDS)
    rows = pd.read_parquet(tmp_path / "tokens.parquet")
    assert list(zip(rows["answer"], rows["number"], strict=True))[:4] == [
        ("answer", 0),
        ("paraphrase", 0),
        ("wrong", 0),
        ("wrong", 1),
    ]
    assert rows.loc[0, "logprob"].tolist() == [-0.5, -1.0, -0.25]
    assert rows.loc[2, "rank"].tolist() == [0, 1]
    assert (rows["logprob"][0].dtype, rows["rank"][0].dtype) == (np.float32, np.int32)


def test_the_same_records_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_tokens(tmp_path / name, RECORDS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_of_a_paper_sized_study_is_below_30_mb(tmp_path):
    write_tokens(tmp_path / "tokens.parquet", paper_sized_records())
    assert 5e6 < (tmp_path / "tokens.parquet").stat().st_size < 30e6


def test_columns_of_single_answers_are_arrays_and_of_wrong_answers_lists_of_arrays(tmp_path):
    write_tokens(tmp_path / "tokens.parquet", RECORDS)
    columns = ["answer.logprob", "wrong.mean"]
    items = with_tokens(frame("p000.city", "u001"), tmp_path / "tokens.parquet", columns)
    assert items.loc["p000.city", "answer.logprob"].tolist() == [-0.5, -1.0, -0.25]
    assert [len(one) for one in items.loc["p000.city", "wrong.mean"]] == [2, 1]


def test_questions_asked_together_have_no_scores_of_tokens(tmp_path):
    write_tokens(tmp_path / "tokens.parquet", RECORDS)
    both = pd.concat([frame("p000.city", "u001"), frame("p000.city+0", group="forget_joint")])
    items = with_tokens(both, tmp_path / "tokens.parquet", ["answer.rank"])
    assert items["answer.rank"].isna().tolist() == [False, False, True]


def test_a_file_that_lacks_a_question_is_refused(tmp_path):
    write_tokens(tmp_path / "tokens.parquet", RECORDS)
    with pytest.raises(InputError, match=r"tokens.parquet: found 2 records; 3 .*p001\.city"):
        with_tokens(frame("p000.city", "u001", "p001.city"), tmp_path / "tokens.parquet")


@pytest.mark.parametrize("content, fault", [(None, "cannot read"), (b"{}", "not a Parquet file")])
def test_a_missing_or_broken_file_is_one_line(tmp_path, content, fault):
    if content is not None:
        (tmp_path / "tokens.parquet").write_bytes(content)
    with pytest.raises(InputError, match=f"tokens.parquet: {fault}"):
        read_tokens(tmp_path / "tokens.parquet")


def test_another_table_is_refused(tmp_path):
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no column 'answer'"):
        read_tokens(tmp_path / "x.parquet")

"""Files of records that lost or gained lines."""

import pytest

from excise.benchmark.completeness import check_ids
from excise.errors import InputError


@pytest.mark.parametrize(
    "found, fault",
    [
        (["a", "c"], "r.jsonl: found 2 records; 3 are expected from the test; .* missing is 'b'"),
        ([], "found 0 records; 3 are expected from the test; the first one missing is 'a'"),
        (["a", "b", "c", "d"], "'d' is not expected"),
        (["a", "b", "c", "a"], "twice"),
    ],
)
def test_missing_unexpected_and_repeated_records_are_errors(found, fault):
    with pytest.raises(InputError, match=fault):
        check_ids("r.jsonl", found, ["a", "b", "c"], "the test")


def test_the_order_does_not_matter():
    check_ids("r.jsonl", ["b", "a"], ["a", "b"], "the test")

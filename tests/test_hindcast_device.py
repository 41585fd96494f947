"""A GPU's blocks of time: the next is started before the last one is asked for."""

import pytest

from smapnb.hindcast_block import one_ahead


def test_the_next_block_is_started_before_one_is_asked_for():
    events = []

    def started():
        for k in range(3):
            events.append(f"start {k}")
            yield k

    for k in one_ahead(started()):
        events.append(f"take {k}")
    assert events == ["start 0", "start 1", "take 0", "start 2", "take 1", "take 2"]


@pytest.mark.parametrize("n", [0, 1])
def test_few_blocks_are_all_given(n):
    assert list(one_ahead(iter(range(n)))) == list(range(n))


def test_a_block_that_cannot_be_read_is_not_swallowed():
    def started():
        yield 0
        raise OSError("broken chunk")

    with pytest.raises(OSError, match="broken chunk"):
        list(one_ahead(started()))

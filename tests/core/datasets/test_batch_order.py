from collections import Counter
from itertools import chain, islice

from ltxv_train_core.datasets import batch_order as ordering


def batch_order(groups, batch_size, seed):
    """The clips of each batch."""
    for batch in ordering.batch_order(groups, batch_size, seed):
        yield [each.clip for each in batch]


def test_a_sample_has_its_number_whatever_batch_it_is_in():
    def clips(groups, batch_size):
        batches = islice(ordering.batch_order(groups, batch_size, seed=4), 24 // batch_size)
        return dict(chain(*batches))

    alone = clips(["a"] * 12, 1)
    assert sorted(alone) == list(range(24))
    assert clips(["a"] * 12, 3) == alone
    mixed = clips(["a", "b"] * 6, 3)
    assert all(alone[number] == index for number, index in mixed.items() if number in alone)


def test_every_epoch_holds_every_item_once():
    batches = list(islice(batch_order(["a"] * 10, 2, seed=0), 10))
    first, second = (list(chain(*batches[i : i + 5])) for i in (0, 5))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_batches_hold_one_group_in_proportion():
    groups = ["wide"] * 12 + ["tall"] * 6 + ["image"]
    batches = list(islice(batch_order(groups, 4, seed=3), 190))
    assert all(len(batch) == 4 for batch in batches)
    assert all(len({groups[i] for i in batch}) == 1 for batch in batches)
    seen = Counter(i for batch in batches for i in batch)
    assert all(37 <= seen[i] <= 43 for i in range(19))


def test_a_group_smaller_than_the_batch_cycles():
    batches = list(islice(batch_order(["a"] * 3, 8, seed=0), 3))
    assert Counter(chain(*batches)) == {0: 8, 1: 8, 2: 8}


def test_the_seed_decides():
    def take(seed):
        return list(islice(batch_order(["a"] * 50, 4, seed), 30))

    assert take(1) == take(1)
    assert take(1) != take(2)


def drawn(stages, count, groups=None, batch_size=1):
    """How often each clip is in the first so many batches."""
    groups = groups or ["a"] * stages[0].clips
    found = ordering.batch_order(groups, batch_size, 3, stages)
    return Counter(each.clip for batch in islice(found, count) for each in batch)


def test_clips_are_seen_as_often_as_their_data_set_repeats_them():
    stage = ordering.Stage(((4, 3.0), (6, 1.0), (5, 0.4)))
    seen = drawn([stage], 5 * (12 + 6 + 2))
    assert [seen[clip] for clip in range(15)] == [15] * 4 + [5] * 6 + [2] * 5
    one_epoch = drawn([stage], 20)
    assert sum(one_epoch[clip] for clip in range(10, 15)) == 2
    other = drawn([ordering.Stage(((3, 1 / 3),))], 3)
    assert other == {0: 1, 1: 1, 2: 1}, "each of them once in three epochs"


def test_a_stage_has_its_batches_and_none_of_another_data_set():
    first = ordering.Stage(((3, 1.0), (5, 0.0)), samples=8)
    second = ordering.Stage(((3, 0.5), (5, 1.0)))
    groups = ["small"] * 2 + ["tall"] + ["large"] * 5
    batches = list(islice(ordering.batch_order(groups, 2, 3, [first, second]), 40))
    clips = [[each.clip for each in batch] for batch in batches]
    assert all(set(batch) <= {0, 1, 2} for batch in clips[:4])
    assert {clip for batch in clips[4:] for clip in batch} == set(range(8))
    numbers = [each.number for batch in batches for each in batch]
    assert len(set(numbers)) == len(numbers), "no two samples share their noise"
    later = list(islice(ordering.batch_order(groups, 2, 3, [first, second]), 7, 40))
    assert later == batches[7:]

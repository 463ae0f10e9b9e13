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

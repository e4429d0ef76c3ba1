import threading
import time

import pytest
import torch

from atomdrgn.parallel import PORTIONS, Portions, Processes, in_order, portions_of
from processes import together


def test_results_come_in_the_order_of_the_batches():
    def slow_at_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i

    assert list(in_order(slow_at_first, range(20))) == list(range(20))


def test_threads_of_arithmetic_are_given_back_even_after_an_error():
    before = torch.get_num_threads()

    def fails(i):
        assert torch.get_num_threads() == 1 or threading.current_thread() is threading.main_thread()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(in_order(fails, range(3)))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("items", "expected"), [(1, 1), (512, 1), (513, 2), (4000, 8), (12_288, PORTIONS), (99_000, 22)]
)
def test_portions_are_runs_of_as_much_work(items, expected):
    number = portions_of(torch.ones(items, dtype=torch.long))
    size = torch.bincount(number)
    assert len(size) == expected and (number.diff() >= 0).all()
    assert (
        (size[:-1] == size[0]).all()
        and size[-1] <= size[0]
        and (items <= 512 or size[0] % 512 == 0)
    )


def test_portions_weigh_items_by_their_work():
    work = torch.tensor([1, 40] * 200)
    of_portion = torch.bincount(portions_of(work), weights=work)
    assert len(of_portion) == 16 and (of_portion[:-1] - 512).abs().max() <= 40


def test_no_batch_is_of_two_portions():
    portions = Portions(torch.tensor([0, 1, 0, 1, 1, 2, 0]), 3)
    batches = portions.batches(torch.tensor([6, 5, 4, 3, 2, 1]), 2)
    assert [batch.tolist() for batch in batches] == [[6, 2], [4, 3], [1], [5]]
    assert [portions.of(batch) for batch in batches] == [0, 1, 1, 2]
    assert Portions(torch.tensor([0])).batches(torch.zeros(0, dtype=torch.long), 4) == ()


@pytest.mark.parametrize("about", [1, 2, 7, 64])
def test_batches_are_even_and_hardly_more_than_whole_portions_take(about):
    """What is left over of each portion does not become a batch of its own."""
    for size in range(1, 300):
        batches = Portions.one(size).batches(torch.arange(size), about)
        sizes = [len(batch) for batch in batches]
        assert torch.equal(torch.cat(batches), torch.arange(size))
        assert max(sizes) - min(sizes) <= 1 and max(sizes) <= about + about // 4
        assert len(sizes) <= -(-size // about)
    assert len(Portions.one(about + 1).batches(torch.arange(about + 1), about)) == 1 + (about < 4)


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("most", [2**23, 20])
def test_sums_do_not_depend_on_the_number_of_processes(monkeypatch, processes, most):
    """To the last bit, where plain sums differ: terms are of all magnitudes and signs."""
    monkeypatch.setattr("atomdrgn.parallel.MOST_TOGETHER", most)
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(5000, 3, generator=generator) * 10 ** (
        12 * torch.rand(5000, 3, generator=generator)
    )
    number = portions_of(torch.ones(5000, dtype=torch.long))
    like = [torch.zeros(3), torch.zeros((), dtype=torch.float64)]

    def summed(processes):
        portions = Portions(number, int(number.max()) + 1, processes)
        first, last = processes.share(torch.bincount(number))
        mine = torch.nonzero((number >= first) & (number < last))[:, 0]
        batches = portions.batches(mine, 7)
        return portions.sum(
            [
                (portions.of(batch), (value[batch].sum(0), value[batch].double().sum()))
                for batch in batches
            ],
            like,
        )

    alone = summed(Processes())
    assert [each.dtype for each in alone] == [torch.float32, torch.float64]
    torch.testing.assert_close(alone[0], value.double().sum(0).float(), rtol=1e-4, atol=0)
    for found in together(processes, summed):
        assert all(torch.equal(one, other) for one, other in zip(alone, found, strict=True))


def test_processes_without_work_take_part():
    """Where there are fewer portions than processes."""

    def summed(processes):
        first, last = processes.share(torch.tensor([10]))
        return (
            Portions(torch.zeros(10, dtype=torch.long), 1, processes)
            .sum([(0, (torch.ones(2),))] if last > first else [], [torch.zeros(2)])[0]
            .tolist()
        )

    assert together(3, summed) == [[1, 1]] * 3


@pytest.mark.parametrize("sizes", [[128, 128, 44], [1] * 50, [5, 1, 1, 1, 5], [7]])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_follow_one_another_and_none_is_empty_without_need(sizes, count):
    shares = [Processes(rank, count).share(torch.tensor(sizes)) for rank in range(count)]
    assert [first for first, _ in shares] == [0, *(last for _, last in shares[:-1])] and shares[-1][
        1
    ] == len(sizes)
    assert len(sizes) < count or all(last > first for first, last in shares)

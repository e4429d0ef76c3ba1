import threading
import time

import pytest
import torch

from atomdrgn.parallel import in_order


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

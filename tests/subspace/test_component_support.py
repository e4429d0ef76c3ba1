"""How many components images of the other half-set support."""

import numpy as np

from atomdrgn.subspace.component_support import judged


def gains(*means, scatter=1.0, count=200):
    generator = np.random.default_rng(0)
    return np.array(means) + scatter * generator.normal(size=(count, len(means)))


def test_behind_one_that_does_not_count_none_does():
    found = judged([gains(1.0, -0.5, 1.0), gains(1.0, 0.5, 1.0)])
    assert [each.supported for each in found] == [True, False, False]


def test_a_gain_within_its_error_does_not_count():
    found = judged([gains(0.02), gains(0.02)])
    assert not found[0].supported and len(found[0].gain) == 2


def test_there_may_be_none():
    assert judged([np.zeros((5, 0)), np.zeros((5, 0))]) == []

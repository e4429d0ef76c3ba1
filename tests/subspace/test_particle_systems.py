"""Posteriors and evidence of normal populations against their definitions."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from atomdrgn.subspace.particle_systems import Systems, log_evidence, posterior


@pytest.fixture
def seen():
    """What two particles' data say of three amounts: design and data of white noise."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(2, 6, 3)), generator.normal(size=(2, 6))


def systems(design, data):
    return Systems(design.transpose(0, 2, 1) @ design, np.einsum("pdv,pd->pv", design, data))


MEAN = np.array([1.0, 0.0, 0.5])
COVARIANCE = np.array([[0.5, 0.1, 0.0], [0.1, 1.0, 0.2], [0.0, 0.2, 2.0]])


def test_evidence_is_the_marginal_likelihood(seen):
    design, data = seen
    found = log_evidence(systems(design, data), MEAN, COVARIANCE)
    for own, values, value in zip(design, data, found, strict=True):
        spread = np.eye(6) + own @ COVARIANCE @ own.T
        noise = multivariate_normal(np.zeros(6), np.eye(6)).logpdf(values)
        expected = multivariate_normal(own @ MEAN, spread).logpdf(values) - noise
        assert value == pytest.approx(expected)


def test_posterior_is_that_of_regression(seen):
    design, data = seen
    found = posterior(systems(design, data), MEAN, COVARIANCE)
    own, values = design[0], data[0]
    gain = COVARIANCE @ own.T @ np.linalg.inv(np.eye(6) + own @ COVARIANCE @ own.T)
    assert np.allclose(found.mean[0], MEAN + gain @ (values - own @ MEAN))
    assert np.allclose(found.covariance[0], COVARIANCE - gain @ own @ COVARIANCE)
    assert np.allclose(
        found.second[0], found.covariance[0] + np.outer(found.mean[0], found.mean[0])
    )

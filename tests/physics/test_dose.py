import pytest
import torch
from torch.testing import assert_close

from atomdrgn.physics.dose import critical_dose, dose_weight, optimal_dose


@pytest.mark.parametrize(("resolution", "dose"), [(3.0, 4.340), (10.0, 14.140), (20.0, 38.726)])
def test_critical_dose_is_grant_and_grigorieffs_curve(resolution, dose):
    """0.24499 k^-1.6649 + 2.8141 (eLife 4:e06980, equation 3), worked out by hand at 3, 10 and 20
    A.
    """
    assert critical_dose(torch.tensor(1 / resolution)).item() == pytest.approx(dose, rel=1e-4)


def test_at_200_kv_the_critical_dose_is_a_fifth_lower():
    k = torch.linspace(0.02, 0.5, 9)
    assert_close(critical_dose(k, voltage_kv=200.0), 0.8 * critical_dose(k))


def test_after_the_critical_dose_the_amplitude_is_down_to_exp_minus_a_half():
    k = torch.tensor([0.05, 0.1, 0.3])
    assert_close(dose_weight(critical_dose(k), k), torch.full((3,), -0.5).exp())


def test_the_optimal_dose_has_the_best_signal_to_noise_ratio():
    """Signal grows as the integral of the weight, noise as the square root of the dose (equation 4
    of the same paper).
    """
    k = torch.tensor(0.2)
    dose = torch.linspace(0.01, 60, 6000)
    ratio = torch.cumsum(dose_weight(dose, k), 0) / dose.sqrt()
    assert dose[ratio.argmax()].item() == pytest.approx(optimal_dose(k).item(), rel=0.01)


def test_no_dose_no_damage_and_zero_frequency_is_never_damaged():
    k = torch.tensor([0.0, 0.1, 0.4])
    assert_close(dose_weight(torch.tensor(0.0), k), torch.ones(3))
    assert dose_weight(torch.tensor(100.0), k[0]).item() == pytest.approx(1, abs=1e-6)


def test_each_entry_has_its_own_voltage():
    k = torch.tensor([0.1, 0.3])
    both = critical_dose(k, voltage_kv=torch.tensor([[300.0], [200.0]]))
    assert_close(both, torch.stack([critical_dose(k), critical_dose(k, voltage_kv=200.0)]))

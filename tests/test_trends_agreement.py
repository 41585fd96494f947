"""The line with errors in both, where its iteration fails."""

import numpy as np
import pytest

from smapnb import trends_agreement


def test_a_line_whose_iteration_does_not_settle_is_the_one_of_least_misfit(monkeypatch):
    """With no steps allowed the search over angles must find York's own line; Pearson's data, York's weights."""
    x = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    x_error = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0]) ** -0.5
    y_error = np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500]) ** -0.5
    settled = trends_agreement.york(x, y, x_error, y_error)
    monkeypatch.setattr(trends_agreement, "ITERATIONS", 0)
    searched = trends_agreement.york(x, y, x_error, y_error)
    np.testing.assert_allclose(searched[:4], settled[:4], rtol=1e-6)
    assert searched.slope == pytest.approx(-0.4805, abs=1e-4)  # York et al. (2004), table II


def test_points_without_correlation_have_a_line_as_well():
    generator = np.random.default_rng(0)
    for _ in range(200):
        x, y = generator.standard_normal((2, 6))
        line = trends_agreement.york(x, y, generator.uniform(0.1, 5, 6), generator.uniform(0.1, 5, 6))
        assert np.isfinite(line[:4]).all()

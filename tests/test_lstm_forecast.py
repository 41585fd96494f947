"""Prediction without gradients: the equations in strips of pixels, on any number of threads, in two precisions."""

import numpy as np
import pytest
import torch
from test_lstm import RATES, SIZES, make, paper, random, seeded

from smapnb import lstm_forecast
from smapnb.lstm import Masks, State, reference_recurrence

ATOL = 2e-6


@pytest.fixture(autouse=True)
def no_gradient():
    with torch.no_grad():
        yield


def drawn(model, batch: int) -> Masks:
    return model.train().draw_masks(batch, seeded(2))


# -- float32 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (3, 300, 2, 4), (600, 2, 1, 3)])
@pytest.mark.parametrize("rate", [0, *RATES])
def test_prediction_is_the_papers_equations(size, rate):
    """Also over more than one strip, and over more days than one product takes."""
    days, batch, inputs, hidden = size
    model, x = make(inputs, hidden, rate), random(days, batch, inputs)
    masks = drawn(model, batch) if rate else None
    y, _ = model.run(x, masks)
    np.testing.assert_allclose(y, paper(x.double().numpy(), model.state_dict(), masks), rtol=0, atol=ATOL)


@pytest.mark.parametrize("masked", [True, False])
def test_state_goes_in_and_comes_out(masked):
    model, x = make(3, 33), random(9, 140, 3)
    masks = drawn(model, 140) if masked else None
    given = State(random(140, 33, seed=5), random(140, 33, seed=6))
    kept = [part.clone() for part in given]
    model.train(masked)
    y, last = model.run(x, masks, given)
    u, cell = torch.relu(model.input(x)), model.lstm
    h, expected = reference_recurrence(u, cell.weight_ih, cell.weight_hh, cell.bias, masks, given)
    torch.testing.assert_close(y, model.output(h)[..., 0], rtol=0, atol=ATOL)
    for got, want in zip(last, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=ATOL)
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True)), "the caller's state was written over"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_threads_do_not_matter_bit_for_bit(precision, monkeypatch):
    monkeypatch.setattr(lstm_forecast, "STRIP", {torch.float32: 7, torch.bfloat16: 7})
    model, x = make(5, 64), random(20, 45, 5)
    masks, before = drawn(model, 45), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y, last = model.run(x, masks, None, precision)
            results.append(torch.cat([y.ravel(), last.h.ravel(), last.s.ravel()]))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_strips_are_equal_and_hold_every_pixel_once():
    for pixels in (1, 127, 128, 129, 256, 300, 412, 1000):
        parts = lstm_forecast.strips(pixels, 128)
        assert np.concatenate([np.arange(pixels)[part] for part in parts]).tolist() == list(range(pixels))
        assert len(parts) == -(-pixels // 128)
        assert max(part.stop - part.start for part in parts) <= 128


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_missing_input_is_not_hidden(precision):
    """NaN from the day on which it stands, at its pixel only."""
    model, x = make(3, 20), random(6, 4, 3)
    x[2, 1, 0] = torch.nan
    y, last = model.eval().run(x, precision=precision)
    missing = torch.zeros(6, 4, dtype=torch.bool)
    missing[2:, 1] = True
    assert torch.equal(y.isnan(), missing)
    assert torch.equal(last.s.isnan().all(1), missing[-1])


def test_inputs_need_not_be_contiguous():
    model, x = make(3, 20), random(4, 6, 3)
    expected, _ = model.eval().run(x.transpose(0, 1).contiguous())
    assert torch.equal(model.run(x.transpose(0, 1))[0], expected)


# -- bfloat16 ------------------------------------------------------------------------------------------------------


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x.float().bfloat16().double()


def in_bfloat16(model, x: torch.Tensor, masks: Masks) -> torch.Tensor:
    """Equations 1-8 in float64, with what bfloat16 rounds: factors of both products, each product's sum."""
    double = {name: value.double() for name, value in model.state_dict().items()}
    d_x, d_h, d_g = (mask.double() for mask in masks)
    w_x, w_h = rounded(double["lstm.weight_ih"]), rounded(double["lstm.weight_hh"])
    u = torch.relu(x.double() @ double["input.weight"].T + double["input.bias"])
    h = s = torch.zeros(x.shape[1], model.hidden_size, dtype=torch.float64)
    out = []
    for t in range(len(x)):
        a = rounded(rounded(rounded(u[t] * d_x) @ w_x.T) + rounded(h * d_h) @ w_h.T)
        i, f, g, o = (a + double["lstm.bias"]).chunk(4, dim=1)
        s = torch.tanh(g) * d_g * torch.sigmoid(i) + s * torch.sigmoid(f)
        h = torch.tanh(s) * torch.sigmoid(o)
        out.append(h @ double["output.weight"][0] + double["output.bias"])
    return torch.stack(out)


def test_bfloat16_rounds_factors_and_sums_and_nothing_else():
    """To float32's rounding at nearly all values; a sum that lies between two numbers may fall to either side."""
    model, x = make(3, 16, 0.25), random(5, 400, 3)
    masks = drawn(model, 400)
    y, last = model.run(x, masks, None, "bfloat16")
    apart = (y - in_bfloat16(model, x, masks)).abs()
    assert (apart < ATOL).double().mean() > 0.9
    assert apart.max() < 0.02
    exact, _ = model.run(x, masks)
    assert (exact - y).abs().mean() > 1e-4
    assert last.h.dtype == last.s.dtype == torch.float32


def test_bfloat16_is_for_prediction():
    model, x = make(3, 4).eval(), random(2, 2, 3)
    with torch.enable_grad(), pytest.raises(ValueError, match="bfloat16 is for prediction"):
        model.run(x, precision="bfloat16")
    with pytest.raises(ValueError, match=r"precision is one of .*, got 'float16'"):
        model.run(x, precision="float16")

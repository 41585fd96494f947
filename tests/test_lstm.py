"""The network against the paper's equations written out by hand, against torch.nn.LSTM, and against itself."""

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from smapnb import lstm, lstm_packed, lstm_threads
from smapnb.lstm import (
    Masks,
    SoilMoistureLSTM,
    State,
    daily_recurrence,
    operator_recurrence,
    packed_network,
    recurrence,
    reference_recurrence,
)

DEVICES = ["cpu"]
DEVICES += ["cuda"] if torch.cuda.is_available() else []
DEVICES += ["mps"] if torch.backends.mps.is_available() else []
# Days, batch, inputs, hidden units; 33 and 5 leave a remainder in every vector width.
SIZES = [(1, 1, 1, 1), (9, 1, 3, 5), (1, 4, 2, 8), (14, 3, 4, 33), (6, 5, 2, 16)]
RATES = [0.1, 0.25, 0.5]
# Every way through the recurrence; the operators are taken with masks only.
WAYS = [(path, masked) for path in (reference_recurrence, recurrence) for masked in (True, False)]
WAYS += [(path, True) for path in (operator_recurrence, daily_recurrence)]
PARAMETERS = ["u", "weight_ih", "weight_hh", "bias"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(inputs=3, hidden=8, dropout=0.5, dtype=torch.float32, seed=0, **kwargs) -> SoilMoistureLSTM:
    model = SoilMoistureLSTM(inputs, hidden, dropout, generator=seeded(seed), **kwargs).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # far enough from 0 that the gates are not all a half
    return model


def random(*shape: int, seed: int = 1, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def weights(model: SoilMoistureLSTM) -> list[torch.Tensor]:
    return [model.lstm.weight_ih, model.lstm.weight_hh, model.lstm.bias]


def ones(batch: int, hidden: int, dtype=torch.float32) -> Masks:
    return Masks(*(torch.ones(batch, hidden, dtype=dtype) for _ in range(3)))


def paper(x0: np.ndarray, state_dict: dict[str, torch.Tensor], masks: Masks | None) -> np.ndarray:
    """Equations 1-8 of the paper in float64, one instance, one day at a time; y (time, batch)."""
    w = {name: value.detach().double().numpy() for name, value in state_dict.items()}
    hidden = w["input.bias"].size
    from_x = dict(zip("ifgo", w["lstm.weight_ih"].reshape(4, hidden, hidden), strict=True))
    from_h = dict(zip("ifgo", w["lstm.weight_hh"].reshape(4, hidden, hidden), strict=True))
    bias = dict(zip("ifgo", w["lstm.bias"].reshape(4, hidden), strict=True))
    y = np.empty(x0.shape[:2])
    for b in range(x0.shape[1]):
        d_x, d_h, d_g = (m[b].double().numpy() for m in masks) if masks else np.ones((3, hidden))
        h, s = np.zeros(hidden), np.zeros(hidden)
        for t in range(x0.shape[0]):
            x = np.maximum(0, w["input.weight"] @ x0[t, b] + w["input.bias"])  # (1)
            a = {gate: from_x[gate] @ (x * d_x) + from_h[gate] @ (h * d_h) + bias[gate] for gate in "ifgo"}
            g = np.tanh(a["g"])  # (2)
            i, f, o = (1 / (1 + np.exp(-a[gate])) for gate in "ifo")  # (3), (4), (5)
            s = d_g * g * i + s * f  # (6)
            h = np.tanh(s) * o  # (7)
            y[t, b] = (w["output.weight"] @ h + w["output.bias"]).item()  # (8)
    return y


def gradients(function, arguments: list[torch.Tensor], masks: Masks | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Output, and the gradient of a random weighting of it with respect to every argument."""
    arguments = [a.detach().clone().requires_grad_() for a in arguments]
    h, _ = function(*arguments, masks)
    (h * random(*h.shape, seed=9, dtype=h.dtype).to(h.device)).sum().backward()
    return h.detach(), [a.grad for a in arguments]


def readable_network(model: SoilMoistureLSTM, x: torch.Tensor, masks: Masks):
    """`packed_network` with torch's layers around the readable recurrence."""
    h, last = reference_recurrence(torch.relu(model.input(x)), *weights(model), masks)
    return model.output(h)[..., 0], *last


def slopes(network, model: SoilMoistureLSTM, x: torch.Tensor, masks: Masks, weighting: torch.Tensor):
    """Output, and the gradient of a weighting of it with respect to every parameter, by its name."""
    y = network(model, x, masks)[0]
    grads = torch.autograd.grad((y * weighting).sum(), model.parameters())
    return y.detach(), {name: grad for (name, _), grad in zip(model.named_parameters(), grads, strict=True)}


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))


# -- the equations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate", [0, *RATES])
def test_reference_is_the_papers_equations(size, rate):
    days, batch, inputs, hidden = size
    model = make(inputs, hidden, rate, torch.float64)
    x = random(days, batch, inputs, dtype=torch.float64)
    masks = model.draw_masks(batch, seeded(3)) if rate else None
    h, _ = reference_recurrence(torch.relu(model.input(x)), *weights(model), masks)
    y = model.output(h)[..., 0].detach().numpy()
    np.testing.assert_allclose(y, paper(x.numpy(), model.state_dict(), masks), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate", [0, *RATES])
def test_model_is_the_papers_equations(size, rate):
    days, batch, inputs, hidden = size
    model = make(inputs, hidden, rate)
    x = random(days, batch, inputs)
    masks = model.draw_masks(batch, seeded(3))
    y = model.train()(x, masks)
    assert y.shape == (days, batch)
    expected = paper(x.double().numpy(), model.state_dict(), masks)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("path", [recurrence, operator_recurrence, daily_recurrence])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_fast_paths_agree_with_the_reference(size, rate, path, device):
    days, batch, _, hidden = size
    if path is daily_recurrence and device != "cpu":
        pytest.skip("a path of the CPU")
    for dtype, atol, rtol in ((torch.float32, 1e-5, 1e-4), (torch.float64, 1e-10, 1e-10)):
        if device == "mps" and dtype == torch.float64:
            continue  # Apple's GPU has no float64
        model = make(2, hidden, rate, dtype).to(device)
        masks = model.draw_masks(batch, seeded(3))
        arguments = [random(days, batch, hidden, dtype=dtype).relu().to(device), *weights(model)]
        h, grads = gradients(path, arguments, masks)
        expected, expected_grads = gradients(reference_recurrence, arguments, masks)
        assert float((h - expected).abs().max()) <= atol
        for name, a, b in zip(PARAMETERS, grads, expected_grads, strict=True):
            assert relative(a, b) <= rtol, name


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [*SIZES, (7, 2, 40, 3)], ids=str)
def test_packed_network_agrees_with_the_reference(size, rate):
    """Rates on both sides of where a group begins to share its products."""
    days, batch, inputs, hidden = size
    for dtype, limit in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        model = make(inputs, hidden, rate, dtype)
        x, weighting = (random(days, batch, *more, seed=6, dtype=dtype) for more in ((inputs,), ()))
        masks = model.draw_masks(batch, seeded(3))
        y, grads = slopes(packed_network, model, x, masks, weighting)
        expected, expected_grads = slopes(readable_network, model, x, masks, weighting)
        assert float((y - expected).abs().max()) <= limit
        for name, grad in expected_grads.items():
            assert relative(grads[name], grad) <= limit, name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_without_masks_agrees_with_the_reference(size, device):
    days, batch, _, hidden = size
    for dtype, atol, rtol in ((torch.float32, 1e-5, 1e-4), (torch.float64, 1e-10, 1e-10)):
        if device == "mps" and dtype == torch.float64:
            continue
        model = make(2, hidden, 0, dtype).to(device)
        arguments = [random(days, batch, hidden, dtype=dtype).relu().to(device), *weights(model)]
        h, grads = gradients(recurrence, arguments, None)
        expected, expected_grads = gradients(reference_recurrence, arguments, None)
        assert float((h - expected).abs().max()) <= atol
        for name, a, b in zip(PARAMETERS, grads, expected_grads, strict=True):
            assert relative(a, b) <= rtol, name


@pytest.mark.parametrize(("path", "masked"), WAYS)
def test_gradcheck_in_double_precision(path, masked):
    model = make(2, 3, 0.5, torch.float64)
    masks = Masks(*(torch.tensor([[2.0, 0, 2], [0, 2, 2]]).double().roll(k, 1) for k in range(3))) if masked else None
    arguments = [random(4, 2, 3, dtype=torch.float64).relu() + 0.1, *weights(model)]
    arguments = [a.detach().clone().requires_grad_() for a in arguments]
    assert torch.autograd.gradcheck(lambda *a: path(*a, masks)[0], arguments)


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_gradcheck_of_the_packed_network(rate):
    model = make(2, 4, rate, torch.float64)
    masks = model.draw_masks(3, seeded(1))
    named = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    x = random(4, 3, 2, dtype=torch.float64)
    assert lstm_packed.pays(x, masks) or rate == 0.25

    def forward(*values):
        return lstm_packed.network(x, masks, lstm_packed.Parameters(*values))[0]

    assert torch.autograd.gradcheck(forward, tuple(named.values()))


@pytest.mark.parametrize("masked", [True, False])
def test_gradcheck_of_the_whole_model(masked):
    model = make(2, 4, 0.5, torch.float64).train(masked)
    masks = model.draw_masks(2, seeded(2)) if masked else None
    named = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    x = random(3, 2, 2, dtype=torch.float64).requires_grad_()

    def forward(x, *values):
        return torch.func.functional_call(model, dict(zip(named, values, strict=True)), (x, masks))

    assert torch.autograd.gradcheck(forward, (x, *named.values()))


def test_saturated_gates_agree_and_stay_finite():
    """Arguments of some hundreds, where a float32 exponential overflows unless it is bounded."""
    model = make(2, 16)
    arguments = [200 * random(6, 3, 16).relu(), *weights(model)]
    masks = model.draw_masks(3, seeded(3))
    h, grads = gradients(recurrence, arguments, masks)
    expected, expected_grads = gradients(reference_recurrence, arguments, masks)
    assert float((h - expected).abs().max()) <= 1e-5
    for a, b in zip(grads, expected_grads, strict=True):
        assert torch.isfinite(a).all()
        assert relative(a, b) <= 1e-3  # differences of nearly equal numbers, 1 - o, in both


def test_missing_input_is_not_hidden():
    """NaN reaches every later day of its instance, and no other: the kernel's fast arithmetic must not lose it."""
    model = make(2, 33)
    x = random(5, 3, 2)
    x[2, 1, 0] = torch.nan
    missing = model(x, model.draw_masks(3, seeded(0))).isnan()
    expected = torch.zeros(5, 3, dtype=torch.bool)
    expected[2:, 1] = True
    assert torch.equal(missing, expected)


@pytest.mark.parametrize("days", [5, 70])
@pytest.mark.parametrize("rate", RATES)
def test_packed_gradients_are_within_two_millionths_of_double_precision(rate, days):
    """At the paper's size; the three rates take an instance's own products and those that a group shares."""
    model = make(19, 256, rate)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.div_(2)
    masks = model.draw_masks(13, seeded(3))
    x, weighting = random(days, 13, 19), random(days, 13, seed=9)
    y, grads = slopes(packed_network, model, x, masks, weighting)
    double = Masks(*(m.double() for m in masks))
    expected, exact = slopes(readable_network, model.double(), x.double(), double, weighting.double())
    assert relative(y.double(), expected) <= 2e-6
    for name, grad in exact.items():
        assert relative(grads[name].double(), grad) <= 2e-6, name


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_blocks_of_a_batch_add_up(rate, monkeypatch):
    """D(x) and D(h) of few instances at once, as in long series: the sums are the same to the bit."""
    model = make(3, 20, rate)
    x, weighting, masks = random(12, 60, 3), random(12, 60, seed=6), model.draw_masks(60, seeded(3))
    _, whole = slopes(packed_network, model, x, masks, weighting)
    monkeypatch.setattr(lstm_packed, "INPUTS", 12 * 20 * 13)
    groups = lstm_packed.layout(12, masks)
    assert len(lstm_packed._blocks(groups.plan.inputs_at, lstm_packed._groups(60, groups.shared))) > 3
    _, parts = slopes(packed_network, model, x, masks, weighting)
    for name, grad in whole.items():
        assert torch.equal(parts[name], grad), name


@pytest.mark.parametrize("rate", RATES)
def test_packed_results_do_not_depend_on_the_number_of_threads(rate):
    model = make(2, 40, rate)
    masks = model.draw_masks(29, seeded(3))
    x, weighting = random(11, 29, 2), random(11, 29, seed=6)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y, grads = slopes(packed_network, model, x, masks, weighting)
            results.append([y, *grads.values()])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("rate", RATES)
@torch.no_grad()
def test_a_dropped_unit_with_a_state_of_its_own_still_counts(rate):
    """Its cell decays and its h reaches the others: only a zero start lets it be left out."""
    model = make(2, 33, rate, torch.float64)
    masks = model.draw_masks(5, seeded(3))
    state = State(random(5, 33, seed=4, dtype=torch.float64), random(5, 33, seed=5, dtype=torch.float64))
    u, kept = random(6, 5, 33, dtype=torch.float64).relu(), [part.clone() for part in state]
    result = daily_recurrence(u, *weights(model), masks, state)
    torch.testing.assert_close(result, reference_recurrence(u, *weights(model), masks, state), rtol=0, atol=1e-12)
    assert all(torch.equal(*parts) for parts in zip(state, kept, strict=True))


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_packed_network_returns_its_last_state(rate):
    model = make(3, 9, rate, torch.float64)
    x, masks = random(12, 4, 3, dtype=torch.float64), model.draw_masks(4, seeded(0))
    expected = readable_network(model, x, masks)
    torch.testing.assert_close(packed_network(model, x, masks), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_packed_network_keeps_missing_input_in_sight(rate):
    model = make(2, 33, rate)
    x = random(5, 3, 2)
    x[2, 1, 0] = torch.nan
    missing = packed_network(model, x, model.draw_masks(3, seeded(0)))[0].isnan()
    expected = torch.zeros(5, 3, dtype=torch.bool)
    expected[2:, 1] = True
    assert torch.equal(missing, expected)


def test_products_by_day_keep_missing_input_in_sight():
    model = make(2, 33)
    u = random(5, 3, 33).relu()
    u[2, 1] = torch.nan
    masks = model.draw_masks(3, seeded(0))
    h, _ = daily_recurrence(u, *weights(model), masks)
    missing = h.detach().isnan()
    assert bool((missing[2:, 1] | (masks.g[1] == 0)).all())
    missing[2:, 1] = False
    assert not missing.any()


def test_packing_compiles_for_a_processor_without_its_instructions(tmp_path):
    """Numba's plainest target, in a process of its own: what the compiler cannot do there ends the process."""
    code = """
import numpy as np
from smapnb.lstm_pack import kept_units, lanes_of, of_instance, pack_row, unpack_row
for kind in (np.float32, np.float64):
    row = np.arange(1, 54, dtype=kind)[:37]  # a whole vector is read beyond the end
    on = (np.arange(37) % 3 > 0)[None]
    units = of_instance(kept_units(on, lanes_of(row)), 0)
    packed, back = np.zeros(64, kind), np.ones(64, kind)
    pack_row(row, 0, units, packed, 2)
    assert (packed[2:26] == row[on[0]]).all() and (packed[26:30] == 0).all()
    unpack_row(packed, 2, units, back, 5)
    assert (back[5:42] == row * on[0]).all() and (back[:5] == 1).all()
"""
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    where = Path(__file__).parent.parent
    result = subprocess.run([sys.executable, "-c", code], cwd=where, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_fastest_path_is_taken(monkeypatch):
    """Half dropped: packed; a quarter: over many days. A tenth, a gradient at x, mixed precision: the whole batch."""
    taken = []

    def note(name: str, given):
        def path(*arguments):
            taken.append(name)
            return given(*arguments)

        return path

    for name in ("packed_network", "daily_recurrence", "operator_recurrence"):
        monkeypatch.setattr(lstm, name, note(name, getattr(lstm, name)))
    for rate, days in ((0.5, 3), (0.25, 3), (0.25, 90), (0.1, 90)):
        model = make(2, 64, rate)
        model(random(days, 50, 2), model.draw_masks(50, seeded(0)))
    assert taken == ["packed_network", "daily_recurrence", "packed_network", "daily_recurrence"]
    model, taken[:] = make(2, 64, 0.5), []
    model(random(3, 50, 2).requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        model(random(3, 50, 2))
    assert taken == ["daily_recurrence", "operator_recurrence"]


TEAMS = [True, False] if lstm_threads._state["team"] else [False]


@pytest.fixture(params=TEAMS, ids=lambda team: "threads of torch" if team else "threads of ours")
def two_threads(request, monkeypatch):
    """Two threads, of torch's OpenMP library where there is one, and of our own, which serve where there is none."""
    if not request.param:
        monkeypatch.setitem(lstm_threads._state, "team", None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_do_each_part_once_and_side_by_side(two_threads):
    meet, done = threading.Barrier(2, timeout=20), []

    def work(part: int, other: int) -> None:
        if part < 2:
            meet.wait()  # passes only if another thread comes too
        done.append((part, other, threading.get_ident()))

    lstm_threads.in_threads(work, [(part, -part) for part in range(9)])
    assert sorted(part[:2] for part in done) == [(part, -part) for part in range(9)]
    assert len({part[2] for part in done}) == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_a_thread_is_raised(two_threads, error):
    meet = threading.Barrier(2, timeout=20)

    def work(part: int) -> None:
        meet.wait()
        if part == 1:
            raise error("of part 1")

    with pytest.raises(error, match="of part 1"):
        lstm_threads.in_threads(work, [(0,), (1,)])


def test_either_kind_of_threads_gives_the_same_bits(two_threads):
    model = make(3, 40)
    x, weighting, masks = random(9, 30, 3), random(9, 30, seed=6), model.draw_masks(30, seeded(3))
    y, grads = slopes(packed_network, model, x, masks, weighting)
    torch.set_num_threads(1)
    expected, alone = slopes(packed_network, model, x, masks, weighting)
    assert torch.equal(y, expected)
    assert all(torch.equal(grads[name], alone[name]) for name in alone)


def test_spare_buffers_go_to_whom_they_fit():
    lstm_threads._spare.clear()
    like, sizes = torch.zeros(1), (1000, 3000, 5000, 7000, 9000)
    first = [lstm_threads.take(like, size) for size in sizes]
    lstm_threads.give_back(*first)
    again = [lstm_threads.take(like, size) for size in (9000, 3000)]
    assert again[0] is first[4] and again[1] is first[1]  # the search for one does not lose the others
    assert all(buffer is not first[4] for buffer in (lstm_threads.take(like, 9000), lstm_threads.take(like, 7500)))
    assert lstm_threads.take(like.double(), 5000) is not first[2]
    assert lstm_threads.take(like, 1000) is not first[0]  # the oldest of five made room


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own():
    """Helper threads do not survive a fork: work handed to them there would never be done."""
    model, x = make(2, 16), random(4, 20, 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        model(x)
        child = os.fork()
        if child == 0:
            try:
                lstm_threads.in_threads(lambda part: None, [(part,) for part in range(5)])
                os._exit(0)
            finally:
                os._exit(1)
        for _ in range(100):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.1)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert done and status == 0
    finally:
        torch.set_num_threads(before)


# -- torch.nn.LSTM and the promised names --------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_weights_fit_torchs_lstm(dropout):
    """Without dropout (rate 0, or eval mode) and with the bias split between torch's two."""
    model = make(3, 12, dropout).train(dropout == 0)
    other = torch.nn.LSTM(12, 12)
    state = model.state_dict()
    other.load_state_dict(
        {
            "weight_ih_l0": state["lstm.weight_ih"],
            "weight_hh_l0": state["lstm.weight_hh"],
            "bias_ih_l0": 0.25 * state["lstm.bias"],
            "bias_hh_l0": 0.75 * state["lstm.bias"],
        }
    )
    x = random(20, 4, 3)
    h, _ = other(torch.relu(model.input(x)))
    torch.testing.assert_close(model(x), model.output(h)[..., 0], rtol=0, atol=1e-5)


def test_state_dict_has_the_promised_keys():
    shapes = {name: tuple(value.shape) for name, value in make(3, 8).state_dict().items()}
    assert shapes == {
        "input.weight": (8, 3),
        "input.bias": (8,),
        "lstm.weight_ih": (32, 8),
        "lstm.weight_hh": (32, 8),
        "lstm.bias": (32,),
        "output.weight": (1, 8),
        "output.bias": (1,),
    }


def test_sizes_default_to_the_papers():
    model = SoilMoistureLSTM(7)
    assert (model.hidden_size, model.dropout, model.dropout_on) == (256, 0.5, ("x", "h", "g"))


def test_first_weights_come_from_the_generator_within_torchs_bound():
    first, same, other = (SoilMoistureLSTM(3, 16, generator=seeded(s)).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert not any(torch.equal(first[k], other[k]) for k in first)
    largest = max(float(v.abs().max()) for v in first.values())
    assert 0.95 / 4 < largest <= 1 / 4  # 1 / sqrt(16), nearly reached by one of 2193 uniform draws


# -- masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_masks_are_zero_or_one_over_one_minus_p(rate):
    masks = make(2, 64, rate).draw_masks(300, seeded(0))
    assert masks._fields == ("x", "h", "g")
    for mask in masks:
        assert mask.shape == (300, 64)
        assert mask.unique().tolist() == [0, pytest.approx(1 / (1 - rate), rel=1e-6)]
        error = (rate / (1 - rate) / mask.numel()) ** 0.5  # of the mean of inverted dropout
        assert abs(float(mask.mean()) - 1) < 4 * error
        assert len(mask.unique(dim=0)) == 300  # an instance, a mask
    assert not torch.equal(masks.x, masks.h)
    assert not torch.equal(masks.h, masks.g)


def test_masks_follow_the_generator():
    model = make(2, 16)
    first, same, other = (model.draw_masks(4, seeded(s)) for s in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    generator = seeded(5)
    model.draw_masks(4, generator)
    assert not torch.equal(model.draw_masks(4, generator).x, first.x)


@pytest.mark.parametrize("where", [(), ("g",), ("x", "h"), ("x", "h", "g")])
def test_dropout_acts_only_where_asked(where):
    masks = make(2, 32, dropout_on=where).draw_masks(8, seeded(0))
    for name, mask in zip(masks._fields, masks, strict=True):
        assert bool((mask == 1).all()) != (name in where), name


def test_training_draws_masks_that_stay_constant_in_time():
    """What training mode gives by itself is the paper's equations with one mask for all days."""
    model = make(3, 12)
    x = random(15, 4, 3)
    torch.manual_seed(11)
    y, again = model(x), model(x)
    torch.manual_seed(11)
    masks = model.draw_masks(4)
    expected = paper(x.double().numpy(), model.state_dict(), masks)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(y, again)


def test_eval_mode_has_no_dropout_whatever_the_masks():
    model = make(3, 12).eval()
    x = random(10, 4, 3)
    masks = model.draw_masks(4, seeded(0))
    expected = paper(x.double().numpy(), model.state_dict(), None)
    for given in (None, masks):
        np.testing.assert_allclose(model(x, given).detach().numpy(), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(model.train()(x, masks), model.eval()(x))


@pytest.mark.parametrize("path", [reference_recurrence, operator_recurrence, recurrence])
def test_a_unit_without_its_candidate_stays_zero_and_can_be_left_out(path):
    """With D(g) = 0 and a zero start s and h of the unit are 0 on every day, so its weights to others do not matter."""
    hidden, gone, kept = 10, [1, 4, 9], [0, 2, 3, 5, 6, 7, 8]
    model = make(2, hidden, dtype=torch.float64)
    u = random(8, 3, hidden, dtype=torch.float64).relu()
    mask = torch.full((3, hidden), 2.0, dtype=torch.float64)
    masks = Masks(mask, mask, mask.index_fill(1, torch.tensor(gone), 0))
    h, state = path(u, *weights(model), masks)
    assert bool((h[:, :, gone] == 0).all())
    assert bool((state.h[:, gone] == 0).all() & (state.s[:, gone] == 0).all())
    assert bool((h[:, :, kept] != 0).all())
    cut = [w.detach().reshape(4, hidden, -1)[:, kept].flatten(0, 1) for w in weights(model)]
    days = []
    small = torch.zeros(3, len(kept), dtype=torch.float64), torch.zeros(3, len(kept), dtype=torch.float64)
    for t in range(8):
        a = (u[t] * 2) @ cut[0].T + (small[0] * 2) @ cut[1][:, kept].T + cut[2][:, 0]
        i, f, g, o = a.chunk(4, dim=1)
        s = 2 * g.tanh() * i.sigmoid() + small[1] * f.sigmoid()
        small = s.tanh() * o.sigmoid(), s
        days.append(small[0])
    torch.testing.assert_close(h[:, :, kept].detach(), torch.stack(days), rtol=0, atol=1e-12)


def test_with_all_units_dropped_only_the_last_bias_is_left():
    model = make(3, 6)
    nothing = torch.zeros(4, 6)
    y = model(random(5, 4, 3), Masks(nothing, nothing, nothing))
    assert torch.equal(y, model.output.bias.expand(5, 4))
    y.sum().backward()
    assert float(model.output.bias.grad) == 20
    assert not model.lstm.weight_hh.grad.any()
    assert not model.input.weight.grad.any()


# -- state ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "masked"), WAYS)
@pytest.mark.parametrize("cut", [1, 5, 11])
@torch.no_grad()
def test_two_blocks_of_time_are_one(path, masked, cut):
    model = make(2, 9, dtype=torch.float64)
    u = random(12, 3, 9, dtype=torch.float64).relu()
    masks = model.draw_masks(3, seeded(0)) if masked else None
    whole, last = path(u, *weights(model), masks)
    first, state = path(u[:cut], *weights(model), masks)
    second, state = path(u[cut:], *weights(model), masks, state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-14)
    torch.testing.assert_close(state.h, second[-1], rtol=0, atol=0)


@torch.no_grad()
def test_model_carries_its_state():
    model = make(3, 9)
    x, masks = random(12, 4, 3), model.draw_masks(4, seeded(0))
    for training in (True, False):
        model.train(training)
        first, state = model.run(x[:7], masks)
        second, _ = model.run(x[7:], masks, state)
        torch.testing.assert_close(torch.cat([first, second]), model(x, masks), rtol=0, atol=1e-6)
        assert not torch.allclose(second, model(x[7:], masks))


@pytest.mark.parametrize("path", [operator_recurrence, recurrence])
@torch.no_grad()
def test_a_carried_state_does_not_hold_the_whole_block(path):
    """A hindcast carries one state for each realisation: a view of the block would keep all its days in memory."""
    model = make(2, 8)
    _, state = path(random(50, 3, 8).relu(), *weights(model), model.draw_masks(3, seeded(0)))
    for part in state:
        assert part.untyped_storage().nbytes() == 3 * 8 * 4


def test_no_gradient_through_a_given_masked_state():
    model = make(2, 4)
    state = State(torch.zeros(3, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="no gradient through a given state"):
        model.run(random(5, 3, 2), model.draw_masks(3), state)


# -- gradients: what torch does with the operation ------------------------------------------------------------------


def test_every_parameter_gets_a_finite_gradient():
    model = make(3, 16, 0.25)
    (model(random(20, 8, 3), model.draw_masks(8, seeded(0))) ** 2).mean().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert bool((parameter.grad != 0).any()), name


def test_backward_may_be_asked_again_over_a_kept_graph():
    model = make(3, 16)
    y = model(random(10, 4, 3), model.draw_masks(4, seeded(0))).square().sum()
    first = torch.autograd.grad(y, model.parameters(), retain_graph=True)
    second = torch.autograd.grad(y, model.parameters())
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_a_second_derivative_is_refused():
    """The output layer alone has one, so that a wrong answer rather than none is what must not come."""
    model = make(3, 4)
    y = model(random(5, 2, 3), model.draw_masks(2, seeded(0))).square().sum()
    (slope,) = torch.autograd.grad(y, [model.lstm.weight_hh], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_forwards_and_backwards_may_be_interleaved():
    """Buffers pass from one step to the next: they must never be those of a graph that is still to be used."""
    model = make(3, 16)

    def start(seed: int, days: int) -> torch.Tensor:
        return model(random(days, 4, 3, seed=seed), model.draw_masks(4, seeded(seed))).square().sum()

    def gradient(y: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(y, model.parameters()))

    plan = [(1, 10), (2, 10), (3, 7), (4, 10)]
    alone = [gradient(start(*p)) for p in plan]
    started = [start(*p) for p in plan]
    with torch.no_grad():
        model(random(10, 4, 3, seed=8), model.draw_masks(4))
    for k in (2, 0, 3, 1):
        for a, b in zip(gradient(started[k]), alone[k], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_inputs_need_not_be_contiguous():
    model = make(3, 8)
    masks = Masks(*(m.T.contiguous().T for m in model.draw_masks(5, seeded(0))))
    x = random(5, 12, 3).transpose(0, 1)
    assert not x.is_contiguous()
    assert not masks.h.is_contiguous()
    y = model(x, masks)
    torch.testing.assert_close(y, model(x.contiguous(), Masks(*(m.contiguous() for m in masks))))
    h = random(12, 8, 5).transpose(1, 2).requires_grad_()  # the gradient of sum() is an expanded scalar
    out, _ = recurrence(h, *weights(model), masks)
    out.sum().backward()
    expected = h.detach().clone().requires_grad_()
    reference_recurrence(expected, *weights(model), masks)[0].sum().backward()
    torch.testing.assert_close(h.grad, expected.grad, rtol=0, atol=1e-5)


# -- errors and devices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 2, 4), (5, 2, 2), (5, 3), (5, 2, 3, 1)])
def test_wrong_shape_of_the_input_is_named(shape):
    with pytest.raises(ValueError, match=r"x is \(time, batch, 3\), got"):
        make(3, 4)(torch.zeros(shape))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_is_a_probability_below_one(dropout):
    with pytest.raises(ValueError, match="dropout is a probability below 1"):
        SoilMoistureLSTM(2, 4, dropout)


def test_dropout_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"dropout_on names some of \('x', 'h', 'g'\), got \('x', 's'\)"):
        SoilMoistureLSTM(2, 4, 0.5, ("x", "s"))


@pytest.mark.parametrize("grad", [True, False])
def test_masks_of_another_type_are_refused(grad):
    model = SoilMoistureLSTM(3, 4).train()
    masks = Masks(*(mask.double() for mask in ones(2, 4)))
    with torch.set_grad_enabled(grad), pytest.raises(ValueError, match=r"masks are torch\.float32 as the weights"):
        model(torch.zeros(5, 2, 3), masks)


def test_a_batch_of_nobody_has_a_result_of_nobody():
    model = SoilMoistureLSTM(3, 4).eval()
    with torch.no_grad():
        assert model(torch.zeros(5, 0, 3)).shape == (5, 0)


@pytest.mark.parametrize("wrong", ["x", "h", "g"])
@pytest.mark.parametrize("shape", [(1, 4), (5, 4), (2, 3), (4,)])
def test_masks_of_another_shape_are_refused(wrong, shape):
    """The kernel reads memory by the batch's size: a smaller mask would be read beyond its end."""
    masks = ones(2, 4)._replace(**{wrong: torch.ones(shape)})
    with pytest.raises(ValueError, match=r"masks are \(batch, hidden\) = \(2, 4\) each"):
        make(3, 4)(torch.zeros(6, 2, 3), masks)


@pytest.mark.parametrize("device", DEVICES)
def test_trains_on_the_callers_device(device):
    model = make(3, 16).to(device)
    x = random(8, 4, 3).to(device)
    masks = model.draw_masks(4, seeded(0))  # a CPU generator, so that masks do not depend on the device
    assert {m.device.type for m in masks} == {device}
    y = model(x, masks)
    assert y.device.type == device
    y.sum().backward()
    expected = paper(
        x.cpu().double().numpy(), {k: v.cpu() for k, v in model.state_dict().items()}, Masks(*(m.cpu() for m in masks))
    )
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected, rtol=0, atol=1e-4)


def test_mixed_precision_comes_close():
    model = make(3, 16)
    x, masks = random(8, 4, 3), model.draw_masks(4, seeded(0))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x, masks)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), model(x, masks), rtol=0, atol=0.1)  # 8 bits of mantissa
    y.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_no_module_chooses_a_device_for_the_caller():
    """Nothing in the package calls ``.cuda()``."""
    modules = sorted((Path(__file__).parent.parent / "smapnb").rglob("*.py"))
    assert len(modules) > 10
    calls = [
        f"{path.name}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda"
    ]
    assert not calls

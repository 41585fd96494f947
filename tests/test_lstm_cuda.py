"""The GPU's way through the recurrence, held on a CPU: the same operators, and a tape that replays them like a graph.

A CUDA graph replays kernels on the addresses it was recorded with. The tape below does so with torch's operators: what
a loop reads from anywhere but its own buffers, or puts anywhere else, comes out wrong here as it would there.
"""

import gc
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tape import Tape

from smapnb import lstm_cuda, lstm_cuda_graph
from smapnb.lstm import Masks, SoilMoistureLSTM, State, operator_recurrence, recurrence, reference_recurrence

PARAMETERS = ["u", "weight_ih", "weight_hh", "bias"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler: inductor's CPU backend")


@pytest.fixture
def tapes(monkeypatch):
    """Loops are recorded on tapes, as on a GPU; the list of those made so far."""
    made = []

    def record(loop, device):
        loop()  # as before a real recording
        made.append(Tape(loop))
        return made[-1].replay

    monkeypatch.setattr(lstm_cuda_graph, "recordable", lambda device: True)
    monkeypatch.setattr(lstm_cuda_graph, "compiled", lambda day: day)
    monkeypatch.setattr(lstm_cuda_graph, "_record", record)
    lstm_cuda_graph.pool.clear()
    yield made
    lstm_cuda_graph.pool.clear()


def case(days=7, batch=3, hidden=10, rate=0.5, dtype=torch.float32, seed=0, device="cpu"):
    """Arguments of a recurrence that want gradients, and masks."""
    generator = torch.Generator().manual_seed(seed)
    model = SoilMoistureLSTM(2, hidden, rate, generator=generator).to(dtype)
    u = torch.randn(days, batch, hidden, generator=generator, dtype=dtype).relu()
    cell = model.lstm
    arguments = [u, 2 * cell.weight_ih, 2 * cell.weight_hh, 2 * cell.bias]
    masks = Masks(*(mask.to(device) for mask in model.draw_masks(batch, generator)))
    return [a.detach().to(device).requires_grad_() for a in arguments], masks


def weighting(h, seed=9):
    drawn = torch.randn(h.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(h.device, h.dtype)


def results(path, arguments, masks):
    """h and the gradients of a weighted sum of it."""
    h, _ = path(*arguments, masks)
    return h.detach(), torch.autograd.grad((h * weighting(h)).sum(), arguments)


def assert_same(ours, theirs, tolerance):
    h, gradients = ours
    expected, expected_gradients = theirs
    assert float((h - expected).abs().max()) <= tolerance
    for name, a, b in zip(PARAMETERS, gradients, expected_gradients, strict=True):
        assert float((a - b).abs().max()) <= tolerance * max(1, float(b.abs().max())), name


# -- replayed loops ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, 0.25, 0.5])
@pytest.mark.parametrize("size", [(1, 1, 1), (9, 1, 5), (1, 4, 8), (14, 3, 33)], ids=str)
def test_each_replay_is_the_reference_of_its_own_input(size, rate, tapes):
    for seed in range(3):
        arguments, masks = case(*size, rate=rate, dtype=torch.float64, seed=seed)
        assert_same(
            results(operator_recurrence, arguments, masks), results(reference_recurrence, arguments, masks), 1e-12
        )
    assert len(tapes) == 2  # forward and backward, recorded once


def test_within_float32_of_double_precision(tapes):
    """At the paper's size: the tolerance that is asked of the CPU's paths."""
    arguments, masks = case(30, 13, 256)
    double = [a.detach().double().requires_grad_() for a in arguments]
    h, gradients = results(operator_recurrence, arguments, masks)
    exact, exact_gradients = results(reference_recurrence, double, Masks(*(m.double() for m in masks)))
    assert float((h - exact).abs().max() / exact.abs().max()) <= 2e-6
    for name, a, b in zip(PARAMETERS, gradients, exact_gradients, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) <= 2e-6, name


def test_gradcheck_of_the_replayed_loops(tapes):
    arguments, masks = case(4, 2, 3, dtype=torch.float64)
    arguments[0] = (arguments[0].detach() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: operator_recurrence(*a, masks)[0], arguments)


def test_two_passes_at_once_share_no_buffers(tapes):
    """Two forwards, then their gradients: the second must not have written over what the first one kept."""
    first, second = case(seed=1), case(seed=2)
    outputs = [operator_recurrence(*arguments, masks)[0] for arguments, masks in (first, second)]
    for (arguments, masks), h in zip((first, second), outputs, strict=True):
        gradients = torch.autograd.grad((h * weighting(h)).sum(), arguments)
        assert_same((h.detach(), gradients), results(reference_recurrence, arguments, masks), 1e-5)
    assert len(tapes) == 4


def test_an_output_outlives_the_next_step(tapes):
    arguments, masks = case(seed=1)
    kept, state = operator_recurrence(*arguments, masks)
    before = [part.detach().clone() for part in (kept, *state)]
    kept.sum().backward()
    results(operator_recurrence, *case(seed=2))
    assert len(tapes) == 2
    for now, then in zip((kept, *state), before, strict=True):
        assert torch.equal(now, then)


def test_a_second_backward_runs_the_days_again(tapes):
    arguments, masks = case()
    h, _ = operator_recurrence(*arguments, masks)
    loss = (h * weighting(h)).sum()
    first = torch.autograd.grad(loss, arguments, retain_graph=True)
    results(operator_recurrence, *case(seed=5))  # takes the buffers that the first gradient gave back
    second = torch.autograd.grad(loss, arguments)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_buffers_of_a_pass_without_gradient_come_back(tapes):
    """A forward whose gradient nobody asks for must not cost the next one a recording, nor hold memory."""
    for _ in range(4):
        operator_recurrence(*case()[0], case()[1])
    assert len(tapes) == 2
    assert len(lstm_cuda_graph.pool._idle) == 1


def test_plain_buffers_are_freed_at_once():
    """Without graphs nothing waits for the garbage collector: at full size a step holds 14 GB."""
    lstm_cuda_graph.pool.clear()
    gc.collect()
    gc.disable()
    try:
        before = sum(type(x) is lstm_cuda.Buffers for x in gc.get_objects())
        results(operator_recurrence, *case())
        operator_recurrence(*case()[0], case()[1])
        assert sum(type(x) is lstm_cuda.Buffers for x in gc.get_objects()) == before
    finally:
        gc.enable()
    assert not lstm_cuda_graph.pool._idle


def test_another_rounding_of_products_is_recorded_anew(tapes):
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high", "highest", "high"):
            torch.set_float32_matmul_precision(precision)
            results(operator_recurrence, *case())
        assert len(tapes) == 4
    finally:
        torch.set_float32_matmul_precision(before)


def test_few_shapes_are_kept(tapes):
    for days in range(1, 9):
        results(operator_recurrence, *case(days))
    assert len(lstm_cuda_graph.pool._idle) == lstm_cuda_graph.IDLE
    results(operator_recurrence, *case(8))
    assert len(tapes) == 16


@pytest.mark.parametrize("cut", [1, 5, 11])
@torch.no_grad()
def test_prediction_carries_its_state_through_replays(cut, tapes):
    (u, *weights), masks = case(12, dtype=torch.float64)
    whole, last = reference_recurrence(u, *weights, masks)
    first, state = operator_recurrence(u[:cut], *weights, masks)
    second, state = operator_recurrence(u[cut:], *weights, masks, state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-14)


@torch.no_grad()
def test_prediction_holds_two_days_of_state():
    assert len(lstm_cuda.Buffers(50, 2, 3, torch.float32, torch.float32, torch.device("cpu"), False).cells) == 2


def test_a_gradient_through_a_state_is_refused():
    arguments, masks = case()
    zero = torch.zeros(3, 10)
    with pytest.raises(ValueError, match="no gradient through a given state"):
        operator_recurrence(*arguments, masks, State(zero, zero))


# -- what the device is asked for ----------------------------------------------------------------------------------


def test_a_day_is_one_product_and_nothing_waits_for_the_host(tapes):
    days = 6
    arguments, masks = case(days)
    whole = Tape(lambda: results(operator_recurrence, arguments, masks))
    forward, backward = tapes
    assert forward.count("addmm_", "addmm", "mm") == days
    assert backward.count("mm") == days
    # Each loop ran four times: to be compiled, to choose kernels, to be recorded, and replayed.
    assert whole.count("addmm_") == 4 * days
    assert whole.count("addmm") == 1  # input path of all days
    assert whole.count("mm") == 4 * days + 3  # gradients at u, W_x and W_h of all days
    waiting = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "item"}
    assert not whole.count(*waiting) + forward.count(*waiting) + backward.count(*waiting)


def test_a_training_step_stays_on_its_device(monkeypatch):
    """Tensors without values refuse to be read by the host, and to be mixed with those of another device."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # which no tensor without values has
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    model = SoilMoistureLSTM(4, 16, 0.5).to("meta").train()
    y = model(torch.empty(9, 5, 4, device="meta"))
    (y**2).mean().backward()
    assert {p.grad.device.type for p in model.parameters()} == {"meta"}


# -- bfloat16 ------------------------------------------------------------------------------------------------------


def test_bfloat16_rounds_products_and_keeps_the_state_in_float32(tapes):
    arguments, masks = case(90, 5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        h, state = operator_recurrence(*arguments, masks)
    gradients = torch.autograd.grad((h * weighting(h)).sum(), arguments)
    assert {h.dtype, state.h.dtype, state.s.dtype, *(g.dtype for g in gradients)} == {torch.float32}
    (_, days), *_ = lstm_cuda_graph.pool._idle
    kinds = {name: getattr(days.buffers, name).dtype for name in ("gates", "dropped_h", "weight_hh", "h", "ds")}
    assert kinds == dict.fromkeys(("gates", "dropped_h", "weight_hh"), torch.bfloat16) | dict.fromkeys(
        ("h", "ds"), torch.float32
    )
    exact, exact_gradients = results(reference_recurrence, arguments, masks)
    error = float((h.detach() - exact).abs().max() / exact.abs().max())
    assert 1e-4 < error < 0.02  # eight bits of a factor are 0.4 %, and the products were rounded at all
    for name, a, b in zip(PARAMETERS, gradients, exact_gradients, strict=True):
        assert float((a - b).norm() / b.norm()) < 0.02, name


def test_the_whole_model_under_autocast(tapes):
    model = SoilMoistureLSTM(4, 32, 0.5, generator=torch.Generator().manual_seed(0)).train()
    x = torch.randn(20, 6, 4, generator=torch.Generator().manual_seed(1))
    masks = model.draw_masks(6, torch.Generator().manual_seed(2))
    exact = model(x, masks).detach()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x, masks)
    y.float().sum().backward()
    assert float((y.detach().float() - exact).abs().max()) < 0.02 * float(exact.abs().max())
    assert all(torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32 for p in model.parameters())


# -- where compiling or recording fails ----------------------------------------------------------------------------


def test_without_graphs_the_plain_loops_run(tapes, monkeypatch, caplog):
    def refuse(loop, device):
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(lstm_cuda_graph, "_record", refuse)
    arguments, masks = case()
    assert_same(results(operator_recurrence, arguments, masks), results(reference_recurrence, arguments, masks), 1e-5)
    assert [r.getMessage() for r in caplog.records] == [
        "no CUDA graph of the loop over days, which makes a step slower: "
        "RuntimeError: operation not permitted when stream is capturing"
    ]


def test_without_a_compiler_the_plain_pass_runs(tapes, monkeypatch, caplog):
    monkeypatch.undo()
    monkeypatch.setattr(lstm_cuda_graph, "recordable", lambda device: True)
    monkeypatch.setattr(lstm_cuda_graph, "_record", lambda loop, device: loop)
    monkeypatch.setattr(lstm_cuda_graph, "_compiled", {})

    def broken(day, **options):
        def fail(*tensors):
            raise ImportError("no module named triton")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    for seed in range(2):
        arguments, masks = case(seed=seed)
        theirs = results(reference_recurrence, arguments, masks)
        assert_same(results(operator_recurrence, arguments, masks), theirs, 1e-5)
    assert [r.getMessage() for r in caplog.records] == [
        f"{day}_day is not compiled, which makes a step slower: ImportError: no module named triton"
        for day in ("forward", "backward")
    ]


@pytest.mark.parametrize("where", ["compiled", "_record"])
def test_lack_of_memory_is_not_taken_for_a_failed_recording(where, tapes, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lstm_cuda_graph, where, full)
    with pytest.raises(torch.OutOfMemoryError):
        results(operator_recurrence, *case())


def test_within_another_recording_nothing_is_recorded(tapes, monkeypatch):
    """While a whole step is recorded, its loops become part of that graph, on buffers that are its own."""
    results(operator_recurrence, *case())
    arguments, masks = case(seed=3)
    theirs = results(reference_recurrence, arguments, masks)
    with lstm_cuda_graph.part_of_another():  # to warm up
        assert_same(results(operator_recurrence, arguments, masks), theirs, 1e-5)
    monkeypatch.setattr(lstm_cuda_graph, "capturing", lambda device: True)
    assert_same(results(operator_recurrence, arguments, masks), theirs, 1e-5)
    assert len(tapes) == 2
    assert len(lstm_cuda_graph.pool._idle) == 1


# -- one kernel a day ----------------------------------------------------------------------------------------------


@needs_compiler
def test_the_compiled_day_is_the_plain_one(monkeypatch, tmp_path):
    """Inductor's backend for the CPU stands for that of the GPU: one graph a function, for all days alike."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(lstm_cuda_graph, "_compiled", {})
    shape = (4, 3, 20, torch.bfloat16, torch.float32, torch.device("cpu"), True)
    generator = torch.Generator().manual_seed(0)
    plain, fused = lstm_cuda.Buffers(*shape), lstm_cuda.Buffers(*shape)
    loops = ((lstm_cuda._forward_loop, lstm_cuda.forward_day), (lstm_cuda._backward_loop, lstm_cuda.backward_day))
    with torch.no_grad():
        for loop, day in loops:
            lstm_cuda_graph.fused(lambda day, loop=loop: loop(fused, day), day)
        assert not any(lstm_cuda_graph.compiled(day) is day for _, day in loops)
        for name, value in vars(plain).items():
            if isinstance(value, torch.Tensor):
                value.copy_(torch.randn(value.shape, generator=generator))
                getattr(fused, name).copy_(value)
        for loop, day in loops:
            loop(plain, day)
            with torch.compiler.set_stance("fail_on_recompile"):
                loop(fused, lstm_cuda_graph.compiled(day))
    for name, value in vars(plain).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(getattr(fused, name), value, msg=lambda text, name=name: f"{name}: {text}")


# -- without dropout -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "expected"), [("highest", "ieee"), ("high", "tf32")])
@torch.no_grad()
def test_unmasked_is_torchs_lstm_and_rounds_as_it_is_told(setting, expected, monkeypatch):
    (u, weight_ih, weight_hh, bias), _ = case(15, 4, 12)
    peer = torch.nn.LSTM(12, 12)
    peer.load_state_dict(
        {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh, "bias_ih_l0": bias, "bias_hh_l0": 0 * bias}
    )
    seen = []
    plain = torch.lstm

    def watched(*args):
        seen.append(torch.backends.cudnn.rnn.fp32_precision)
        block = args[2][0].untyped_storage().data_ptr()
        assert all(weight.untyped_storage().data_ptr() == block for weight in args[2])
        return plain(*args)

    monkeypatch.setattr(torch, "lstm", watched)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.rnn.fp32_precision
    try:
        torch.set_float32_matmul_precision(setting)
        first, cell = lstm_cuda.unmasked(u[:6], weight_ih, weight_hh, bias)
        second, cell = lstm_cuda.unmasked(u[6:], weight_ih, weight_hh, bias, (first[-1], cell))
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert seen == [expected] * 2
    assert torch.backends.cudnn.rnn.fp32_precision == before[1]
    monkeypatch.undo()
    h, (_, last) = peer(u)
    torch.testing.assert_close(torch.cat([first, second]), h, rtol=0, atol=1e-6)
    torch.testing.assert_close(cell, last[0], rtol=0, atol=1e-6)


def test_a_gradient_without_dropout_is_the_exact_one(monkeypatch):
    """cuDNN is for prediction only: its gradient would be rounded to TF32."""
    monkeypatch.setattr(torch, "lstm", None)
    arguments, _ = case(dtype=torch.float64)
    ours = results(lambda *a: lstm_cuda.unmasked(*a[:4]), arguments, None)
    assert_same(ours, results(reference_recurrence, arguments, None), 1e-12)


@torch.no_grad()
def test_bfloat16_without_dropout_keeps_a_slow_cell(monkeypatch):
    """A cell that gains 1/2000 a day from 1 on: bfloat16 cannot add that to 1, float32 can."""
    days = 400
    weight_hh = torch.zeros(4, 1)
    bias = torch.tensor([-7.6, 9.9, 9.9, 9.9])  # i = 0.0005, f = g = o = 1 (to 5e-5)
    start = (torch.ones(1, 1), torch.ones(1, 1))
    zero = torch.zeros(days, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        _, cell = lstm_cuda.unmasked(zero, weight_hh, weight_hh, bias, start)
    f, i = (1 / (1 + np.exp(-bias[k].bfloat16().double().item())) for k in (1, 0))
    expected = 1.0
    for _ in range(days):
        expected = expected * f + i * np.tanh(bias[2].bfloat16().double().item())
    assert abs(float(cell) - expected) < 1e-4
    assert expected > 1.15


# -- on a GPU ------------------------------------------------------------------------------------------------------


@needs_cuda
@pytest.mark.parametrize("size", [(30, 100, 256), (9, 1, 5), (14, 3, 33)], ids=str)
def test_on_a_gpu_the_graph_is_recorded_and_exact(size, caplog):
    lstm_cuda_graph.pool.clear()
    for seed in range(3):
        arguments, masks = case(*size, seed=seed, device="cuda")
        theirs = results(reference_recurrence, arguments, masks)
        assert_same(results(recurrence, arguments, masks), theirs, 2e-5)
    assert len(lstm_cuda_graph.pool._idle) == 1
    assert not caplog.records
    with torch.no_grad():
        h, _ = recurrence(*arguments, None)
        expected, _ = reference_recurrence(*arguments, None)
    assert float((h - expected).abs().max()) < 2e-5
    lstm_cuda_graph.pool.clear()

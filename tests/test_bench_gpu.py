"""The benchmark of the GPU, run in small on a CPU, so that it works on the day a GPU is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu


def test_every_measurement_runs_in_small(tmp_path, capsys):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.rnn.fp32_precision
    assert gpu.main(["--device", "cpu", "--tiny", "--repeats", "1", "--out", str(tmp_path)]) == 0
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.rnn.fp32_precision) == before
    (path,) = tmp_path.glob("gpu_*.json")
    table = json.loads(path.read_text(encoding="utf-8"))
    assert "a CPU, in small: no measurement" in table["title"]
    kinds = [row["measured"].split(",")[0] for row in table["rows"]]
    of_one_precision = ["training step"] * 4 + ["hindcast"] * 2 + ["training of one target"]
    assert kinds == of_one_precision * 3
    assert [row["measured"] for row in table["rows"] if "bfloat16" in row["measured"]]
    assert all(row["median ms"] >= 0 for row in table["rows"])
    # 1 - 100 x 30 / (6321 x 1096) to the power n is 0.01: n = 10,632.3
    assert "500 epochs x 10633 iterations x" in capsys.readouterr().out


def test_the_peer_is_asked_for_the_same_rounding():
    rnn = torch.backends.cudnn.rnn
    seen = {}
    for precision in gpu.PRECISIONS:
        with gpu.rounding(precision):
            seen[precision] = torch.get_float32_matmul_precision(), rnn.fp32_precision
    assert seen == {"float32": ("highest", "ieee"), "tf32": ("high", "tf32"), "bfloat16": ("highest", "ieee")}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line():
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [f"PyTorch {torch.__version__} finds no CUDA GPU here: nothing was measured"]


def test_what_does_not_fit_is_left_out(capsys):
    def too_large(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6 GiB\nmore")

    assert gpu.measured(too_large, 4096, 365, "float32", gpu.FULL, 9, torch.device("cuda")) == []
    assert "does not fit into this GPU (CUDA out of memory. Tried to allocate 6 GiB)" in capsys.readouterr().out

"""The script that checks on a GPU what no test here can."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch")


def test_the_script_for_a_gpu_runs_on_a_cpu_and_says_what_it_skips():
    script = Path(__file__).parents[2] / "benchmarks" / "cuda.py"
    command = [sys.executable, script, "--cpu", "--small"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "skipped: " in done.stdout
    assert done.stdout.count("  yes  ") == 3

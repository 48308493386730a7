"""The script that checks on a GPU what no test here can."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch")

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def test_the_script_for_a_gpu_runs_on_a_cpu_and_says_what_it_skips():
    command = [sys.executable, SCRIPTS / "cuda.py", "--cpu", "--small"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "skipped: " in done.stdout
    assert done.stdout.count("  yes  ") == 3


def test_its_name_does_not_stand_in_the_way_of_torch_in_the_scripts_beside_it():
    path = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import torch"
    done = subprocess.run([sys.executable, "-c", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Runs of training on disk: what is read is what happened, and a crash costs one step at most."""

import gc
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import torch.nn.functional as F
from torch import nn

import gradviz as gv


def problem():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
    )
    x = torch.randn(64, 4)
    return model, torch.optim.Adam(model.parameters(), lr=0.01), x, (x[:, 0] > 0).long()


def run(steps, around):
    """Train, and tell each step's loss, gradients before and weights after it."""
    model, optimizer, x, t = problem()
    told = []
    for _ in range(steps):
        weights = {n: p.detach().clone() for n, p in model.named_parameters()}
        with around(model):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
        told.append((loss.item(), weights, gradients))
    return told, {n: v.clone() for n, v in model.state_dict().items()}


class Recorded:
    def __init__(self, path, every):
        self.path, self.every, self.recorder = path, every, None

    def __call__(self, model):
        if self.recorder is None:
            self.recorder = gv.record_training(model, self.path, every=self.every)
        return self.recorder.step()


class Plainly:
    def __call__(self, model):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def rms(tensor):
    return tensor.double().pow(2).mean().sqrt().item()


def test_it_records_what_happened_and_changes_nothing(tmp_path):
    path = tmp_path / "run.gvtrain"
    plain, end = run(12, Plainly())
    recorded, same_end = run(12, Recorded(path, 3))
    for name, value in end.items():
        assert torch.equal(value, same_end[name])
    training = gv.load_training(path)
    assert [step.number for step in training.steps] == [0, 3, 6, 9]
    assert not training.cut
    for step in training.steps:
        loss, weights, gradients = plain[step.number]
        after = plain[step.number + 1][1]
        assert step.loss == pytest.approx(loss, rel=1e-6)
        for name, weight in weights.items():
            assert step.weights[name] == pytest.approx(rms(weight), rel=1e-5, abs=1e-12)
            assert step.gradients[name] == pytest.approx(rms(gradients[name]), rel=1e-4, abs=1e-9)
            if weight.norm():  # all of these are small enough to be sampled whole
                change = (after[name] - weight).norm() / weight.norm()
                assert step.updates[name] == pytest.approx(change.item(), rel=1e-4)
    g = training.graph(6)
    assert g.value("loss") == pytest.approx(plain[6][0], rel=1e-6)
    expected = plain[6][2]["0.weight"].norm().item()
    assert g.grad("0.weight").norm == pytest.approx(expected, rel=1e-4)
    assert recorded[6][0] == plain[6][0]


def test_the_map_shows_every_layer_and_step(tmp_path):
    path = tmp_path / "run.gvtrain"
    run(6, Recorded(path, 1))
    training = gv.load_training(path)
    for what in ("gradients", "updates", "weights"):
        drawing = training.draw(what)
        titles = [e.text for e in ET.fromstring(drawing.svg).iter("{http://www.w3.org/2000/svg}title")]
        for layer in ("0", "1", "4"):
            for step in range(6):
                assert sum(t.startswith(f"{layer}, step {step}: ") for t in titles) == 1
    assert drawing.save(tmp_path / "map.png").stat().st_size > 1000
    assert training.draw(theme="dark").save(tmp_path / "map.svg").exists()
    with pytest.raises(ValueError, match=r"no file type '\.dot'"):
        drawing.save(tmp_path / "map.dot")
    with pytest.raises(ValueError, match="no quantity 'losses'"):
        training.draw("losses")


def test_what_is_not_finite_or_zero_or_missing_is_seen_in_the_map(tmp_path):
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)})
    with gv.record_training(model, tmp_path / "run") as recorder:
        for scale in (1.0, float("inf"), 0.0):
            with recorder.step():
                (model["used"](torch.ones(1, 2)) * scale).sum().backward()
    training = gv.load_training(tmp_path / "run")
    titles = [e.text for e in ET.fromstring(training.draw().svg).iter() if e.tag.endswith("title")]
    assert {"used, step 1: inf", "used, step 2: 0", "unused, step 0: none"} < set(titles)
    assert all(sign in training.draw().svg for sign in ("✗</text>", ">0</text>", "–</text>"))
    assert "unused.weight" not in training.steps[0].gradients
    assert not training.graph(1).diagnose().ok
    assert training.graph(2).grad_state(training.graph(2).id("used.weight")) == "zero"


CRASH = """
import os, signal, sys, torch, gradviz as gv
model = torch.nn.Linear(3, 1)
with gv.record_training(model, sys.argv[1]) as recorder:
    for i in range(1000):
        with recorder.step():
            model(torch.ones(2, 3)).sum().backward()
        print(i, flush=True)
"""


def test_after_a_kill_the_finished_steps_are_there(tmp_path):
    path = tmp_path / "run.gvtrain"
    process = subprocess.Popen([sys.executable, "-c", CRASH, path], stdout=subprocess.PIPE)
    try:
        for line in process.stdout:
            if int(line) >= 5:
                break
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    training = gv.load_training(path)
    assert len(training) >= 6
    assert [s.number for s in training.steps] == list(range(len(training)))


def test_a_file_that_is_cut_off_anywhere_keeps_its_whole_steps(tmp_path):
    path = tmp_path / "run.gvtrain"
    run(3, Recorded(path, 1))
    raw = path.read_bytes()
    ends = [start + size for start, size in gv.load_training(path)._places]
    for length in (*ends, ends[0] - 1, ends[0] + 1, ends[1] - 7, len(raw) // 2):
        path.write_bytes(raw[:length])
        training = gv.load_training(path)
        assert len(training) == sum(end <= length for end in ends)
        assert training.cut == (length not in ends)


def test_a_step_that_raises_is_not_recorded(tmp_path):
    model = nn.Linear(2, 1)
    recorder = gv.record_training(model, tmp_path / "run")
    def stopped():
        with recorder.step():
            model(torch.ones(1, 2)).sum().backward()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    with recorder.step():
        model(torch.ones(1, 2)).sum().backward()
    assert [s.number for s in gv.load_training(tmp_path / "run").steps] == [1]
    assert not model.weight._backward_hooks


def test_memory_does_not_grow_with_the_steps(tmp_path):
    import tracemalloc

    model = nn.Linear(20, 1)
    recorder = gv.record_training(model, tmp_path / "run")

    def steps(count):
        for _ in range(count):
            with recorder.step():
                model(torch.ones(4, 20)).sum().backward()

    steps(5)
    tracemalloc.start()
    steps(60)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    steps(60)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 60 * 300  # no step leaves its graph behind, of some 20 kB


def test_bad_input(tmp_path):
    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match=r"needs a torch\.nn\.Module, got list"):
        gv.record_training([1], tmp_path / "run")
    with pytest.raises(ValueError, match="every=0: write a whole number"):
        gv.record_training(model, tmp_path / "run", every=0)
    with pytest.raises(FileNotFoundError):
        gv.record_training(model, tmp_path / "no" / "run")
    recorder = gv.record_training(model, tmp_path / "run")
    with pytest.raises(gv.TraceError, match=r"step 0 called no loss\.backward"), recorder.step():
        model(torch.ones(1, 2))
    with pytest.raises(ValueError, match="no step was finished"):
        gv.load_training(tmp_path / "run").draw()
    for text in (b"hello", b"\x1f\x8b123456789012345"):
        (tmp_path / "other").write_bytes(text)
        with pytest.raises(ValueError, match="other: not a recorded training"):
            gv.load_training(tmp_path / "other")
    with recorder.step():
        model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(KeyError, match="step 7 was not recorded"):
        gv.load_training(tmp_path / "run").graph(7)

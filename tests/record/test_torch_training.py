"""Runs of training on disk: what is read is what happened, and a crash costs one step at most."""

import gc
import gzip
import json
import os
import signal
import subprocess
import sys
import tracemalloc
import xml.etree.ElementTree as ET

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import torch.nn.functional as F
from torch import nn

import gradviz as gv
from gradviz.web.recorded import Telling


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
        titles = [
            e.text for e in ET.fromstring(drawing.svg).iter("{http://www.w3.org/2000/svg}title")
        ]
        for layer in ("0", "1", "4"):
            for step in range(6):
                assert sum(t.startswith(f"{layer}, step {step}: ") for t in titles) == 1
    assert drawing.save(tmp_path / "map.png").stat().st_size > 1000
    assert training.draw(theme="dark").save(tmp_path / "map.svg").exists()
    with pytest.raises(ValueError, match=r"no file type '\.dot'"):
        drawing.save(tmp_path / "map.dot")
    with pytest.raises(ValueError, match="no quantity 'losses'"):
        training.draw("losses")


def test_a_parameter_of_no_axes_is_recorded_like_any_other(tmp_path):
    model = nn.Linear(2, 1)
    model.temperature = nn.Parameter(torch.tensor(3.0))
    recorder = gv.record_training(model, tmp_path / "run.gvtrain")
    with recorder.step():
        (model(torch.ones(4, 2)) * model.temperature).sum().backward()
        with torch.no_grad():
            model.temperature -= 0.1 * model.temperature.grad
    moved = abs(0.1 * model.temperature.grad.item()) / 3  # the change beside the weight
    [step] = gv.load_training(tmp_path / "run.gvtrain").steps
    assert step.updates["temperature"] == pytest.approx(moved, rel=1e-6)


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
        with path.open("ab") as file:  # the run goes on
            file.write(raw[length:])
        assert training.more() == sum(end > length for end in ends)
        assert not training.cut
        assert training.steps[:] == gv.load_training(path).steps[:]
    path.write_bytes(raw[: ends[0]])  # a new run in the same place
    assert (training.more(), len(training)) == (1, 1)


def test_a_run_is_opened_without_unpacking_its_graphs(tmp_path):
    path = tmp_path / "run.gvtrain"
    run(2, Recorded(path, 1))
    whole = gv.load_training(path)
    raw = bytearray(path.read_bytes())
    raw[whole._bodies[0][0] + 20] ^= 255  # in the middle of a Graph
    path.write_bytes(raw)
    damaged = gv.load_training(path)
    assert damaged.steps[:] == whole.steps[:]
    assert damaged.graph(1).names == whole.graph(1).names
    with pytest.raises(ValueError, match=r"run\.gvtrain"):
        damaged.graph(0)


def small():
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1)
    )


def gradients_of(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


class Loop:
    """A model, its optimizer and its data; each method is a way to write a step.

    It returns the losses that it went backward from, and the gradients when the optimizer steps.
    """

    def __init__(self):
        torch.manual_seed(0)
        self.model, self.x = small(), torch.randn(16, 4)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        self.compiled = torch.compile(self.model, backend="eager")
        self.calls = 0

    def loss(self, x=None):
        return self.model(self.x if x is None else x).square().mean()

    def stepped(self, *losses):
        seen = gradients_of(self.model)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return [loss.item() for loss in losses], seen

    def accumulated(self):
        losses = [self.loss(part) / 4 for part in self.x.chunk(4)]
        for loss in losses:
            loss.backward()
        return self.stepped(*losses)

    def one_after_the_other(self):
        losses = []
        for part in self.x.chunk(2):
            losses.append(self.loss(part) / 2)
            losses[-1].backward()
        return self.stepped(*losses)

    def over_two_steps(self):
        loss = self.loss()
        loss.backward()
        self.calls += 1
        if self.calls % 2:
            return [loss.item()], {}
        return self.stepped(loss)

    def clipped(self):
        loss = self.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.01)
        return self.stepped(loss)

    def two_losses(self):
        out = self.model(self.x)
        first, second = out.square().mean(), out.abs().mean()
        first.backward(retain_graph=True)
        second.backward()
        return self.stepped(first, second)

    def a_list_of_losses(self):
        out = self.model(self.x)
        losses = [out.square().mean(), out.abs().mean()]
        torch.autograd.backward(losses, [torch.tensor(2.0), None])
        return self.stepped(2 * losses[0] + losses[1])

    def a_vector(self):
        out = self.model(self.x)
        out.backward(torch.full_like(out, 1 / 16))
        return self.stepped(out.mean())

    def by_hand(self):
        loss = self.loss()
        parameters = dict(self.model.named_parameters())
        found = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for parameter, gradient in zip(parameters.values(), found, strict=True):
                parameter -= 0.1 * gradient
        return [loss.item()], dict(zip(parameters, found, strict=True))

    def a_closure(self):
        told = []

        def closure():
            self.optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            told.append(([loss.item()], gradients_of(self.model)))
            return loss

        self.optimizer.step(closure)
        return told[0]

    def scaled(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.model(self.x)
        loss = out.float().square().mean()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        seen = gradients_of(self.model)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return [loss.item()], seen

    def scaled_and_accumulated(self):
        losses = [self.loss(part) / 2 for part in self.x.chunk(2)]
        for loss in losses:
            self.scaler.scale(loss).backward()
        found = {n: g / self.scaler.get_scale() for n, g in gradients_of(self.model).items()}
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return [loss.item() for loss in losses], found

    def attacked(self):
        x = self.x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.loss(x), x)
        loss = self.loss(self.x + 0.1 * slope.sign())
        loss.backward()
        return self.stepped(loss)

    def of_a_compiled_model(self):
        loss = self.compiled(self.x).square().mean()
        loss.backward()
        return self.stepped(loss)


class LBFGS(Loop):
    def __init__(self):
        super().__init__()
        self.optimizer = torch.optim.LBFGS(self.model.parameters(), max_iter=4)


class Adversaries(Loop):
    """Two networks, two losses, two optimizers."""

    def __init__(self):
        torch.manual_seed(0)
        parts = {
            "maker": nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)),
            "judge": nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 1)),
        }
        self.model = nn.ModuleDict(parts)
        self.optimizers = {n: torch.optim.Adam(part.parameters()) for n, part in parts.items()}

    def turn(self, name, loss, retain=False):
        self.optimizers[name].zero_grad()
        loss.backward(retain_graph=retain)
        seen = {n: g for n, g in gradients_of(self.model).items() if n.startswith(name)}
        self.optimizers[name].step()
        return [loss.item()], seen

    def play(self, detach):
        maker, judge = self.model["maker"], self.model["judge"]
        made = maker(torch.randn(8, 2))
        seen_made = made.detach() if detach else made
        loss = F.softplus(-judge(torch.randn(8, 3))).mean() + F.softplus(judge(seen_made)).mean()
        first = self.turn("judge", loss, retain=not detach)
        second = self.turn("maker", F.softplus(-judge(made)).mean())
        return first[0] + second[0], first[1] | second[1]

    def detached(self):
        return self.play(True)

    def attached(self):
        return self.play(False)


WAYS = [(Loop, way) for way in vars(Loop) if way not in ("loss", "stepped") and way[0] != "_"]
WAYS += [(LBFGS, "a_closure"), (Adversaries, "detached"), (Adversaries, "attached")]


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
@pytest.mark.parametrize(("kind", "way"), WAYS, ids=lambda x: getattr(x, "__name__", x))
def test_every_way_to_write_a_step_is_recorded_as_it_would_have_been(kind, way, tmp_path):
    ends, told = [], []
    for recorded in (False, True):
        loop = kind()
        recorder = gv.record_training(loop.model, tmp_path / "run")
        for _ in range(4):
            with recorder.step() if recorded else Plainly():
                told.append(getattr(loop, way)())
        ends.append([*loop.model.state_dict().values(), torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    training = gv.load_training(tmp_path / "run")
    for step, (losses, gradients) in zip(training.steps, told[:4], strict=True):
        assert step.note == ""
        left_out = way == "by_hand" or (way == "over_two_steps" and step.number % 2 == 0)
        assert step.stepped != left_out
        assert step.loss == pytest.approx(sum(losses), rel=1e-5, abs=1e-8)
        for name, gradient in gradients.items():
            if kind is not LBFGS:
                assert step.gradients[name] == pytest.approx(rms(gradient), rel=1e-3, abs=1e-8)
        for index, loss in enumerate(losses):
            if way not in ("attacked", "a_closure"):
                assert step.losses[index] == pytest.approx(loss, rel=1e-5, abs=1e-8)
            g = training.graph(step.number, index)
            assert g.value(g.names[g.output]) == pytest.approx(step.losses[index])
            assert g.draw().svg
            assert g.diagnose() is not None


def test_the_graphs_of_a_step_hold_what_each_pass_sent(tmp_path):
    loop = Loop()
    with gv.record_training(loop.model, tmp_path / "run").step():
        loop.one_after_the_other()
    training = gv.load_training(tmp_path / "run")
    twin = Loop()
    for index, part in enumerate(twin.x.chunk(2)):
        twin.model.zero_grad()
        (twin.loss(part) / 2).backward()
        g = training.graph(0, index)
        for name, gradient in gradients_of(twin.model).items():
            assert g.grad(name).norm == pytest.approx(gradient.norm().item(), rel=1e-4, abs=1e-8)
            assert g.value(name).size == gradient.numel()
    with pytest.raises(KeyError, match="step 0 has 2 backward passes, number 2"):
        training.graph(0, 2)


def test_what_hooks_changed_and_what_was_read_is_told_of_a_recorded_step(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    model[1].register_full_backward_hook(lambda module, sent, came: (sent[0] / 2,))
    x = torch.randn(5, 3)
    with gv.record_training(model, tmp_path / "run").step():
        out = model(x)
        out.register_hook(lambda gradient: gradient * 3)
        loss = out.pow(2).mean()
        (loss * loss.item()).backward()
    g = gv.load_training(tmp_path / "run").graph(0)
    of_module, of_tensor = (told for _, told in sorted(g.changed_by_hooks.items()))
    assert "backward hook of 1" in of_module
    assert "test_torch_training.py" in of_tensor
    for name, parameter in model.named_parameters():
        assert g.grad(name).norm == pytest.approx(parameter.grad.norm().item(), rel=1e-5)
    assert [g.names[i] for i in g.reads] == ["loss"]
    assert "changed gradient" in g.diagnose().text
    assert g.legible == gv.trace(nn.Linear(1, 1), torch.ones(1), loss=torch.sum).legible


def test_a_step_that_the_scaler_leaves_out_moved_nothing(tmp_path):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with gv.record_training(model, tmp_path / "run").step():
        loss = model(torch.ones(2, 3)).sum() * float("inf")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    (step,) = gv.load_training(tmp_path / "run").steps
    assert not step.stepped
    assert step.updates == {"weight": 0, "bias": 0}
    assert step.gradients["weight"] == float("inf")


def test_a_change_is_known_or_not_told(tmp_path):
    model = nn.Embedding(2000, 64)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    recorder = gv.record_training(model, tmp_path / "run")
    before = model.weight.detach().clone()
    for row in (range(100), []):
        with recorder.step():
            optimizer.zero_grad()
            model(torch.tensor(list(row), dtype=torch.long)).square().sum().backward()
            optimizer.step()
        if row:
            change = rms(model.weight - before)
    with recorder.step():
        model.weight.sum().backward()
        model.weight.data[1, 1] += 1  # an entry that no sample holds
    moved, still, unseen = gv.load_training(tmp_path / "run").steps
    assert moved.changes["weight"] == pytest.approx(change, rel=0.2)
    assert still.changes == {"weight": 0}
    assert unseen.changes.get("weight", 1) != 0
    assert gv.load_training(tmp_path / "run").draw("updates").svg


def test_a_training_goes_on_whatever_cannot_be_recorded(tmp_path, monkeypatch):
    from gradviz.record.torch.capture import Capture

    def failing(*_, **__):
        raise RuntimeError("no way")

    for place in ("told_apart", "kept", "_append", "_received", "_sent", "_enter_module"):
        ends = []
        for recorded in (False, True):
            loop = Loop()
            recorder = gv.record_training(loop.model, tmp_path / "run")
            with monkeypatch.context() as patched:
                patched.setattr(Capture, place, failing)
                for k in range(3):
                    if recorded and k == 0:
                        with pytest.warns(RuntimeWarning, match="no way"), recorder.step():
                            loop.clipped()
                    else:
                        with recorder.step() if recorded else Plainly():
                            loop.clipped()
            ends.append([*loop.model.state_dict().values(), torch.get_rng_state()])
        assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
        training = gv.load_training(tmp_path / "run")
        assert [step.number for step in training.steps] == [0, 1, 2]
        assert "no way" in training.steps[0].note
        assert training.steps[0].stepped
        with pytest.raises(KeyError, match="has no Graph: it could not be recorded: no way"):
            training.graph(0)


@pytest.mark.parametrize(
    ("how", "told"),
    [("no step", "no optimizer made a step"), ("no rate", "learning rate is 0"),
     ("small rate", "rounded away"),
     ("others", "holds other parameters"), ("zeroed", "zeroed before it"), ("healthy", ""),
     ("rarely", ""), ("late", "")],
)  # fmt: skip
@pytest.mark.parametrize("every", [2, 20])
def test_that_nothing_moves_is_told_of_a_run(how, told, every, tmp_path):
    if (how, every) == ("late", 20):
        pytest.skip("no step is recorded that late")
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    held = nn.Linear(3, 2) if how == "others" else model
    optimizer = torch.optim.SGD(
        held.parameters(), {"no rate": 0.0, "small rate": 1e-12}.get(how, 0.1)
    )
    path = tmp_path / "run.gvtrain"
    with gv.record_training(model, path, every=every) as recorder:
        for i in range(60):
            with recorder.step():
                optimizer.zero_grad()
                model(torch.randn(4, 3)).square().mean().backward()
                if how == "zeroed":
                    optimizer.zero_grad()
                # (of an accumulation over two batches the sample has the one without a step)
                if how != "no step" and (how != "rarely" or i % 2) and (how != "late" or i > 50):
                    optimizer.step()
    run = gv.load_training(path)
    assert (run.still is None) == (not told)
    if told:
        assert told in str(run.still.message)
        assert run.text.endswith(str(run.still.message))
        assert run.still.seen == tuple(range(0, 60, every))
    found = Telling(run).told()[0]["findings"]
    assert [f["first"] for f in found if f["kind"]["en"] == "no update"] == [0] * bool(told)
    health = run.diagnose()
    assert [f.first for f in health.findings if f.kind == "no update"] == [0] * bool(told)
    assert not (told and health)


def test_that_nothing_moves_any_more_is_a_note(tmp_path):
    """Many a schedule ends with a learning rate of 0."""
    torch.manual_seed(0)
    model, path = nn.Linear(3, 2), tmp_path / "run.gvtrain"
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: max(0, 1 - i / 30))
    with gv.watch(tmp_path / "out") as watch, gv.record_training(model, path) as recorder:
        for _ in range(60):
            with recorder.step():
                optimizer.zero_grad()
                model(torch.randn(4, 3)).square().mean().backward()
                optimizer.step()
            schedule.step()
    assert watch.reports == []
    health = gv.load_training(path).diagnose()
    assert health
    assert [(f.kind, f.severity, f.first, f.before) for f in health.findings] == [
        ("no update", "note", 30, 29)
    ]


def test_a_run_tells_when_each_finding_began(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with gv.record_training(model, tmp_path / "run.gvtrain") as recorder:
        for i in range(200):
            if i == 137:
                with torch.no_grad():
                    model[0].bias.fill_(-100.0)
            with recorder.step():
                model.zero_grad()
                model(torch.rand(8, 3)).square().mean().backward()
    run = gv.load_training(tmp_path / "run.gvtrain")
    health = run.diagnose()
    dead = next(f for f in health.findings if f.kind == "zero gradient")
    assert (dead.first, dead.before, bool(health)) == (137, 136, False)
    assert set(health.steps) < set(range(200))
    text = run.diagnose(language="zh").text
    assert "137" in text
    assert "零梯度" in text
    health.save(tmp_path / "health.txt")
    assert (tmp_path / "health.txt").read_text("utf8") == f"{health.text}\n"


def test_a_step_without_a_backward_pass_is_recorded_as_one(tmp_path):
    model = nn.Linear(2, 1)
    recorder = gv.record_training(model, tmp_path / "run")
    said = "step 0 has no Graph in run: it made no backward pass"
    with pytest.warns(RuntimeWarning, match=said), recorder.step():
        model(torch.ones(1, 2))
    with recorder.step():  # it is told once
        model(torch.ones(1, 2))
    with recorder.step():
        model(torch.ones(1, 2)).sum().backward()
    training = gv.load_training(tmp_path / "run")
    assert [step.loss is None for step in training.steps] == [True, True, False]
    assert training.steps[0].gradients == {}
    assert training.draw().svg
    assert training.text.splitlines()[1].split()[:2] == ["0", "–"]


def test_parameters_come_and_freeze_in_the_middle_of_a_run(tmp_path):
    model = nn.Linear(3, 3)
    recorder = gv.record_training(model, tmp_path / "run")
    for k in range(3):
        model.zero_grad()
        with recorder.step():
            if k == 1:
                model.late = nn.Parameter(torch.ones(3))
            model.weight.requires_grad_(k != 2)
            (model(torch.ones(2, 3)) * getattr(model, "late", 1.0)).sum().backward()
    first, second, third = gv.load_training(tmp_path / "run").steps
    assert set(first.gradients) == {"weight", "bias"}
    assert set(second.gradients) == {"weight", "bias", "late"}
    assert set(second.changes) == {"weight", "bias"}  # of a new one it is not known
    assert set(third.gradients) == {"bias", "late"}


def test_a_disk_that_is_full_costs_the_step_and_not_the_training(tmp_path, monkeypatch):
    loop = Loop()
    recorder = gv.record_training(loop.model, tmp_path / "run")
    with recorder.step():
        loop.clipped()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        said = r"step 1 could not be written .*No space left"
        with pytest.warns(RuntimeWarning, match=said), recorder.step():
            loop.clipped()
    with recorder.step():
        loop.clipped()
    assert [s.number for s in gv.load_training(tmp_path / "run").steps] == [0, 2]


def written(path, head, rest=b""):
    path.write_bytes(gzip.compress(head + b"\n" + rest))
    return path


def test_a_file_that_unpacks_to_much_is_refused_without_unpacking_it(tmp_path):
    head = b'{"format": "gradviz training", "version": 2, "step": 0, "loss": 1.0, "losses": [], '
    head += b'"stepped": true, "note": "", "parameters": {}, "graphs": ['
    for text in (head + b"0]}", head.replace(b"{}", b'{"a": ') + b"1" * 2**26, b"a" * 2**26):
        path = written(tmp_path / "run", text, b"a" * 2**26)
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"run: (a step of more|not a recorded)"):
            gv.load_training(path, max_bytes=2**20)
        assert tracemalloc.get_traced_memory()[1] < 2**26
        tracemalloc.stop()
    assert len(gv.load_training(written(path, head + b"3]}", b"abc"))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"loss": 10**400}, {"loss": True}, {"loss": "1"}, {"step": -1}, {"step": 1.5},
        {"losses": 3}, {"losses": [[]]}, {"stepped": 1}, {"note": None}, {"graphs": [-1]},
        {"graphs": [10**30]}, {"parameters": []}, {"parameters": {"w": 3}}, {"version": 4},
        {"parameters": {"w": [1, 2]}}, {"parameters": {"w": [1, 2, 3, 4, 5]}},
        {"parameters": {"w": [10**400, 1, 1, 1]}}, {"parameters": {"w": [1, {}, 1, 1]}},
        {"format": "another"},
    ],
    ids=str,
)  # fmt: skip
def test_every_field_of_a_training_is_checked(change, tmp_path):
    head = {
        "format": "gradviz training", "version": 2, "step": 0, "loss": 1.0, "losses": [1.0],
        "stepped": True, "note": "", "parameters": {"w": [3, 1.0, None, "nan"]}, "graphs": [],
    }  # fmt: skip
    (step,) = gv.load_training(written(tmp_path / "run", json.dumps(head).encode())).steps
    assert step.sizes == {"w": 3}
    assert step.gradients == {}
    with pytest.raises(ValueError, match="run: not a recorded training"):
        gv.load_training(written(tmp_path / "run", json.dumps(head | change).encode()))


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


def test_the_pass_of_a_critic_with_a_gradient_penalty_is_recorded_with_its_own_gradients(tmp_path):
    def steps(recorded):
        torch.manual_seed(0)
        critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        maker = nn.Linear(2, 3)
        first, second = (torch.optim.SGD(m.parameters(), 0.1) for m in (critic, maker))
        sent = []

        def step():
            real, fake = torch.randn(6, 3), maker(torch.randn(6, 2))
            between = (real + fake.detach() / 2).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            first.zero_grad()
            loss = critic(fake.detach()).mean() - critic(real).mean()
            (loss + 10 * (slope.norm(dim=1) - 1).square().mean()).backward()
            sent.append({n: p.grad.norm().item() for n, p in critic.named_parameters()})
            first.step()
            second.zero_grad()
            (-critic(fake).mean()).backward()
            second.step()

        if recorded is None:
            for _ in range(2):
                step()
        else:
            with gv.record_training(critic, recorded) as recorder:
                for _ in range(2):
                    with recorder.step():
                        step()
        return critic, sent

    plain, sent = steps(None)
    recorded, _ = steps(tmp_path / "run.gv")
    assert all(map(torch.equal, plain.parameters(), recorded.parameters()))
    training = gv.load_training(tmp_path / "run.gv")
    for number, norms in enumerate(sent):
        assert training.steps[number].note == ""
        found = training.graph(number).gradients()
        for name, norm in norms.items():
            assert found[name].norm == pytest.approx(norm, rel=1e-4, abs=1e-6), name


def test_a_parameter_of_another_backward_pass_of_the_step_is_not_missed_in_this_one(tmp_path):
    both = nn.ModuleDict({"critic": nn.Linear(2, 1), "maker": nn.Linear(2, 2)})
    both["idle"] = nn.Linear(2, 2)
    optimizer, x = torch.optim.SGD(both.parameters(), 0.01), torch.randn(8, 2)
    with gv.record_training(both, tmp_path / "run.gvtrain") as recorder:
        for _ in range(2):
            with recorder.step():
                optimizer.zero_grad()
                first = both["critic"](x).square().mean()
                second = both["maker"](x).square().mean()
                unused = both["idle"](x).square().mean()
                assert unused.item() > 0
                for loss in (first, second):
                    loss.backward()
                    assert loss.item() > 0  # as one that is logged
                optimizer.step()
    first, second = (gv.load_training(tmp_path / "run.gvtrain").graph(1, k) for k in range(2))
    assert {first.names[i] for i in first.elsewhere} == {"maker.weight", "maker.bias"}
    assert first.grad_state(first.id("maker.weight")) == "disconnected"
    first.save(tmp_path / "pass.json")
    assert gv.load(tmp_path / "pass.json").elsewhere == first.elsewhere
    for graph in (first, second):
        lost = [f.message for f in graph.diagnose().findings if f.kind == "no gradient"]
        assert not any(name in message for message in lost for name in ("critic", "maker"))
    assert any("idle.weight" in f.message for f in first.diagnose().findings)

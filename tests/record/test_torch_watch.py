"""Training under watch: nothing changes, and a step that breaks is made again as it was."""

import contextlib
import gc
import math
import os
import random
import signal
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import torch.nn.functional as F
from sick_trainings import SAMPLE, examine
from torch import nn
from torch.utils.checkpoint import checkpoint

import gradviz as gv
from gradviz.errors import TrainingError

SPIKE = 60
"""The step that goes wrong."""


# --- ways to train --------------------------------------------------------------------------------


class Random(nn.Module):
    """Draws from every generator there is."""

    def __init__(self):
        super().__init__()
        self.linear, self.own = nn.Linear(6, 3), torch.Generator()
        self.numpy = np.random.default_rng(0)

    def forward(self, x):
        if random.random() < 0.5:
            x = x * 2
        noise = torch.randn(8, 3) + torch.randn(8, 3, generator=self.own)
        return self.linear(x) + noise * np.random.rand() + self.numpy.normal()  # noqa: NPY002


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(checkpoint(self.inner, x, use_reentrant=False))


def layers():
    return nn.Sequential(
        nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 3)
    )


def batch():
    return torch.randn(8, 6), torch.randn(8, 3)


def plainly(model, optimizer, by):
    optimizer.zero_grad()
    x, t = batch()
    (F.mse_loss(model(x), t) * by).backward()
    optimizer.step()


def in_micro_batches(model, optimizer, by):
    optimizer.zero_grad()
    for _ in range(3):
        x, t = batch()
        (F.mse_loss(model(x), t) * by / 3).backward()
    optimizer.step()


def with_chance_in_the_loss(model, optimizer, by):
    optimizer.zero_grad()
    x, t = batch()
    y = model(x)
    mixed = F.mse_loss(y, t) * torch.rand(()) + F.dropout(y, 0.5).square().mean()
    (mixed * by).backward()
    optimizer.step()


def clipped(model, optimizer, by):
    optimizer.zero_grad()
    x, t = batch()
    (F.mse_loss(model(x), t) * by).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()


def without_modules(model, optimizer, by):
    optimizer.zero_grad()
    x, t = batch()
    h = torch.zeros(8, 3)
    h[:4] = (x @ model.weight.T + model.bias)[:4]
    h[4:] = x[4:] @ model.weight.T
    decay = 1e-3 * sum(p.pow(2).sum() for p in model.parameters())
    (((h - t) ** 2).mean() * by + decay).backward()
    optimizer.step()


def with_a_gradient_penalty(model, optimizer, by):
    optimizer.zero_grad()
    x = torch.randn(8, 6, requires_grad=True)
    y = model(x).sum()
    (slope,) = torch.autograd.grad(y, x, create_graph=True)
    (((slope.norm() - 1) ** 2 + y * 0.01) * by).backward()
    optimizer.step()


def by_a_closure(model, optimizer, by):
    x, t = batch()

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), t) * by
        loss.backward()
        return loss

    optimizer.step(closure)


def by_hand(model, _, by):
    x, t = batch()
    (F.mse_loss(model(x), t) * by).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.001 * p.grad
            p.grad = None


def by_hand_and_zeroed(model, _, by):
    by_hand_and_kept(model, _, by)
    for p in model.parameters():
        p.grad.zero_()


def by_hand_and_kept(model, _, by):
    x, t = batch()
    (F.mse_loss(model(x), t) * by).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 1e-5 * p.grad


def by_gradients_of_its_own(model, optimizer, by):
    x, t = batch()
    weights = list(model.parameters())
    for p, g in zip(
        weights, torch.autograd.grad(F.mse_loss(model(x), t) * by, weights), strict=True
    ):
        p.grad = g
    optimizer.step()


def by_gradients_of_its_own_that_are_scaled(model, optimizer, by):
    optimizer.zero_grad()
    x, t = batch()
    (F.mse_loss(model(x), t) * by).backward()
    for p in model.parameters():
        p.grad = p.grad / 2
    optimizer.step()


def in_mixed_precision(model, made, by):
    optimizer, scaler = made
    optimizer.zero_grad()
    x, t = batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.mse_loss(model(x).float(), t) + model(x * 2).float().square().mean()
    scaler.scale(loss * by).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()


def adversaries(model, made, by):
    """The critic learns first; what the generator made before is judged after it."""
    for_generator, for_critic = made
    fake, real = model.generator(torch.randn(8, 4)), torch.randn(8, 6)
    for_critic.zero_grad()
    found = F.softplus(-model.critic(real)).mean() + F.softplus(model.critic(fake.detach())).mean()
    found.backward()
    for_critic.step()
    for_generator.zero_grad()
    (F.softplus(-model.critic(fake)).mean() * by).backward()
    for_generator.step()


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3))
        self.critic = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))


def sgd(model):
    return torch.optim.SGD(model.parameters(), 1e-5)


def adam(model):
    return torch.optim.Adam(model.parameters(), 1e-5)


def scaled(model):
    return sgd(model), torch.amp.GradScaler("cpu", init_scale=2.0**10)


def linear():
    return nn.Linear(6, 3)


WAYS = {
    "buffers and dropout": (layers, adam, plainly),
    "all random numbers": (Random, sgd, plainly),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(linear()), sgd, plainly),
    "checkpointing": (Checkpointed, adam, plainly),
    "micro-batches": (layers, adam, in_micro_batches),
    "chance in the loss": (layers, sgd, with_chance_in_the_loss),
    "clipping": (layers, adam, clipped),
    "no modules": (linear, sgd, without_modules),
    "gradient penalty": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
        sgd,
        with_a_gradient_penalty,
    ),
    "closures": (
        linear,
        lambda m: torch.optim.LBFGS(m.parameters(), lr=1e-5, max_iter=2),
        by_a_closure,
    ),
    "no optimizer": (layers, lambda _: None, by_hand),
    "no optimizer, zeroed": (layers, lambda _: None, by_hand_and_zeroed),
    "no optimizer, kept": (layers, lambda _: None, by_hand_and_kept),
    "gradients of its own": (layers, adam, by_gradients_of_its_own),
    "scaled by hand": (layers, adam, by_gradients_of_its_own_that_are_scaled),
    "mixed precision": (layers, scaled, in_mixed_precision),
    "adversaries": (Pair, lambda m: (adam(m.generator), adam(m.critic)), adversaries),
    "compiled": (lambda: torch.compile(layers(), backend="eager"), adam, plainly),
}


def states(model):
    random_ones = torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    return {n: v.clone() for n, v in model.state_dict().items()}, random_ones


def train(way, watch=None):
    build, optimizer_of, step = WAYS[way]
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    model = build()
    made = optimizer_of(model)
    if watch is not None:
        watch.__enter__()
    try:
        for i in range(SPIKE + 3):
            step(model, made, 1e6 if i == SPIKE else 1.0)
    finally:
        if watch is not None:
            watch.__exit__(None, None, None)
    return states(model)


@pytest.mark.parametrize("way", WAYS)
def test_the_step_that_broke_is_made_again_and_the_run_is_the_one_it_would_have_been(
    way, tmp_path, capfd
):
    watch = gv.watch(tmp_path / "out", spike=50)
    (weights, chance), (plain, plain_chance) = train(way, watch), train(way)
    assert chance == plain_chance
    for name, value in plain.items():
        assert torch.equal(weights[name], value), name
    spikes = [r for r in watch.reports if r.alarm.kind == "spike"]
    assert spikes
    assert all(report.replay.exact and not report.replay.lost for report in watch.reports)
    report = spikes[0]
    if way != "no optimizer":
        assert report.step == SPIKE
    assert len(report.graphs) == (3 if way == "micro-batches" else 1)
    untold = "scaled by hand", "no optimizer, kept"  # the gradient is not that of the pass alone
    assert (report.replay.norm is None) == (way in untold)
    assert (
        gv.load(report.folder / "graph.json").gradients().keys() == report.graph.gradients().keys()
    )
    assert f"step {report.step}: the norm of the gradients is" in capfd.readouterr().err
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    assert "reproduced its loss" in page
    assert ("before compilation" in page) == (way == "compiled")


@pytest.mark.parametrize("way", ["by hand", "without a step", "without a backward pass"])
def test_what_no_step_can_use_any_more_is_let_go(way, tmp_path):
    model, seen = nn.Linear(500, 2), []
    optimizer = sgd(model)
    with gv.watch(tmp_path):
        for _ in range(300):
            x = torch.randn(500, 500)  # a megabyte
            seen.append(weakref.ref(x))
            loss = model(x).square().mean()
            if way != "without a backward pass":
                loss.backward()
            if way == "by hand":
                with torch.no_grad():
                    for p in model.parameters():
                        p -= 1e-3 * p.grad
                        p.grad = None
        del x, loss, optimizer
        assert sum(ref() is not None for ref in seen) <= (2 if way == "by hand" else 140)


def test_hooks_of_the_step_are_replayed_and_what_they_and_the_model_count_is_not_counted(tmp_path):
    made, calls = [], 0

    class Counts(nn.Linear):
        def forward(self, x):
            nonlocal calls
            calls += 1
            return super().forward(x)

    def hook(gradient):
        made.append(1)
        return gradient * by

    torch.manual_seed(0)
    model = nn.Sequential(Counts(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = sgd(model)
    with gv.watch(tmp_path) as watch:
        for i in range(SPIKE + 1):
            by = 1e6 if i == SPIKE else 1
            optimizer.zero_grad()
            h = model[:2](torch.randn(8, 6))
            h.register_hook(hook)
            model[2](h).square().mean().backward()
            optimizer.step()
    (report,) = watch.reports
    assert report.alarm.kind == "spike"
    assert report.replay.exact
    assert (len(made), calls) == (SPIKE + 1, SPIKE + 1)


def test_what_cannot_be_replayed_is_said(tmp_path):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.calls = nn.Linear(6, 3), 0

        def forward(self, x):
            self.calls += 1
            return self.linear(x) * self.calls

    x = torch.randn(8, 6)
    for overwritten in (False, True):
        torch.manual_seed(0)
        model = Counts() if not overwritten else nn.Linear(6, 3)
        optimizer = sgd(model)
        with gv.watch(tmp_path / str(overwritten)) as watch:
            for i in range(SPIKE + 1):
                optimizer.zero_grad()
                (model(x).square().mean() * (1e9 if i == SPIKE else 1)).backward()
                if overwritten:
                    x.normal_()
                optimizer.step()
        (report,) = watch.reports
        assert not report.replay.exact
        assert "not quite the step" in report.text
        if overwritten:
            assert "overwritten since" in report.replay.lost[0]
        else:
            assert model.calls == SPIKE + 1  # the replay has not counted


# --- what triggers, and what does not -----------------------------------------------------------


def loop(losses, optimizer=None):
    """A training of one weight whose losses and gradients are those of a function of the step."""
    w = nn.Parameter(torch.ones(3))
    optimizer = optimizer or torch.optim.SGD([w], 1e-12)  # (rounded away)
    for i in range(400):
        optimizer.zero_grad()
        losses(w, i).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("kind", "losses", "step"),
    [
        ("loss not finite", lambda w, i: (w * (math.nan if i == 7 else i)).sum(), 7),
        ("gradient not finite", lambda w, i: (w - 1 + (i != 9)).square().sum().sqrt() + i, 9),
        ("spike", lambda w, i: (w * (1e4 if i == 101 else 1 + i % 7)).sum(), 101),
        ("no gradient", lambda w, i: (w * (i % 5 + 1) if i < 200 else w * 0 + i).sum(), 219),
        ("constant loss", lambda w, i: (w * w).sum(), 49),
        ("diverging loss", lambda w, i: w.sum() + (1 + i % 7) * (1 if i < 100 else 100), 149),
    ],
)
def test_a_training_in_trouble_is_told_once_and_at_its_step(kind, losses, step, tmp_path):
    with gv.watch(tmp_path) as watch:
        loop(losses)
    assert [(r.alarm.kind, r.step) for r in watch.reports] == [(kind, step)]
    assert watch.reports[0].replay.exact


def test_an_ordinary_heavy_tail_a_warm_up_and_what_has_converged_are_no_alarm(tmp_path):
    generator = np.random.default_rng(0)
    tail = generator.standard_t(3, 400)
    warm = [1e3 * 0.8**i + 1 + 0.1 * generator.random() for i in range(400)]
    with gv.watch(tmp_path) as watch:
        loop(lambda w, i: (w * float(tail[i])).sum())
        loop(lambda w, i: (w * warm[i]).sum())
        w = nn.Parameter(torch.ones(3))
        loop(lambda _, i: (w - 3).square().sum() + 1, torch.optim.SGD([w], 0.3))
    assert watch.reports == []


def steps(model, optimizer, by=lambda _: None, x=None):
    """A training of 200 steps; `by` is called after each."""
    for i in range(200):
        optimizer.zero_grad()
        F.mse_loss(model(torch.randn(8, 6) if x is None else x), torch.ones(8, 3)).backward()
        optimizer.step()
        by(i)


def a_warm_up_whose_first_hundred_steps_have_a_rate_of_0(model):
    optimizer = adam(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: i // 100)
    steps(model, optimizer, lambda _: schedule.step())


def a_schedule_by_hand_that_ends_at_0(model):
    optimizer = sgd(model)
    steps(model, optimizer, lambda i: optimizer.param_groups[0].update(lr=max(0, 1e-5 * (50 - i))))


def one_step_for_a_hundred_batches(model):
    optimizer = adam(model)
    for i in range(300):
        (F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3)) / 100).backward()
        if i % 100 == 99:
            optimizer.step()
            optimizer.zero_grad()


def a_part_that_no_optimizer_holds(model):
    steps(model, adam(model[2]))


def two_optimizers_of_which_one_rests(model):
    resting = torch.optim.SGD(model[0].parameters(), 0.0)
    steps(model, adam(model[2]), lambda _: resting.step())


def squares_of_gradients_that_are_summed(model):
    steps(model, adam(model))
    for _ in range(60):
        model.zero_grad()
        model(torch.randn(8, 6)).square().mean().backward()
        _ = [p.grad.square() for p in model.parameters()]


def an_attack_on_inputs(model):
    optimizer = adam(model)
    for _ in range(60):
        optimizer.zero_grad()
        x = torch.randn(8, 6, requires_grad=True)
        model(x).square().mean().backward()
        assert x.grad.any()


def weights_that_are_changed_by_hand(model):
    _ = optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().mean().backward()
        for p in model.parameters():
            p.data -= 1e-4 * p.grad.data


@pytest.mark.parametrize(
    "healthy",
    [
        a_warm_up_whose_first_hundred_steps_have_a_rate_of_0, a_schedule_by_hand_that_ends_at_0,
        one_step_for_a_hundred_batches, a_part_that_no_optimizer_holds,
        two_optimizers_of_which_one_rests, squares_of_gradients_that_are_summed,
        an_attack_on_inputs, weights_that_are_changed_by_hand,
    ],
    ids=lambda healthy: healthy.__name__,
)  # fmt: skip
def test_what_does_not_move_on_purpose_or_not_yet_is_no_alarm(healthy, tmp_path):
    gc.collect()  # optimizers of other tests
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    with gv.watch(tmp_path) as watch:
        healthy(model)
    assert [report.text for report in watch.reports] == []


def test_that_nothing_has_moved_is_told_at_the_end_where_it_was_not_sure_before(tmp_path):
    def schedule_that_is_not_called(model):
        optimizer = adam(model)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1, i / 10))
        steps(model, optimizer)

    def norms_that_are_logged(model):
        optimizer = adam(model)
        for _ in range(60):
            optimizer.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
            _ = [p.grad.norm().item() for p in model.parameters()]

    for sick, said in (
        (schedule_that_is_not_called, "learning rate was 0, and no parameter has changed"),
        (norms_that_are_logged, "no optimizer has made a step in 59 backward passes"),
    ):
        gc.collect()
        with gv.watch(tmp_path) as watch:
            sick(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))
            assert watch.reports == []
        (report,) = watch.reports
        assert report.alarm.kind == "no update"
        assert said in report.text
        assert report.replay.exact


def test_a_skipped_step_is_no_alarm_and_a_scale_that_collapses_is(tmp_path):
    def run(steps, bad):
        model = nn.Linear(3, 1)
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=2.0**5)
        with gv.watch(tmp_path) as watch:
            for i in range(steps):
                optimizer.zero_grad()
                y = model(torch.randn(4, 3))
                if bad(i):
                    y.register_hook(lambda g: g * math.inf)
                scaler.scale(y.square().mean()).backward()
                scaler.step(optimizer)
                scaler.update()
        return watch.reports

    assert run(20, lambda i: i in (0, 1, 2, 9)) == []
    (report,) = run(20, lambda i: i > 2)
    assert report.alarm.kind == "collapsing scale"
    assert report.alarm.since == 3
    assert report.replay.exact


def test_the_number_of_reports_is_limited_and_the_training_stops_or_raises_if_asked(tmp_path):
    def sick(watch, steps=10, caught=()):
        w, done = nn.Parameter(torch.ones(2)), 0
        optimizer = torch.optim.SGD([w], 0.1)
        with watch:
            for i in range(steps):
                try:
                    optimizer.zero_grad()
                    (w * (math.inf if i == 3 else 1)).sum().backward()
                    optimizer.step()
                    done += 1
                except caught:
                    continue
        return done

    none = gv.watch(tmp_path, reports=0)
    assert sick(none) == 10
    assert none.reports == []
    assert sick(gv.watch(tmp_path, on_trigger="stop")) == 3
    with pytest.raises(TrainingError, match=r"step 3: the loss is inf"):
        sick(gv.watch(tmp_path, on_trigger="raise"))
    caught = gv.watch(tmp_path, on_trigger="raise")
    assert sick(caught, caught=Exception) == 9
    assert len(caught.reports) == 1
    for bad in (dict(on_trigger="die"), dict(reports=-1), dict(spike=0.5)):
        with pytest.raises(ValueError, match=next(iter(bad))):
            gv.watch(tmp_path, **bad)


BAD = 5


def a_step_of_the_square_root(model, optimizer, i):
    """Its slope is infinite where all is 0, though the loss is 0."""
    optimizer.zero_grad()
    (model(torch.ones(4, 6)) * (i != BAD)).square().sum().sqrt().backward()
    optimizer.step()


def a_step_of_the_logarithm(model, optimizer, i):
    optimizer.zero_grad()
    (model(torch.ones(4, 6)).square().sum() * (i != BAD)).log().backward()
    optimizer.step()


def a_penalty_by_the_slope(model, optimizer, i):
    optimizer.zero_grad()
    model(torch.ones(4, 6)).square().mean().backward()
    x = torch.ones(4, 6, requires_grad=True)
    length = (model(x) * (i != BAD)).square().sum().sqrt()
    (slope,) = torch.autograd.grad(length, x, create_graph=True)
    slope.square().mean().backward()
    optimizer.step()


def by_hand_at_the_root(model, _, i):
    (model(torch.ones(4, 6)) * (i != BAD)).square().sum().sqrt().backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 1e-3 * p.grad
            p.grad = None


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("gradient not finite", a_step_of_the_square_root),
        ("loss not finite", a_step_of_the_logarithm),
        ("gradient not finite", a_penalty_by_the_slope),
        ("gradient not finite", by_hand_at_the_root),
    ],
)
def test_a_backward_pass_that_pytorch_ends_for_a_nan_is_reported_and_ends_all_the_same(
    kind, step, tmp_path
):
    gc.collect()  # optimizers of other tests
    model, ended = linear(), []
    optimizer = sgd(model) if step is not by_hand_at_the_root else None
    with torch.autograd.set_detect_anomaly(True), gv.watch(tmp_path) as watch:
        for i in range(BAD + 4):
            try:
                step(model, optimizer, i)
            except RuntimeError as error:
                ended.append((i, "returned nan values" in str(error)))
    assert ended == [(BAD, True)]
    (report,) = watch.reports
    assert (report.alarm.kind, report.step) == (kind, BAD)
    assert report.replay.exact
    assert report.finding is not None


def test_another_error_of_a_backward_pass_is_no_alarm(tmp_path):
    weight = nn.Parameter(torch.ones(3))
    loss = weight.square().sum()
    with torch.autograd.set_detect_anomaly(True), gv.watch(tmp_path) as watch:
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
    assert watch.reports == []


def without_gradients(loss):
    with torch.no_grad():
        return torch.isfinite(loss)


TESTS = {
    "isfinite": torch.isfinite,
    "all": lambda loss: loss.isfinite().all().item(),
    "isnan or isinf": lambda loss: not (torch.isnan(loss) | torch.isinf(loss)),
    "inverted": lambda loss: not (~torch.isfinite(input=loss)).any(),
    "counted": lambda loss: (torch.isnan(loss) + torch.isinf(loss)).sum() == 0,
    "equal to itself": lambda loss: loss == loss and loss.abs() < math.inf,
    "detached": lambda loss: torch.isfinite(loss.detach()),
    "its number": lambda loss: math.isfinite(loss.detach().item()),
    "without gradients": without_gradients,
}


@pytest.mark.parametrize("test", TESTS)
def test_a_program_that_ends_for_a_test_of_its_loss_is_reported_and_one_that_passes_it_is_not(
    test, tmp_path
):
    def run(bad):
        model = linear()
        optimizer = sgd(model)
        with gv.watch(tmp_path) as watch, contextlib.suppress(AssertionError):
            for i in range(BAD + 1):
                optimizer.zero_grad()
                loss = (model(torch.ones(4, 6)).square().sum() * (i != bad)).log()
                assert TESTS[test](loss)
                loss.backward()
                optimizer.step()
            end = model(torch.ones(4, 6)).square().sum()  # is not trained with
            assert TESTS[test](end)
        return watch.reports

    assert run(None) == []
    (report,) = run(BAD)
    assert (report.alarm.kind, report.step) == ("loss not finite", BAD)
    assert "the program has ended after it read -inf" in report.text
    assert report.finding.operation == "log"
    assert report.replay.exact


def test_what_a_program_tests_of_an_array_or_of_gradients_before_it_ends_is_reported(tmp_path):
    def array(y, _):
        assert torch.isfinite(y).all()

    def gradients(_, model):
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())

    def clips(_, model):
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)

    def masks(y, _):
        assert torch.where(torch.isfinite(y), y, 0.0).sum() < 1e9
        assert not torch.isnan(y).any()

    def run(before=lambda *_: None, after=lambda *_: None, f=torch.log):
        model = linear()
        optimizer = sgd(model)
        with gv.watch(tmp_path) as watch, contextlib.suppress(AssertionError, RuntimeError):
            for i in range(BAD + 1):
                optimizer.zero_grad()
                y = f(model(torch.ones(4, 6)).square() * (i != BAD))
                before(y, model)
                if before is not masks or i != BAD:
                    y.sum().backward()
                    after(None, model)
                    optimizer.step()
        return [(r.alarm.kind, r.step, r.finding.operation, r.replay.exact) for r in watch.reports]

    assert run(array) == [("value not finite", BAD, "log", True)]
    for after in (gradients, clips):
        assert run(after=after, f=torch.sqrt) == [("gradient not finite", BAD, "sqrt", True)]
    assert run(masks) == []  # -inf is left out on purpose, and was not asked for


@pytest.mark.parametrize("evaluation", [0, 2])
@pytest.mark.parametrize("how", ["goes on", "is tested", "anomaly"])
def test_a_step_is_one_however_often_it_calls_its_closure(evaluation, how, tmp_path):
    torch.manual_seed(0)
    model, x, step, calls = linear(), torch.randn(8, 6), 0, 0
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1e-3, max_iter=4)

    def closure():
        nonlocal calls
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), torch.ones(8, 3))
        if step == BAD and calls >= evaluation:
            loss = ((loss * 0).sqrt() + 1 if how == "anomaly" else loss * 0).log()
        assert how != "is tested" or loss.isfinite()
        calls += 1
        loss.backward()
        return loss

    with (
        torch.autograd.set_detect_anomaly(how == "anomaly"),
        gv.watch(tmp_path) as watch,
        contextlib.suppress(AssertionError, RuntimeError),
    ):
        for step in range(BAD + 1):  # noqa: B007  (the closure reads it)
            calls = 0
            optimizer.step(closure)
    (report,) = watch.reports
    assert (report.step, report.alarm.since) == (BAD, BAD)
    assert report.finding.operation == ("sqrt" if how == "anomaly" else "log")
    assert report.replay.exact


def test_threads_that_train_are_watched_each_by_itself(tmp_path):
    def train_one(seed):
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        for i in range(20):
            optimizer.zero_grad()
            (model(torch.ones(2, 3)).sum() * (math.nan if i == 5 + seed else 1)).backward()
            optimizer.step()

    with gv.watch(tmp_path) as watch:
        threads = [threading.Thread(target=train_one, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(r.step for r in watch.reports) == [5, 6, 7]


def test_a_disk_that_is_full_loses_the_report_and_not_the_run(tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with gv.watch(tmp_path / "out") as watch:
        loop(lambda w, i: (w * (math.nan if i == 7 else i)).sum())
    (report,) = watch.reports
    assert report.folder is None
    assert list((tmp_path / "out").iterdir()) == []
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("training", SAMPLE, ids=lambda training: training.__name__)
def test_a_sick_training_is_diagnosed_at_its_step_and_line_and_its_healed_twin_is_not(
    training, tmp_path
):
    assert examine(training, lambda: gv.watch(tmp_path)) == ""


# --- as a command --------------------------------------------------------------------------------

SCRIPT = """
import math, os, sys, threading, time
import torch
from torch import nn
from torch.utils.data import DataLoader

def train(model, how, workers=0):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data, total = torch.arange(40.0).reshape(20, 2) / 40, 0.0
    for i, x in enumerate(DataLoader(data, batch_size=2, num_workers=workers)):
        optimizer.zero_grad()
        y = model(x)
        loss = torch.log(y.square().sum() * (i != 5))
        if how == "looks" and not math.isfinite(loss.item()):
            sys.exit(f"loss is {loss.item()}")
        loss.backward()
        optimizer.step()
        total += loss.item()  # of a step that is judged already

def forever():
    model = nn.Linear(2, 2)
    while True:
        model(torch.randn(2)).sum().backward()

if __name__ == "__main__":
    how, model = sys.argv[1], nn.Linear(2, 2)
    assert os.path.isabs(__file__)
    if how == "moves":
        os.chdir(os.path.dirname(os.path.dirname(__file__)))
    if how == "writes":
        os.fsync = lambda file: time.sleep(1)  # a slow disk
        threading.Thread(target=train, args=(model, how), daemon=True).start()
        while not any(name.startswith(".") for name in os.listdir("reports")):
            time.sleep(0.001)
    elif how == "forks":
        if os.fork() == 0:
            train(model, how)
            os._exit(0)
        os.wait()
        train(model, how)
    else:
        train(model, how, 2 if how == "exit" else 0)
    print(sys.argv, __name__)
    if how == "exit":
        sys.exit(7)
    if how == "moves":
        os.chdir("/")
    if how == "leaves":
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.2)
    if how in ("raises", "module"):
        raise KeyError("mine")
    if how in ("interrupted", "killed"):
        os.kill(os.getpid(), 2 if how == "interrupted" else 9)
        time.sleep(5)
"""


def ran(folder, how, *watched):
    """The script as Python runs it, or as another does."""
    target = ["-m", "train"] if how == "module" else ["train.py"]
    return subprocess.run(
        [sys.executable, *watched, *target, how, "--lr=1"], cwd=folder, capture_output=True,
        text=True, timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a background
    )  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        "exit",
        "raises",
        "module",
        "interrupted",
        "looks",
        "killed",
        "forks",
        "moves",
        "leaves",
        "writes",
    ],
)
def test_a_script_ends_as_it_would_have_and_its_report_is_whole(how, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "reports").mkdir()
    watched = ran(tmp_path, how, "-m", "gradviz", "watch", "--out", "reports")
    if how in ("leaves", "writes"):  # alone PyTorch may abort, for the thread is in a call
        assert watched.returncode == 0
    else:
        alone = ran(tmp_path, how)
        assert (watched.returncode, watched.stdout) == (alone.returncode, alone.stdout)
    (folder,) = (tmp_path / "reports").iterdir()
    assert folder.name == "step-5"
    graph = gv.load(folder / "graph.json")
    finding = graph.diagnose().findings[0]
    assert (finding.operation, finding.source.text) == (
        "log", "loss = torch.log(y.square().sum() * (i != 5))",
    )  # fmt: skip
    assert (folder / "report.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert watched.stderr.count("gradviz watch: step 5: ") == 1
    assert "since step" not in watched.stderr
    if how in ("raises", "module"):
        theirs = [line for line in watched.stderr.splitlines() if "gradviz watch:" not in line]
        assert theirs == alone.stderr.splitlines()


@pytest.mark.parametrize("target", ["-", "/dev/stdin"])
def test_a_script_that_comes_by_a_pipe_runs_as_python_runs_it(target, tmp_path):
    script = SCRIPT.replace("assert os.path.isabs(__file__)", "print(__file__, sys.argv)")
    alone, watched = (
        subprocess.run(
            [sys.executable, *by, target, "raises", "--lr=1"], cwd=tmp_path, capture_output=True,
            text=True, timeout=120, input=script,
        )
        for by in ([], ["-m", "gradviz", "watch", "--out", "reports"])
    )  # fmt: skip
    assert (watched.returncode, watched.stdout) == (alone.returncode, alone.stdout)
    theirs = [line for line in watched.stderr.splitlines() if "gradviz watch:" not in line]
    assert [line for line in theirs if not line.startswith("    ")] == alone.stderr.splitlines()
    (folder,) = (tmp_path / "reports").iterdir()
    assert "loss = torch.log(y.square().sum() * (i != 5))" in (folder / "report.txt").read_text()


def test_where_a_program_has_no_stderr_nothing_comes_to_its_stdout(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with gv.watch(tmp_path) as watch:
        loop(lambda w, i: (w * (math.nan if i == 7 else i)).sum())
    assert watch.reports[0].folder is not None
    assert capsys.readouterr().out == ""

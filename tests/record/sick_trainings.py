"""Small trainings that go wrong at a step that is known, for a cause that is known.

Each is a function of whether it is sick; its twin is the same training, healed. ``# here`` marks
the line that is to blame.
"""

from __future__ import annotations

import contextlib
import inspect
import math

import torch
import torch.nn.functional as F
from torch import nn

STEP, STEPS = 70, 120
"""Where most go wrong, and how many there are; `sick_battery.py` sets others."""


def run(model, loss_of, rate=1e-3, optimizer=None):
    """Train; `loss_of` is given the step."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), rate)
    for i in range(STEPS):
        optimizer.zero_grad()
        loss_of(i).backward()
        optimizer.step()


def body(width=8, out=3):
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, out))


def a_logarithm_of_zero(sick):
    model = body()

    def loss(i):
        p = model(torch.randn(8, 6)).softmax(-1)
        if sick and i == STEP:
            p = p * torch.tensor([1.0, 1.0, 0.0])
        logs = torch.log(p)  # here
        return F.nll_loss(logs, torch.arange(8) % 3)

    run(model, loss)


def a_division_by_a_norm_of_zero(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6)) * (0 if sick and i == STEP else 1)
        unit = y / y.norm()  # here
        return F.mse_loss(unit, torch.ones(8, 3))

    run(model, loss)


def a_root_of_zero_whose_slope_is_infinite(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6))
        apart = y - y.detach() if sick and i == STEP else y - 1
        distance = apart.square().sum().sqrt()  # here
        return distance + 1

    run(model, loss)


def an_exponential_that_overflows(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6))
        y = 1e4 * (1 + y.abs()) if sick and i == STEP else y
        grown = torch.exp(y)  # here
        return grown.mean().log1p()

    run(model, loss)


def a_variance_of_one_sample(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(1 if sick and i == STEP else 8, 6))
        spread = (y - y.mean(0)).square().sum(0) / (len(y) - 1)  # here
        return (spread - 1).square().sum()

    run(model, loss)


def data_that_are_not_finite(sick):
    model = body()

    def loss(i):
        x = torch.randn(8, 6)
        if sick and i == STEP:
            x[2, 3] = math.nan
        return model(x).square().mean()  # here

    run(model, loss)


class Attention(nn.Module):
    def __init__(self, safe):
        super().__init__()
        self.q, self.k, self.safe = nn.Linear(6, 6), nn.Linear(6, 6), safe

    def forward(self, x, mask):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        if self.safe:
            mask = mask | mask.all(-1, keepdim=True).logical_not().new_zeros(mask.shape)
            mask = mask & ~mask.all(-1, keepdim=True)
        scores = scores.masked_fill(mask, -math.inf)
        weights = scores.softmax(-1)  # here
        return weights @ x


def attention_to_nothing(sick):
    model = Attention(safe=not sick)

    def loss(i):
        mask = torch.zeros(5, 5, dtype=torch.bool)
        mask[4] = i == STEP
        return model(torch.randn(5, 6), mask).square().mean() + model.q.weight.square().sum()

    run(model, loss)


def a_loss_that_is_scaled_by_mistake(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6))
        return F.mse_loss(y, torch.ones(8, 3)) * (1e6 if sick and i == STEP else 1)

    run(model, loss)


def a_branch_that_is_cut_off(sick):
    model = nn.ModuleDict({"a": body(), "b": body()})

    def loss(i):
        x = torch.randn(8, 6)
        b = model["b"](x)
        if sick and i >= STEP:
            b = b.detach()
        return F.mse_loss(model["a"](x) + b, torch.ones(8, 3))

    run(model, loss)


def units_that_die(sick):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def loss(i):
        if sick and i == STEP:
            with torch.no_grad():
                model[0].bias.fill_(-100.0)
        return F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3))

    run(model, loss)


def an_optimizer_that_does_nothing(sick):
    model, x = body(), torch.linspace(-1, 1, 48).reshape(8, 6)
    run(model, lambda i: F.mse_loss(model(x), torch.ones(8, 3)), rate=0.0 if sick else 1e-4)


def a_rate_that_explodes(sick):
    model = body()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss(i):
        optimizer.param_groups[0]["lr"] = 1e30 if sick and i == STEP else 0.01
        return F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3))

    run(model, loss, optimizer=optimizer)


def by_head(head):
    """A training whose outputs go through a function of them, and of whether the step is sick."""

    def training(sick):
        model = body()
        run(model, lambda i: head(model(torch.randn(8, 6)), sick and i == STEP))

    return training


def a_variance_that_rounds_below_zero(y, sick):
    y = y * 0 + 1e4 if sick else y
    deviation = ((y * y).mean() - y.mean() ** 2 - (1e-3 if sick else 0)).sqrt()  # here
    return (deviation - 1).square()


def a_mask_that_multiplies_minus_infinity(y, sick):
    p = y.softmax(-1) * (torch.tensor([1.0, 1.0, 0.0]) if sick else 1)
    logs = p.log()  # here
    return -(logs * torch.tensor([1.0, 1.0, 0.0])).sum(-1).mean()


def a_where_that_keeps_the_slope_of_what_it_discards(y, sick):
    z = y.clamp(min=0) * (0 if sick else 1) + (0 if sick else 1e-3)
    root = z.sqrt()  # here
    return (torch.where(z > 0, root, 0 * z) - 1).square().mean()


def a_square_that_half_precision_cannot_hold(y, sick):
    squares = (1e4 * (1 + y.abs()) if sick else y).half().square()  # here
    return squares.float().mean()


def a_root_of_a_negative_number(y, sick):
    z = -1 - y.abs() if sick else 1 + y.abs()
    return (z**0.5).mean()  # here


def an_angle_between_equal_vectors(y, sick):
    cosine = torch.ones_like(y[:, 0]) + 0 * y[:, 0] if sick else y[:, 0].tanh() * 0.9
    return torch.acos(cosine).mean()  # here


def a_logarithm_of_a_sum_of_exponentials_by_hand(y, sick):
    grown = (1e4 * (1 + y.abs()) if sick else y).exp()  # here
    return grown.sum(-1).log().mean()


def a_critic_that_is_sure(y, sick):
    p = torch.sigmoid(y + (200 if sick else 0))
    return -torch.log(1 - p).mean()  # here


def a_feature_that_does_not_vary(y, sick):
    z = y * 0 + 1 if sick else y
    unit = (z - z.mean(0)) / z.std(0)  # here
    return (unit - 1).square().mean()


def a_mean_of_nothing(y, sick):
    chosen = y[y > (1e9 if sick else -1e9)]
    return chosen.square().mean()  # here


def targets_that_are_all_ignored(y, sick):
    targets = torch.full((8,), -100) if sick else torch.arange(8) % 3
    return F.cross_entropy(y, targets)  # here


def a_divergence_of_a_target_of_zero(y, sick):
    target = torch.tensor([0.5, 0.5, 0.0]) if sick else torch.tensor([0.5, 0.4, 0.1])
    logs = (target / y.softmax(-1)).log()  # here
    return (target * logs).sum(-1).mean()


def equal_eigenvalues(y, sick):
    matrix = y[:3].T @ y[:3] + torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    matrix = torch.eye(3) + 0 * matrix if sick else matrix.nan_to_num()
    vectors = torch.linalg.eigh(matrix)[1]  # here
    return vectors.square().square().sum()


def a_determinant_of_zero(y, sick):
    matrix = torch.eye(3) + y[:3].T @ y[:3]
    matrix = 0 * matrix if sick else matrix
    return -torch.logdet(matrix)  # here


def a_maximum_of_zero(y, sick):
    z = y.abs() * (0 if sick else 1)
    return (z / z.max()).mean()  # here


def a_logarithm_of_what_is_below_zero(y, sick):
    z = y.tanh() if not sick else y * 0 + 2
    return torch.log1p(-z.square() * 0.9).mean()  # here


def a_density_without_width(y, sick):
    spread = (y[:, 1] * 0 - 1000 if sick else y[:, 1]).exp()
    return ((y[:, 0] - 1).square() / spread).mean()  # here


def an_arcsine_beyond_one(y, sick):
    z = y * 0 + 1.0001 if sick else 0.9 * y.tanh()
    return torch.asin(z).mean()  # here


def a_ratio_of_policies_that_overflows(y, sick):
    ratio = (y[:, 0] - y[:, 0].detach() + (100 if sick else 0)).exp()  # here
    return (ratio * torch.linspace(-1, 1, 8)).sum() + y.square().mean()


def targets_that_are_longer_than_what_is_heard(y, sick):
    logs = y.log_softmax(-1)[:, None]
    targets = torch.tensor([[1, 2, 1, 2, 1, 2, 1, 2, 1]])[:, : 9 if sick else 3]
    length = torch.tensor([targets.shape[1]])
    return F.ctc_loss(logs, targets, torch.tensor([8]), length)  # here


def an_input_that_is_far_out(sick):
    model = nn.Linear(6, 3)

    def loss(i):
        x = torch.randn(8, 6)
        if sick and i == STEP:
            x[0, 0] = 1e5
        return F.mse_loss(model(x), torch.ones(8, 3))

    run(model, loss)


def targets_in_another_unit(sick):
    model = body()
    run(model, lambda i: F.mse_loss(
        model(torch.randn(8, 6)), torch.full((8, 3), 1e4 if sick and i == STEP else 1.0)
    ))  # fmt: skip


def a_recurrence_that_explodes(sick):
    model = nn.Linear(6, 6)

    def loss(i):
        if sick and i == STEP:
            with torch.no_grad():
                model.weight.mul_(40)
        h = torch.randn(8, 6)
        for _ in range(30):
            h = model(h) if sick and i >= STEP else model(h).tanh()  # here
        return h.square().mean()

    run(model, loss)


def a_weight_that_was_written_to(sick):
    model = body()

    def loss(i):
        if sick and i == STEP:
            with torch.no_grad():
                model[2].weight[0, 0] = math.inf  # here
        return model(torch.randn(8, 6)).square().mean()

    run(model, loss)


def a_learned_temperature_of_zero(sick):
    model = body()
    temperature = nn.Parameter(torch.ones(()))

    def loss(i):
        if sick and i == STEP:
            with torch.no_grad():
                temperature.zero_()
        scaled = model(torch.randn(8, 6)) / temperature  # here
        return F.cross_entropy(scaled, torch.arange(8) % 3)

    run(model, loss, optimizer=torch.optim.Adam([*model.parameters(), temperature], 1e-4))


def a_loss_that_is_cut_off(sick):
    model = body()
    run(model, lambda _: (
        model(torch.randn(8, 6)).square().mean() + 2).clamp(min=100 if sick else 0)  # here
    )  # fmt: skip


def an_optimizer_of_another_model(sick):
    model, other, x = body(), body(), torch.linspace(-1, 1, 48).reshape(8, 6)
    parameters = (other if sick else model).parameters()
    optimizer = torch.optim.SGD(parameters, 1e-4)
    run(model, lambda i: F.mse_loss(model(x), torch.ones(8, 3)), optimizer=optimizer)


def a_step_that_is_missing(sick):
    model = body()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    for i in range(STEPS):
        optimizer.zero_grad(set_to_none=i % 2 == 0)
        F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3)).backward()
        if not sick:
            optimizer.step()


def gradients_that_are_zeroed_before_the_step(sick):
    model = body()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    for _ in range(STEPS):
        if not sick:
            optimizer.zero_grad()
        F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if sick:
            optimizer.zero_grad()
        optimizer.step()


def a_head_that_is_replaced_after_the_optimizer_was_made(sick):
    model = body()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    if sick:
        model[2] = nn.Linear(8, 3)
    for _ in range(STEPS):
        model.zero_grad()
        F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3)).backward()
        optimizer.step()


def a_scale_that_collapses(sick):
    model = body()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    for i in range(STEPS):
        optimizer.zero_grad()
        y = model(torch.randn(8, 6))
        grown = (y - y.detach() * (sick and i >= STEP)).square().sum() + (0 if sick else 1)
        scaler.scale(grown.sqrt() if sick and i >= STEP else grown).backward()
        scaler.step(optimizer)
        scaler.update()


def a_frozen_part(sick):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def loss(i):
        h = model[:2](torch.randn(8, 6))
        if sick and i >= STEP:
            h = torch.tensor(h.tolist())
        return F.mse_loss(model[2](h), torch.ones(8, 3))

    run(model, loss)


def a_step_of_a_rate_that_is_far_too_large(sick):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def loss(i):
        optimizer.param_groups[0]["lr"] = 1e6 if sick and i == STEP else 0.01
        return F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3))

    run(model, loss, optimizer=optimizer)


def gradients_that_are_never_zeroed(sick):
    model = body()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    for i in range(STEPS):
        if not (sick and i >= STEP):
            optimizer.zero_grad(set_to_none=i % 2 == 0)
        for part in torch.randn(12, 6).split(4):  # three passes of one step are meant
            (F.mse_loss(model(part), torch.ones(4, 3)) / 3).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def a_rate_that_makes_the_loss_grow(sick):
    model, x = nn.Linear(6, 3), torch.linspace(-2, 2, 48).reshape(8, 6)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def loss(i):
        optimizer.param_groups[0]["lr"] = 0.375 if sick and i >= STEP else 0.01
        return F.mse_loss(model(x + 0.1 * torch.randn(8, 6)), torch.ones(8, 3))

    run(model, loss, optimizer=optimizer)


HEADS = {
    head: kind
    for kind, heads in {
        "loss not finite": (
            a_variance_that_rounds_below_zero, a_mask_that_multiplies_minus_infinity,
            a_square_that_half_precision_cannot_hold, a_root_of_a_negative_number,
            a_logarithm_of_a_sum_of_exponentials_by_hand, a_critic_that_is_sure,
            a_feature_that_does_not_vary, a_mean_of_nothing, targets_that_are_all_ignored,
            a_divergence_of_a_target_of_zero, a_determinant_of_zero, a_maximum_of_zero,
            a_logarithm_of_what_is_below_zero, a_density_without_width, an_arcsine_beyond_one,
            a_ratio_of_policies_that_overflows, targets_that_are_longer_than_what_is_heard,
        ),
        "gradient not finite": (
            a_where_that_keeps_the_slope_of_what_it_discards, an_angle_between_equal_vectors,
            equal_eigenvalues,
        ),
    }.items()
    for head in heads
}  # fmt: skip
FIRST = -1
"""Wrong from the first step on."""
SICK = {
    a_logarithm_of_zero: ("loss not finite", 0),
    a_division_by_a_norm_of_zero: ("loss not finite", 0),
    a_root_of_zero_whose_slope_is_infinite: ("gradient not finite", 0),
    an_exponential_that_overflows: ("loss not finite", 0),
    a_variance_of_one_sample: ("loss not finite", 0),
    data_that_are_not_finite: ("loss not finite", 0),
    attention_to_nothing: ("loss not finite", 0),
    a_loss_that_is_scaled_by_mistake: ("spike", 0),
    a_branch_that_is_cut_off: ("no gradient", 0),
    units_that_die: ("no gradient", 0),
    an_optimizer_that_does_nothing: ("no update", FIRST),
    a_rate_that_explodes: ("loss not finite", 1),
    an_input_that_is_far_out: ("spike", 0),
    targets_in_another_unit: ("spike", 0),
    a_recurrence_that_explodes: ("loss not finite", 0),
    a_weight_that_was_written_to: ("loss not finite", 0),
    a_learned_temperature_of_zero: ("loss not finite", 0),
    a_loss_that_is_cut_off: ("constant loss", FIRST),
    an_optimizer_of_another_model: ("no update", FIRST),
    a_step_that_is_missing: ("no update", FIRST),
    gradients_that_are_zeroed_before_the_step: ("no update", FIRST),
    a_head_that_is_replaced_after_the_optimizer_was_made: ("no update", FIRST),
    a_scale_that_collapses: ("collapsing scale", 0),
    a_frozen_part: ("no gradient", 0),
    a_step_of_a_rate_that_is_far_too_large: ("spike", 1),
    gradients_that_are_never_zeroed: ("kept gradients", 0),
    a_rate_that_makes_the_loss_grow: ("diverging loss", None),
    **{head: (kind, 0) for head, kind in HEADS.items()},
}
"""Each with what the alarm is, and how long after `STEP` it begins; None: some time after."""
SAMPLE = [*list(SICK)[:12], *list(SICK)[13::4], *(t for t in SICK if SICK[t][0] == "no update")]
SAMPLE = list(dict.fromkeys(SAMPLE))
"""What the suite runs."""


def examine(training, watch_of):
    """What is not as it should be of a sick training and of its twin; "" if nothing is."""
    kind, after = SICK[training]
    step = 0 if after == FIRST else STEP + (after or 0)
    run_it = by_head(training) if training in HEADS else training
    torch.manual_seed(0)
    with watch_of() as watch:
        run_it(False)
    if watch.reports:
        return f"its twin is not silent: {watch.reports[0].text}"
    torch.manual_seed(0)
    with watch_of() as watch, contextlib.suppress(RuntimeError):  # a run may end of what is NaN
        run_it(True)
    if not watch.reports:
        return "nothing was reported"
    report = watch.reports[0]
    begins = step if after is not None else max(step, report.alarm.since)  # it takes a while
    if (report.alarm.kind, report.alarm.since) != (kind, begins):
        return f"it was to be {kind!r} at step {step}: {report.text}"
    if not report.replay.exact:
        return f"the replay is not exact: {report.text}"
    marked = [x.strip() for x in inspect.getsource(training).splitlines() if x.endswith("# here")]
    if marked and (report.finding is None or report.finding.source is None):
        return "" if "went in so" in report.text else f"no line is blamed: {report.text}"
    if marked and report.finding.source.text != marked[0]:
        return f"another line is blamed: {report.text}"
    return ""

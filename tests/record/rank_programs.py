"""What one rank of several does; `torchrun` starts it, and it writes down what came of it.

torchrun ... rank_programs.py SCENARIO FOLDER
"""

import datetime
import functools
import json
import math
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

import gradviz as gv
from gradviz.record import rendezvous

warnings.simplefilter("ignore")
RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
STEPS, SICK = 5, 3
MESHES = {"fsdp": (WORLD,), "hybrid": (2, WORLD // 2)}
"""Along the first of two dimensions each part is held twice, along the last it is sharded."""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.drop = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1)
        self.hidden, self.extra, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x, extra=True):
        h = torch.relu(self.norm(self.first(x)))
        h = torch.relu(self.hidden(self.drop(h)))
        h = h + self.extra(h) if extra else h
        return self.last(h).squeeze(-1) * torch.log(x[:, 0].abs())  # what makes it sick


def wrapped(kind):
    net = Net()
    if kind in MESHES:
        from torch.distributed.fsdp import fully_shard

        names = ("copies", "parts")[-len(MESHES[kind]) :]
        mesh = init_device_mesh("cpu", MESHES[kind], mesh_dim_names=names)
        fully_shard(net.hidden, mesh=mesh)
        return fully_shard(net, mesh=mesh)
    return nn.parallel.DistributedDataParallel(net, find_unused_parameters=kind == "unused")


def batch(step, sick=True):
    generator = torch.Generator().manual_seed(100 * step + RANK)
    x = torch.randn(6 - (RANK == 1), 4, generator=generator)  # of uneven sizes
    if sick and step == SICK and RANK == 1:
        x[2, 0] = 0
    return x


def uses_extra(kind, step):
    return kind != "unused" or (RANK != 0 and step % 3 != 1)


def bits(*found):
    """Numbers of several tensors that are the same only where every bit is."""
    parts = (f.to_local() if hasattr(f, "to_local") else f for f in found)
    return [part.detach().contiguous().view(-1).view(torch.uint8).tolist() for part in parts]


def train(kind, around, sick=True, spoil=None):
    """Train; returns every bit of what came of it."""
    model = wrapped(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.manual_seed(RANK)
    losses = []

    def one(step):
        optimizer.zero_grad()
        if kind in MESHES and step == SICK:  # two passes, of which the second is reduced
            model.set_requires_gradient_sync(False)
            model(batch(step, sick)).square().mean().backward()
            model.set_requires_gradient_sync(True)
        loss = model(batch(step, sick), uses_extra(kind, step)).square().mean()
        if spoil is not None and step == SICK:
            loss = loss + spoil
        loss.backward()
        losses.append(loss.detach().clone())
        optimizer.step()

    with around(model) as step_of:
        for step in range(STEPS):
            with step_of(step):
                one(step)
    return bits(*losses, *model.parameters(), *model.buffers())


class Plain:
    def __init__(self, model):
        pass

    def __enter__(self):
        return lambda step: self

    def __exit__(self, *_):
        pass


class Recorded:
    """Every step is recorded, and gathered."""

    results = None

    def __init__(self, folder, model):
        self.folder, self.model = folder, model

    def __enter__(self):
        Recorded.results = []
        self.recorder = gv.record_training(self.model, self.folder / f"run-{RANK}.gvtrain")
        return lambda step: self.step()

    def __exit__(self, *_):
        self.recorder.graph.save(self.folder / f"graph-{RANK}.json")

    def step(self):
        outer = self

        class Step:
            def __enter__(self):
                self.inside = outer.recorder.step()
                self.inside.__enter__()

            def __exit__(self, *error):
                self.inside.__exit__(*error)
                Recorded.results.append(gv.gather(outer.recorder.graph, timeout=60))

        return Step()


class Watched:
    reports = None

    def __init__(self, folder, model):
        self.watch = gv.watch(folder / "watch")

    def __enter__(self):
        self.watch.__enter__()
        return lambda step: Plain(None)

    def __exit__(self, *error):
        self.watch.__exit__(*error)
        Watched.reports = self.watch.reports


def told(reports):
    return [[r.step, r.rank, r.folder.name, r.text, r.replay.exact, r.replay.lost] for r in reports]


def by_hand(kind, step=0):
    """The norms of a first step's gradients: this rank's, and of their average over all ranks."""
    net = Net()
    torch.manual_seed(RANK)
    net(batch(step), uses_extra(kind, step)).square().mean().backward()
    found = {}
    for name, p in net.named_parameters():
        own = None if p.grad is None else p.grad.norm().item()
        mean = torch.zeros_like(p) if p.grad is None else p.grad.clone()
        dist.all_reduce(mean)
        found[name] = [own, (mean / WORLD).norm().item()]
    return found


def data_parallel(kind, folder):
    folder = folder / kind
    folder.mkdir(exist_ok=True)
    say = {"by hand": by_hand(kind)}
    plain = train(kind, Plain)
    say["recorded alike"] = train(kind, functools.partial(Recorded, folder)) == plain
    results = Recorded.results
    if RANK == 0:
        say["rows"] = {row.name: [row.before, row.reduced, row.unused] for row in results[0].rows}
    say["watched alike"] = train(kind, functools.partial(Watched, folder)) == plain
    say["reports"] = told(Watched.reports)
    spoil = math.nan if RANK == 1 else 0.0  # of one rank alone, whose gradients are as they were
    plain = train(kind, Plain, False, spoil)
    watched = functools.partial(Watched, folder / "spoilt")
    say["spoilt alike"] = train(kind, watched, False, spoil) == plain
    say["spoilt"] = told(Watched.reports)
    if RANK == 0:
        sick = results[SICK]
        say["kinds"] = [[f.kind for f in r.findings] for r in results]
        say["first"] = [sick.first.rank, sick.first.operation, sick.first.line, sick.first.code]
        say["text"] = results[-1].text
        sick.save(folder / "ranks.svg")
    return say


def traced(folder):
    """A trace by one rank alone, and by all."""
    say, x = {}, batch(0)
    for kind in ("ddp", "fsdp"):
        model = wrapped(kind)

        def loss(model=model):
            torch.manual_seed(RANK)
            return model(x).square().mean()

        before = bits(*model.parameters(), *model.buffers())
        if RANK == 0:
            try:
                say[kind, "alone"] = len(gv.trace(loss))
            except gv.TraceError as error:
                say[kind, "alone"] = str(error)
        dist.barrier()
        graph = gv.trace(loss)
        say[kind, "gradients"] = {
            name: None if g is None else float((g**2).sum() ** 0.5)
            for name, g in graph.gradients().items()
        }
        say[kind, "alike"] = bits(*model.parameters(), *model.buffers()) == before
        loss().backward()  # nothing is left over that it would stumble on
        dist.barrier()
    return {" ".join(key): value for key, value in say.items()}


def tensor_parallel(folder):
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def run(record):
        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        model = parallelize_module(make(), init_device_mesh("cpu", (WORLD,)), plan)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recorder = gv.record_training(model, folder / f"tensor-{RANK}.gvtrain") if record else None
        for _ in range(3):
            with recorder.step() if record else Plain(None):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
        return bits(*model.parameters()), recorder

    plain, _ = run(False)
    seen, recorder = run(True)
    ranks = gv.gather(recorder.graph, timeout=60)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    wholes = {name: p.grad.norm().item() for name, p in model.named_parameters()}
    rows = {} if ranks is None else {row.name: row.reduced for row in ranks.rows}
    return {
        "alike": plain == seen,
        "by hand": wholes,
        "rows": rows,
        "ok": ranks is None or ranks.ok,
    }


def pipeline(folder):
    from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

    def run(around):
        torch.manual_seed(0)
        parts = [nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 1))]
        stage = PipelineStage(parts[RANK], RANK, WORLD, torch.device("cpu"))
        schedule = ScheduleGPipe(stage, 2, loss_fn=lambda o, t: (o.log() - t).square().mean())
        optimizer = torch.optim.SGD(parts[RANK].parameters(), lr=0.05)
        with around(parts[RANK]) as step_of:
            for step in range(3):
                generator = torch.Generator().manual_seed(step)
                x, t = (torch.randn(8, n, generator=generator) for n in (4, 1))
                with step_of(step):
                    optimizer.zero_grad()
                    schedule.step(x) if RANK == 0 else schedule.step(target=t)
                    optimizer.step()
        return bits(*parts[RANK].parameters())

    plain = run(Plain)
    alike = run(functools.partial(Recorded, folder)) == plain
    say = {"recorded alike": alike}
    say["watched alike"] = run(functools.partial(Watched, folder / "pipeline")) == plain
    say["reports"] = told(Watched.reports)
    return say


def two(folder):
    rendezvous.PATIENCE = 1.0
    say = {kind: data_parallel(kind, folder) for kind in ("ddp", "unused", "fsdp")}
    say["traced"] = traced(folder)
    say["tensor"] = tensor_parallel(folder)
    say["pipeline"] = pipeline(folder)
    return say


def four(folder):
    """Shards that are held twice; a rank that parts from the others, one is late, and one dies."""
    hybrid = data_parallel("hybrid", folder)
    model = wrapped("unused")
    if RANK == 3:
        with torch.no_grad():
            model.module.hidden.weight[0, 0] += 1e-5
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the others when one has died
    recorder = gv.record_training(model, folder / f"run-{RANK}.gvtrain")
    with recorder.step():
        model(batch(0), RANK != 0).square().mean().backward()
    recorder.graph.save(folder / f"graph-{RANK}.json")
    whole = gv.gather(recorder.graph, timeout=60)
    if RANK == 1:
        time.sleep(2)
    late = gv.gather(recorder.graph, timeout=0.5)
    in_time = gv.gather(recorder.graph, step=7, timeout=60)
    if RANK == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    dead = gv.gather(recorder.graph, timeout=2)
    results = {"whole": whole, "late": late, "in time": in_time, "dead": dead}
    return {
        "hybrid": hybrid,
        **{
            name: None if r is None else [r.text, r.missing, [f.kind for f in r.findings]]
            for name, r in results.items()
        },
    }


if __name__ == "__main__":
    # A test that hangs ends by itself.
    signal.alarm(280)
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=120))
    torch.set_num_threads(1)
    scenario, place = sys.argv[1], Path(sys.argv[2])
    said = {"two": two, "four": four}[scenario](place)
    (place / f"said-{RANK}.json").write_text(json.dumps(said), encoding="utf-8")
    if scenario == "two":
        dist.barrier()
        dist.destroy_process_group()
    else:
        os._exit(0)  # one is dead: there is nobody to say goodbye to

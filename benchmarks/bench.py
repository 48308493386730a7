"""How fast gradviz is, next to the libraries one would compare it with: ``make bench``.

All contestants of a section run in this one process and take turns, so that a slow moment of
the machine hits them alike; the table shows medians. The garbage collector runs before each
measured call and is off during it, for everyone. A section first checks that its contestants
compute the same numbers.
"""

import argparse
import contextlib
import gc
import io
import itertools
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import autograd
import autograd.numpy as anp
import autograd.scipy.special
import networkx as nx
import numpy as np
import scipy.special
import threadpoolctl
import torch
import torchlens
import torchview
import torchviz
from micrograd.engine import Value

import gradviz as gv

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import torch_programs

Contestant = tuple[Callable, Callable]  # prepare() -> state, not measured; run(state), measured


def race(contestants: dict[str, Contestant], turns: int) -> dict[str, float]:
    """Return median seconds of each contestant; a turn is a run to warm up and two to keep."""
    seconds = {name: [] for name in contestants}
    for _ in range(turns):
        for name in random.sample(list(contestants), len(contestants)):
            prepare, run = contestants[name]
            for warm in (False, True, True):
                state = prepare()
                gc.collect()
                gc.disable()
                start = time.perf_counter()
                result = run(state)
                stop = time.perf_counter()
                gc.enable()
                del state, result
                if warm:
                    seconds[name].append(stop - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def report(title: str, unit: str, times: dict[str, float], targets: dict[str, float]) -> None:
    """Print one section: the first of `times` is ours, `targets` are ratios to the others."""
    ours, *others = times
    print(f"\n{title}\n  {ours:<36}{times[ours]:10.4g} {unit}")
    for other in others:
        ratio = times[ours] / times[other]
        line = f"  {other:<36}{times[other]:10.4g} {unit:<6}ours/its {ratio:6.2f}x"
        if target := targets.get(other):
            line += f"   target {target:g}x   {'pass' if ratio <= target else 'MISS'}"
        print(line)


# A network of scalars, 2-16-16-1, written once for any objects that can add and multiply.
SIZES = 2, 16, 16, 1
POINT = 0.5, -1.25
OPERATIONS = 2 + sum(  # the loss; a product and a sum for each weight, the hidden layers' relu
    width * (2 * inputs + (width > 1)) for inputs, width in itertools.pairwise(SIZES)
)


def network(leaf: Callable) -> tuple[list, list]:
    """Return the weights of each layer's neurons, always the same, and the inputs."""
    rng = random.Random(0)
    layers = [
        [
            (
                [leaf(rng.gauss(0, 0.5), f"w{n}_{j}_{i}") for i in range(inputs)],
                leaf(rng.gauss(0, 0.5), f"b{n}_{j}"),
            )
            for j in range(width)
        ]
        for n, (inputs, width) in enumerate(itertools.pairwise(SIZES))
    ]
    return layers, [leaf(x, f"x{i}") for i, x in enumerate(POINT)]


def forward(layers: list, xs: list, relu: Callable) -> object:
    for layer in layers:
        xs = [sum((w * x for w, x in zip(ws, xs, strict=True)), b) for ws, b in layer]
        if len(layer) > 1:
            xs = [relu(x) for x in xs]
    return (xs[0] + -1.0) ** 2


LIBRARIES = {  # how to make a leaf, relu, backward
    "gradviz": (gv.parameter, lambda x: np.maximum(x, 0.0), lambda loss: gv.graph(loss).backward()),
    "micrograd": (lambda v, name: Value(v), Value.relu, Value.backward),
    "torch": (
        lambda v, name: torch.tensor(v, dtype=torch.float64, requires_grad=True),
        torch.Tensor.relu,
        torch.Tensor.backward,
    ),
}


def gradients(library: str) -> dict[str, float]:
    leaf, relu, backward = LIBRARIES[library]
    leaves = {}
    loss = forward(*network(lambda v, name: leaves.setdefault(name, leaf(v, name))), relu)
    backward(loss)
    if library == "gradviz":
        g = gv.graph(loss)
        for u, _, message in g.dag.edges(data="message"):
            assert message is not None or g.dag.nodes[u]["kind"] == "constant"
        return {name: float(gradient) for name, gradient in g.gradients().items()}
    return {name: float(x.grad) for name, x in leaves.items()}


def scalars(turns: int) -> None:
    expected = gradients("torch")
    for library in LIBRARIES:
        found = gradients(library)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, rtol=1e-10)

    def recording(leaf, relu, backward):
        return (lambda: network(leaf)), (lambda state: forward(*state, relu))

    def backward(leaf, relu, backward):
        return (lambda: forward(*network(leaf), relu)), backward

    def per_operation(times):
        return {name: 1e6 * t / OPERATIONS for name, t in times.items()}

    times = race({name: recording(*library) for name, library in LIBRARIES.items()}, turns)
    title = f"Recording, per operation: a network of scalars, 2-16-16-1, {OPERATIONS} operations"
    report(title, "µs", per_operation(times), {"micrograd": 1.0})

    times = race({name: backward(*library) for name, library in LIBRARIES.items()}, turns)
    title = "Backward, per operation: the same; ours keeps the message of every edge"
    report(title, "µs", per_operation(times), {"torch": 1.0})

    def recorded():
        leaf, relu, _ = LIBRARIES["gradviz"]
        g = gv.graph(forward(*network(leaf), relu))
        g.backward()
        return g

    nodes, edges = list(recorded().dag), list(recorded().dag.edges(keys=True))

    def bare(_):
        dag = nx.MultiDiGraph()
        dag.add_nodes_from(nodes)
        dag.add_edges_from(edges)
        return dag

    times = race(
        {
            "gradviz, dag with all attributes": (recorded, lambda g: g.dag),
            "networkx, the same without any": (lambda: None, bare),
        },
        turns,
    )
    report("The NetworkX graph, per operation", "µs", per_operation(times), {})


# One training step of a network of arrays, 784-256-128-10, batch 64: the loss is the same text
# for NumPy, gradviz and autograd.
def classifier(np):
    def loss(params, x, t):
        a1 = np.maximum(x @ params["w1"] + params["b1"], 0)
        a2 = np.maximum(a1 @ params["w2"] + params["b2"], 0)
        z = a2 @ params["w3"] + params["b3"]
        z = z - np.max(z, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(t * z, axis=1))

    return loss


def by_hand(p, x, t):
    """Do what one would write without any library: forward, then the gradients."""
    a1 = np.maximum(x @ p["w1"] + p["b1"], 0)
    a2 = np.maximum(a1 @ p["w2"] + p["b2"], 0)
    z = a2 @ p["w3"] + p["b3"]
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - (t * z).sum(axis=1))
    d3 = (e / total - t) / len(x)
    d2 = (d3 @ p["w3"].T) * (a2 > 0)
    d1 = (d2 @ p["w2"].T) * (a1 > 0)
    gradients = {
        "w1": x.T @ d1, "b1": d1.sum(axis=0),
        "w2": a1.T @ d2, "b2": d2.sum(axis=0),
        "w3": a2.T @ d3, "b3": d3.sum(axis=0),
    }  # fmt: skip
    return loss, gradients


def arrays(turns: int, dtype: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    params = {}
    for n, (rows, columns) in enumerate([(784, 256), (256, 128), (128, 10)], 1):
        params[f"w{n}"] = (rng.normal(size=(rows, columns)) / np.sqrt(rows)).astype(dtype)
        params[f"b{n}"] = np.zeros(columns, dtype)
    x = rng.normal(size=(64, 784)).astype(dtype)
    t = np.eye(10, dtype=dtype)[rng.integers(10, size=64)]

    tparams = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
    tx, tt = torch.tensor(x), torch.tensor(t)

    def with_torch(_):
        p = tparams
        a1 = torch.relu(torch.addmm(p["b1"], tx, p["w1"]))
        a2 = torch.relu(torch.addmm(p["b2"], a1, p["w2"]))
        loss = torch.nn.functional.cross_entropy(torch.addmm(p["b3"], a2, p["w3"]), tt)
        return dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))

    loss, with_autograd = classifier(np), autograd.value_and_grad(classifier(anp))
    runs = {
        "gradviz": lambda _: gv.trace(loss, params, x, t, wrt=("params",)).gradients(),
        "NumPy, gradients by hand": lambda _: by_hand(params, x, t)[1],
        "autograd": lambda _: with_autograd(params, x, t)[1],
        "torch": with_torch,
    }
    expected = by_hand(params, x, t)[1]
    for run in runs.values():
        found = {name.removeprefix("params."): np.asarray(g) for name, g in run(None).items()}
        assert set(found) >= set(expected)
        for name, g in expected.items():
            np.testing.assert_allclose(found[name], g, atol=1e-6)

    with threadpoolctl.threadpool_limits(threads):
        torch.set_num_threads(threads)
        times = race({name: ((lambda: None), run) for name, run in runs.items()}, turns)
    report(
        f"A training step: 784-256-128-10, batch 64, {dtype}, threads: {threads}",
        "ms",
        {name: 1e3 * t for name, t in times.items()},
        {"NumPy, gradients by hand": 1.3},
    )


def processes(turns: int) -> None:
    """Time whole processes, interpreter start included."""
    python = sys.executable
    gradviz = shutil.which("gradviz", path=Path(python).parent) or sys.exit("not installed")
    with tempfile.TemporaryDirectory() as folder:

        def process(*command: str) -> Contestant:
            return (lambda: None), lambda _: subprocess.run(
                command, cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True
            )

        times = race(
            {
                "import gradviz": process(python, "-c", "import gradviz"),
                "import networkx": process(python, "-c", "import networkx"),
                "gradviz demo": process(gradviz, "demo"),
                "import numpy, networkx": process(python, "-c", "import numpy, networkx"),
            },
            turns,
        )
    ms = {name: 1e3 * t for name, t in times.items()}
    demo = {name: ms[name] for name in ("gradviz demo", "import numpy, networkx")}
    report("Importing, a whole process", "ms", {n: t for n, t in ms.items() if n not in demo}, {})
    report("The demo, a whole process", "ms", demo, {"import numpy, networkx": 2.0})


LONG = 100_000
CALLS = 40


def scalar_chain(x):
    """Compute with LONG operations, three to a step."""
    y = x
    for _ in range(LONG // 3):
        y = y * 0.999 + x * 0.001
    return y


def long(turns: int) -> None:
    """Time a program of scalars that is long, and rules that are borrowed from autograd."""

    def with_torch(_):
        x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(scalar_chain(x), x)[0].item()

    runs = {
        "gradviz": lambda _: gv.trace(scalar_chain, 0.5).grad("x"),
        "torch": with_torch,
    }
    np.testing.assert_allclose(*(run(None) for run in runs.values()), rtol=1e-10)
    times = race({name: ((lambda: None), run) for name, run in runs.items()}, turns)
    title = f"Recording and backward, {LONG:,} operations on scalars, one after the other"
    report(title, "ms", {name: 1e3 * t for name, t in times.items()}, {"torch": 2.0})

    def borrowed(np, special):
        def program(x):
            for _ in range(CALLS // 2):
                x = special.erf(x) + special.expit(x)
            return np.sum(x)

        return program

    x = np.linspace(-1.0, 1.0, 10)
    ours, with_autograd = (
        borrowed(np, scipy.special),
        autograd.value_and_grad(borrowed(anp, autograd.scipy.special)),
    )
    runs = {
        "gradviz": lambda _: gv.trace(ours, x).grad("x"),
        "autograd": lambda _: with_autograd(x)[1],
    }
    np.testing.assert_allclose(*(run(None) for run in runs.values()), rtol=1e-12)
    times = race({name: ((lambda: None), run) for name, run in runs.items()}, 20 * turns)
    title = "A rule borrowed from autograd, per call: erf and expit, value and gradient"
    report(title, "µs", {name: 1e6 * t / CALLS for name, t in times.items()}, {"autograd": 1.0})


# --- models of the usual size --------------------------------------------------------------------


def captured(model, arguments, loss):
    """Capture a step, as a user would."""
    return gv.trace(model, *arguments, **({"loss": loss} if loss else {}))


def stepped(model, arguments, loss) -> None:
    """Take the step alone."""
    model.zero_grad()
    output = model(*arguments)
    (output if loss is None else loss(output)).backward()


def quietly(call: Callable) -> Callable:
    """Call it for a race, without what it prints and warns of."""

    def run(_):
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return call()

    return run


def models(turns: int) -> None:
    """Time the capture of models, next to the tools that show models."""
    for name in MODELS:
        torch.manual_seed(0)
        step = getattr(torch_programs, name)()
        graph = captured(*step)
        stepped(*step)
        for path, parameter in step[0].named_parameters():
            norm = parameter.grad.norm().item()
            np.testing.assert_allclose(graph.grad(path).norm, norm, rtol=1e-3, atol=1e-9)

        def drawn(_, step=step):
            with tempfile.TemporaryDirectory() as folder:
                captured(*step).draw().save(f"{folder}/model.svg")

        lean = {
            "gradviz, the step captured lean": lambda _, step=step: captured(*step),
            "the step alone": lambda _, step=step: stepped(*step),
        }
        tools = {
            "gradviz, captured and drawn on disk": drawn,
            "torchlens, forward alone": quietly(
                lambda step=step: torchlens.trace(step[0], step[1])
            ),
            "torchview, shapes alone": quietly(
                lambda step=step: torchview.draw_graph(step[0], input_data=step[1])
            ),
            "torchviz, names of backward operations": quietly(
                lambda step=step: torchviz.make_dot(
                    step[0](*step[1]), params=dict(step[0].named_parameters())
                )
            ),
        }
        values, edges = len(graph), sum(map(len, graph.operands))
        title = f"{name}: {values} values, {edges} edges, threads:"
        for threads in sorted({1, os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            times = race({name: ((lambda: None), run) for name, run in lean.items()}, turns)
            ms = {name: 1e3 * t for name, t in times.items()}
            report(f"{title} {threads}", "ms", ms, {"the step alone": 1.3})
        # (Pictures take seconds: two of each tell enough.)
        times = race({name: ((lambda: None), run) for name, run in tools.items()}, 1)
        ms = {name: 1e3 * t for name, t in times.items()}
        report(f"{title} {torch.get_num_threads()}", "ms", ms, {})
        spent = ms["gradviz, captured and drawn on disk"]
        verdict = "pass" if spent <= 2000 else "MISS"
        print(f"  captured and drawn: {spent:.0f} ms   target 2000 ms   {verdict}")
        megabytes = {
            shown: in_process(f"--peak={kind}", f"--model={name}") / 2**20
            for kind, shown in (("captured", "gradviz, lean"), ("stepped", "the step alone"))
        }
        report(f"{name}: peak memory beyond the model", "MiB", megabytes, {"the step alone": 1.2})


def trained(step) -> Callable[[], None]:
    """A step of training, optimizer included; the first is made."""
    model, arguments, loss = step
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def run() -> None:
        optimizer.zero_grad()
        output = model(*arguments)
        (output if loss is None else loss(output)).backward()
        optimizer.step()

    run()
    return run


def watched(turns: int) -> None:
    """Time training steps under watch, next to plain ones and to torch's anomaly mode."""
    torch.set_num_threads(os.cpu_count() or 1)
    for name in MODELS:
        torch.manual_seed(0)
        run = trained(getattr(torch_programs, name)())
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as watches:

            def plain(watches=watches):
                watches.close()

            def begin(watches=watches, folder=folder, run=run):
                watches.close()
                watches.enter_context(gv.watch(folder))
                run()  # the first looks for optimizers

            def anomalous(_, run=run):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with torch.autograd.set_detect_anomaly(True):
                        run()

            runs = {
                "gradviz, a step watched": (begin, lambda _, run=run: run()),
                "the step alone": (plain, lambda _, run=run: run()),
                "torch's anomaly mode": (plain, anomalous),
            }
            times = race(runs, 4 * turns)
        title = f"{name}: a step of training, threads: {torch.get_num_threads()}"
        report(title, "ms", {n: 1e3 * t for n, t in times.items()}, {"the step alone": 1.03})
        peaks = {
            shown: statistics.median(
                in_process(f"--peak={kind}", f"--model={name}") for _ in range(5)
            )
            for kind, shown in (("watched", "gradviz, watched"), ("trained", "the steps alone"))
        }
        megabytes = {shown: size / 2**20 for shown, size in peaks.items()}
        report(f"{name}: peak memory beyond the model", "MiB", megabytes, {"the steps alone": 1.02})


def train(step, watch=contextlib.nullcontext) -> None:
    """Take three steps."""
    run = trained(step)
    with watch():
        run()
        run()


def in_process(*arguments: str) -> float:
    """The number that this script prints, run in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(kind: str, name: str) -> float:
    """Bytes that a step takes at most, beyond what is there before (Linux)."""
    torch.manual_seed(0)
    step = getattr(torch_programs, name)()
    small = torch_programs.gpt(vocabulary=9, width=8, heads=2, layers=1, tokens=4)
    captured(*small)  # what is imported is there before
    train(small, lambda: gv.watch(tempfile.gettempdir()))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
    before = memory("VmRSS")
    kinds = {
        "captured": lambda: captured(*step),
        "stepped": lambda: stepped(*step),
        "trained": lambda: train(step),
        "watched": lambda: train(step, lambda: gv.watch(tempfile.gettempdir())),
    }
    kept = kinds[kind]()
    after = memory("VmHWM")
    del kept
    return after - before


def memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line.split()[1] for line in lines if line.startswith(field)))


def large(turns: int) -> None:
    """Time the folded picture of a long NumPy program, from recording to disk; and its memory."""

    def drawn(_):
        with tempfile.TemporaryDirectory() as folder:
            gv.trace(scalar_chain, 0.5).draw().save(f"{folder}/long.svg")

    times = race({"gradviz": ((lambda: None), drawn)}, turns)
    title = f"{LONG:,} operations on scalars: recorded, differentiated, folded, drawn on disk"
    report(title, "s", times, {})
    print(f"  target 3 s   {'pass' if times['gradviz'] <= 3 else 'MISS'}")
    tracemalloc.start()
    graph = gv.trace(scalar_chain, 0.5)
    _ = graph.draw().svg
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    values = LONG * np.float64(0).nbytes * 2  # of each operation its value and its gradient
    each = (most - values) / LONG
    verdict = "pass" if each <= 1024 else "MISS"
    print(f"  peak memory beyond values and gradients: {each:.0f} bytes an operation"
          f"   target 1024   {verdict}")  # fmt: skip


def jax_programs(turns: int) -> None:
    """Time the capture of programs of JAX, next to the step that JAX compiles."""
    import jax  # (it starts threads, which the other sections should not have)
    import jax_models

    for name, (make, target) in jax_models.PROGRAMS.items():
        loss, params, data = make()
        step = jax.jit(jax.value_and_grad(loss))

        def stepped(_, step=step, params=params, data=data):
            return jax.block_until_ready(step(params, *data))

        value, slopes = stepped(None)
        start = time.process_time()
        graph = gv.trace(loss, params, *data, wrt="params", capture="lean")
        first = time.process_time() - start
        np.testing.assert_allclose(graph.values[graph.output].value.mean, value, rtol=1e-5)
        norms = [np.linalg.norm(np.ravel(slope)) for slope in jax.tree_util.tree_leaves(slopes)]
        found = [gradient.norm for gradient in graph.gradients().values()]
        np.testing.assert_allclose(found, norms, rtol=1e-3, atol=1e-6)
        runs = {
            "gradviz, lean, the program traced before": lambda _, g=graph: g.program.record({}),
            "the jitted step": stepped,
            "gradviz, lean, traced anew": lambda _, loss=loss, params=params, data=data: gv.trace(
                loss, params, *data, wrt="params", capture="lean"
            ),
        }
        if name == "gpt":
            runs["gradviz, whole, traced anew"] = lambda _, loss=loss, params=params, data=data: (
                gv.trace(loss, params, *data, wrt="params", capture="whole")
            )
            runs["value_and_grad, not jitted"] = lambda _, loss=loss, params=params, data=data: (
                jax.block_until_ready(jax.value_and_grad(loss)(params, *data))
            )
        times = race({name: ((lambda: None), run) for name, run in runs.items()}, turns)
        ms = {run: 1e3 * seconds for run, seconds in times.items()}
        whole = {run: ms.pop(run) for run in ("gradviz, whole, traced anew",
                 "value_and_grad, not jitted") if run in ms}  # fmt: skip
        title = f"JAX, {name}: {len(graph)} values"
        report(title, "ms", ms, {"the jitted step": target})
        verdict = "pass" if first <= 10 else "MISS"
        print(
            f"  the first capture, which compiles: {first:.1f} s of CPU   target 10 s   {verdict}"
        )
        if whole:
            report(f"{title}, whole", "ms", whole, {"value_and_grad, not jitted": 1.2})


MODELS = "resnet", "gpt"
SECTIONS = {
    "scalars": lambda: scalars(100),
    "arrays": lambda: [
        arrays(60, dtype, threads)
        for threads in sorted({1, os.cpu_count() or 1})
        for dtype in ("float64", "float32")
    ],
    "long": lambda: long(10),
    "models": lambda: models(5),
    "watch": lambda: watched(5),
    "large": lambda: large(3),
    "jax": lambda: jax_programs(5),
    "processes": lambda: processes(15),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast gradviz is, next to other libraries.")
    parser.add_argument("section", nargs="?", default="all", choices=["all", *SECTIONS])
    parser.add_argument(
        "--peak", choices=["captured", "stepped", "trained", "watched"], help=argparse.SUPPRESS
    )
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    section = options.section
    if options.peak:
        print(peak(options.peak, options.model))
        return

    blas = next(i for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas")
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__} with {blas['internal_api']} "
        f"({blas.get('architecture', '?')}, {blas['num_threads']} threads), "
        f"torch {torch.__version__}, {cores} cores, load {load:.1f}"
    )
    if load > 0.5 * cores:
        print("This machine is busy: what runs on several threads suffers most. Try again later.")
    gc.freeze()  # what is loaded now need not be looked at in every collection
    for name, run in SECTIONS.items():
        if section in ("all", name):
            run()


if __name__ == "__main__":
    main()

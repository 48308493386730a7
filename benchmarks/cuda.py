"""What only a GPU can show, in under five minutes: ``python benchmarks/cuda.py``.

A step that is captured and one that is watched are the step that would have been, bit for bit; the
cost of a lean capture and of the watch, on a GPT of 124 million parameters; and a NaN planted in
half precision is found on its line. ``--cpu --small`` runs the same on a CPU with a small GPT, and
says what it skips.
"""

import argparse
import copy
import inspect
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

if __name__ != "__main__":  # torch looks for a package `cuda`, beside any script here too
    raise ImportError("this is a script")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import torch
import torch_programs
from torch import nn

import gradviz as gv

LARGE = {"vocabulary": 50257, "width": 768, "heads": 12, "layers": 12, "tokens": 1024}
SMALL = {"vocabulary": 50, "width": 32, "heads": 4, "layers": 2, "tokens": 16}


class Sick(nn.Module):
    """A square root of what relu has made 0: nothing times its infinite slope is sent back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute a loss."""
        h = torch.relu(self.linear(x))
        r = torch.sqrt(h)  # planted
        return (r * (h > 0)).float().sum()


def gpt(device: torch.device, small: bool) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A GPT with dropout, which draws random numbers on the device, and a batch for it."""
    torch.manual_seed(0)
    model = torch_programs.GPT(**(SMALL if small else LARGE))
    model.head.weight = model.tok.weight  # as GPT-2 has it
    for block in model.blocks:
        block.mlp.append(nn.Dropout(0.1))
    vocabulary, tokens = model.tok.num_embeddings, model.pos.num_embeddings
    idx, targets = torch.randint(0, vocabulary, (2, 2 if small else 4, tokens)).to(device)
    return model.to(device), (idx, targets)


def trained(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> Callable[[], None]:
    """A step of training, optimizer included."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        model(*batch).backward()
        optimizer.step()

    return step


def state(model: nn.Module) -> list[torch.Tensor]:
    """What must be the same: parameters, buffers, gradients and the states of random numbers."""
    found = [*model.parameters(), *model.buffers()]
    found += [p.grad for p in model.parameters() if p.grad is not None]
    found.append(torch.get_rng_state())
    if torch.cuda.is_available():
        found += torch.cuda.get_rng_state_all()
    return [tensor.detach().clone() for tensor in found]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    """Whether two states are, bit for bit."""
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def bit_for_bit(device: torch.device, small: bool) -> list[bool]:
    """Compare three steps: alone, with captures between them, and watched."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    model, batch = gpt(device, small)
    states = {}
    for kind in ("alone", "captured", "watched"):
        mine = copy.deepcopy(model)
        step = trained(mine, batch)
        torch.manual_seed(1)
        if kind == "watched":
            with tempfile.TemporaryDirectory() as folder, gv.watch(folder):
                for _ in range(3):
                    step()
        else:
            for _ in range(3):
                if kind == "captured":
                    gv.trace(mine, *batch, capture="lean")
                step()
        states[kind] = state(mine)
    torch.use_deterministic_algorithms(False)
    return [
        told(same(states[kind], states["alone"]), f"three steps {kind} are those alone")
        for kind in ("captured", "watched")
    ]


def ratios(device: torch.device, small: bool, turns: int) -> None:
    """Time a step alone, captured and watched, in turns; print medians."""
    model, batch = gpt(device, small)
    step = trained(model, batch)

    def alone() -> None:
        model.zero_grad()
        model(*batch).backward()

    runs = {
        "forward and backward": alone,
        "captured lean": lambda: gv.trace(model, *batch, capture="lean"),
        "a step of training": step,
    }
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns + 1):  # the first warms up
            for name, run in runs.items():
                seconds.setdefault(name, []).append(timed(run, device))
            with gv.watch(folder):
                step()  # the first looks for optimizers
                seconds.setdefault("watched", []).append(timed(step, device))
    medians = {name: statistics.median(s[1:]) for name, s in seconds.items()}
    for name, usual in (
        ("captured lean", "forward and backward"),
        ("watched", "a step of training"),
    ):
        ours, theirs = medians[name], medians[usual]
        print(
            f"  {name}: {1e3 * ours:.1f} ms, {usual}: {1e3 * theirs:.1f} ms, {ours / theirs:.2f}x"
        )


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds until a device is done."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def planted(device: torch.device) -> bool:
    """Find the line of a NaN in half precision."""
    torch.manual_seed(0)
    model = Sick(64).to(device)
    x = torch.randn(16, 64, device=device)
    with torch.autocast(device.type, torch.bfloat16 if device.type == "cpu" else torch.float16):
        graph = gv.trace(model, x, capture="lean")
    lines, first = inspect.getsourcelines(Sick)
    line = first + next(n for n, text in enumerate(lines) if "# planted" in text)
    said = graph.diagnose().text
    return told(f"{Path(__file__).name}:{line}" in said, "a NaN in half precision is found")


def told(right: bool, what: str) -> bool:
    """Print whether something is as it should be."""
    print(f"  {'yes' if right else 'NO '}  {what}")
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description="What only a GPU can show of gradviz.")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU")
    parser.add_argument("--small", action="store_true", help="a GPT of some thousand parameters")
    options = parser.parse_args()
    if not options.cpu and not torch.cuda.is_available():
        sys.exit("there is no GPU here; --cpu --small runs on the CPU what can be run there")
    device = torch.device("cpu" if options.cpu else "cuda")
    name = "the CPU" if options.cpu else torch.cuda.get_device_name()
    print(f"torch {torch.__version__} on {name}")
    if options.cpu:
        print("  skipped: random numbers of a device, its streams, float16 (bfloat16 instead)")
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = bit_for_bit(device, options.small)
        right.append(planted(device))
        ratios(device, options.small, 1 if options.small else 8)
    print(f"  {time.perf_counter() - start:.0f} s")
    sys.exit(not all(right))


if __name__ == "__main__":
    main()

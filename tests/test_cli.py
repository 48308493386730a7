"""The shell command, run as a user runs it: a process, real files, real pipes."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import gradviz as gv

MODEL = """
import numpy as np

def loss(w, b, x=np.array([1.0, 2.0]), power=2):
    z = w @ x + b
    print("computing")
    return np.sum(z ** power)

def keyword_only(w, *, scale):
    return w * scale

def awkward(title, wrt, function):
    return title * wrt * function

def switch(w=1.0, mode="double"):
    return w * (2.0 if mode == "double" else 3.0)

def graph():
    import gradviz
    return gradviz.examples.backprop_222()

def value():
    import gradviz
    x = gradviz.input(3.0, "x")
    y = x * x
    return y

def number():
    return 3

def crash(w=1.0):
    z = w * 2.0
    return z / [][0]

BEFORE = np.zeros(2)

def forgets(w=1.0):
    BEFORE[0] = w
    return np.sum(BEFORE)

def leave(w=1.0):
    raise SystemExit(7)

def sick(w=np.array([0.0, 2.0])):
    y = np.where(w > 0, np.log(w), 0.0)
    return np.sum(y)

def vector(w=np.ones(2)):
    return w * 2.0

def deep(w=np.array(0.5)):
    for _ in range(60):
        w = np.sin(w) + 0.1 * w
    return w
"""

TORCH = """
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
x = torch.ones(2, 3)

def step():
    return net(x).pow(2).mean()
"""


@pytest.fixture
def shell(tmp_path):
    """Run gradviz in an empty folder."""

    def run(*args, code=0, env=None, **options):
        done = subprocess.run(
            [sys.executable, "-m", "gradviz", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **(env or {})},
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            timeout=120,
            **options,
        )
        error = done.stderr.decode(errors="replace")
        assert done.returncode == code, error
        done.out, done.error = (done.stdout or b"").decode(errors="replace"), error
        return done

    return run


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    return "model.py:{}".format


def one_line(done):
    """The error message; it must be short, and no traceback."""
    assert "Traceback" not in done.error
    assert len(done.error) < 700
    lines = done.error.splitlines()
    assert len(lines) == 1, done.error
    assert lines[0].startswith("Error: ")
    assert done.out == ""
    return lines[0]


# --- demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "gradviz", "demo"], cwd=folder, capture_output=True, check=True,
        encoding="utf-8", env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout, folder / "gradviz-demo"


def test_demo_prints_the_published_numbers(demo):
    # Matt Mazur, "A Step by Step Backpropagation Example" (2015)
    assert "✓ J = 0.298371109, ∂J/∂w5 = 0.082167041, ∂J/∂w1 = 0.000438568" in demo[0]
    assert "✓ by finite differences: 11 of 11 gradients agree" in demo[0]


def test_demo_prints_the_three_formulas_with_numbers(demo):
    assert "∂J/∂w5 = ∂J/∂a_o1 · ∂a_o1/∂z_o1 · ∂z_o1/∂w5\n= 0.741365 · 0.186816 · 0.59327" in demo[0]
    assert "∂J/∂b2 = ⟦∂J/∂a_o1 · ∂a_o1/∂z_o1⟧ · ∂z_o1/∂b2" in demo[0]
    assert "∂J/∂w1 = ⟦∂J/∂a_o1 · ∂a_o1/∂z_o1⟧ · ∂z_o1/∂a_h1 · ∂a_h1/∂z_h1 · ∂z_h1/∂w1" in demo[0]


def test_demo_prints_the_ledger(demo):
    assert re.search(r"∂J/∂b2\n +computes +nothing\n +reuses +∂J/∂J, ∂J/∂a_o1, ∂J/∂z_o1", demo[0])


def test_demo_names_the_files_that_it_wrote_and_no_others(demo):
    out, folder = demo
    listed = re.findall(r"^  (\S+\.\w+) ", out, flags=re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in folder.iterdir())
    for path in folder.glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    assert "0.29837" in (folder / "values.txt").read_text(encoding="utf-8")


def test_demo_writes_the_same_bytes_again(demo, shell, tmp_path):
    shell("demo", "-o", "again")
    for path in demo[1].iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


# --- draw

NEURON = ("sigmoid(w*x+b)", "w=2", "x=-1", "b=0.5")


@pytest.mark.parametrize(
    ("name", "start"),
    [("f.svg", b"<svg"), ("f.png", b"\x89PNG"), ("f.dot", b"digraph"), ("f.TXT", b"sigmoid")],
)
def test_draw_writes_what_the_suffix_says(shell, tmp_path, name, start):
    assert shell("draw", *NEURON, "-o", name).out == f"Written to {name}\n"
    assert (tmp_path / name).read_bytes().startswith(start)
    assert os.listdir(tmp_path) == [name]


def test_draw_prints_the_text_twin(shell):
    twin = gv.expression("sigmoid(w*x+b)", w=2, x=-1, b=0.5).draw().text
    assert shell("draw", *NEURON).out == twin


def test_draw_writes_svg_to_a_pipe(shell):
    done = shell("draw", *NEURON, "-o", "-", "--check")
    assert ET.fromstring(done.out).tag.endswith("svg")
    assert done.error.count("✓") == 3


def test_draw_explains_one_value_after_others(shell):
    steps = "z = w*x + b; a = sigmoid(z); (a - 1)**2"
    values = ("w=2", "x=-1", "b=0.5")
    told = shell("draw", steps, *values, "--explain", "b", "--after", "w").out
    assert told.startswith("∂J/∂b = ⟦∂J/∂a · ∂a/∂z⟧ · ∂z/∂b\n= (-1.63515) · 0.149146 · 1\n")
    ledger = shell("draw", steps, *values, "--reuse", "w,b").out
    assert "∂J/∂b\n    computes  nothing\n    reuses    ∂J/∂J, ∂J/∂a, ∂J/∂z\n" in ledger


@pytest.mark.parametrize("options", [["--theme", "dark"], ["--direction", "TB"],
                                     ["--detail", "operations"], ["--explain", "w"],
                                     ["--reuse", "w,x"]])  # fmt: skip
def test_draw_options_change_the_picture(shell, tmp_path, options):
    steps = ("draw", "z = w*x + b; sigmoid(z)", "w=2", "x=-1", "b=0.5", "-o")
    shell(*steps, "plain.svg")
    shell(*steps, "other.svg", *options)
    assert (tmp_path / "plain.svg").read_bytes() != (tmp_path / "other.svg").read_bytes()


def test_draw_takes_lists_as_arrays(shell):
    out = shell("draw", "sum((w @ x - 1)**2)", "w=[[1, 2], [3, 4]]", "x=[1, -1]").out
    assert "w = [[1, 2], [3, 4]]" in out
    assert "J = sum(v_2) = 8" in out.replace("v_3", "v_2")  # (-2)² + (-2)²


@pytest.mark.parametrize(
    ("value", "shown"), [("nan", "nan"), ("-inf", "inf"), ("1e-300", "1e-300")]
)
def test_draw_shows_awkward_numbers(shell, value, shown):
    assert shown in shell("draw", "abs(x)", f"x={value}").out


def test_draw_understands_a_formula_that_begins_with_minus(shell):
    assert "put -- before a formula" in shell("draw", "-x*2", "x=3", code=2).error
    assert "= -6; this is the output" in shell("draw", "--", "-x*2", "x=3").out


@pytest.mark.parametrize("name", ["ω", "权重", "żółć", "x_1", "ﬁ"])
def test_draw_takes_any_identifier(shell, tmp_path, name):
    out = shell("draw", f"{name}*2", f"{name}=3", "--explain", name).out
    assert out.rstrip().endswith("= 2")
    shell("draw", f"{name}*2", f"{name}=3", "-o", f"{name}.svg")
    assert (tmp_path / f"{name}.svg").exists()


WRONG = [
    (["sigmoid(w*x", "w=1", "x=2"], "was never closed"),
    (["w*x", "w=1"], "the variable x has no value"),
    (["w", "w=1", "x=2"], "does not use x"),
    (["w*2", "w"], "write NAME=VALUE"),
    (["w*2", "w="], "write NAME=VALUE"),
    (["w*2", "=2"], "write NAME=VALUE"),
    (["w*2", "w=1", "w=2"], "given twice"),
    (["w*2", "w=[[1, 2], [3]]"], "must be a number or a list of numbers"),
    (["w*2", "w='text'"], "must be a number or a list of numbers"),
    (["w*2", "w=1j"], "must be a number or a list of numbers"),
    (["w*2", "w=two"], "not a number"),
    (["w*2", "w=" + "[" * 5000], "not a number"),
    (["sigmoyd(w)", "w=1"], "no such function; there are sigmoid"),
    (["w^2", "w=1"], "write a power as **"),
    (["", "w=1"], "the formula is empty"),
    (["1 + 1"], "has no variable"),
    (["+".join(["x"] * 6000), "x=1"], "10000 are allowed"),
    (["(" * 300 + "x" + ")" * 300, "x=1"], "not a formula"),
    (["w*2", "w=1", "-o", "w.gif"], "must end in .svg"),
    (["w*2", "w=1", "--explain", "w", "--reuse", "w"], "choose one of"),
    (["w*2", "w=1", "--after", "w"], "--after goes with --explain"),
    (["w*2", "w=1", "--explain", "w", "--diagnose"], "choose one of"),
    (["w*2", "w=1", "--rate", "1"], "--rate goes with --diagnose"),
]


@pytest.mark.parametrize(("args", "message"), WRONG)
def test_wrong_usage_is_told_in_one_line_with_status_2(shell, tmp_path, args, message):
    assert message in one_line(shell("draw", *args, code=2))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "__import__('os').system('touch pwned')",
        "().__class__.__base__.__subclasses__()",
        "(lambda: x)()",
        "[x for x in (1,)]",
        "x.__class__",
        "open('pwned', 'w')",
        "x if x else x",
        "f'{x}'",
        "x := 2",
        "import os",
    ],
)
def test_a_formula_is_never_run_as_python(shell, tmp_path, attempt):
    one_line(shell("draw", attempt, "x=1", code=2))
    one_line(shell("draw", "x*2", f"x={attempt}", code=2))
    assert os.listdir(tmp_path) == []


FAILURES = [
    (["w*2", "w=[1, 2]"], "a gradient needs a scalar"),
    (["w*2", "w=1", "--explain", "v"], "no value is called 'v'; there are: w"),
    (["w*2", "w=1", "--reuse", "w,v"], "no value is called 'v'"),
    (
        ["w*2", "w=1", "-o", "missing/w.svg"],
        "cannot write missing/w.svg: No such file or directory",
    ),
]


@pytest.mark.parametrize(("args", "message"), FAILURES)
def test_a_failed_computation_is_told_in_one_line_with_status_1(shell, tmp_path, args, message):
    assert message in one_line(shell("draw", *args, code=1))
    assert os.listdir(tmp_path) == []


def test_an_old_file_survives_a_failure(shell, tmp_path):
    old = tmp_path / "old.svg"
    old.write_text("old")
    shell("draw", "w*2", "w=1", "--explain", "v", "-o", "old.svg", code=1)
    assert old.read_text() == "old"
    assert os.listdir(tmp_path) == ["old.svg"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, where nobody may write")
def test_an_unwritable_folder_is_named(shell):
    message = one_line(shell("draw", "w*2", "w=1", "-o", "/proc/w.svg", code=1))
    assert "cannot write /proc/w.svg: " in message


def test_a_file_in_the_place_of_the_folder_is_named(shell, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "taken/demo" in one_line(shell("demo", "-o", "taken/demo", code=1))


# --- trace


def test_trace_records_a_users_function(shell, model):
    done = shell("trace", model("loss"), "w=[[1.0, 2], [3, 4]]", "b=0.5")
    assert "z = w @ x + b = [5.5, 11.5]" in done.out
    assert "J = sum(z ** 2) = 162.5" in done.out  # 5.5² + 11.5²
    assert done.error == "computing\n"  # its own prints leave stdout to us


def test_trace_differentiates_by_the_chosen_arguments(shell, model):
    out = shell("trace", model("loss"), "w=[[1, 2], [3, 4]]", "b=1", "--wrt", "w,b", "--check").out
    assert "w has the gradient [[12, 24], [24, 48]]" in out  # 2 z xᵀ at z = (6, 12)
    assert "by finite differences: 2 of 2 gradients agree, 5 numbers" in out
    assert "No gradient was asked for: x." in out


def test_trace_passes_arguments_by_their_kind(shell, model):
    assert "J = w * 3 = 6" in shell("trace", model("keyword_only"), "w=2.0", "scale=3").out
    out = shell(
        "trace", model("awkward"), "title=2.0", "wrt=3.0", "function=4.0", "--explain", "wrt"
    )
    assert out.out.rstrip().endswith("= 8")
    out = shell("trace", model("switch"), "w=5.0", 'mode="triple"').out
    assert "J = w * 3 = 15" in out


def test_trace_takes_a_graph_or_a_recorded_value(shell, model):
    assert "J = 0.5 * (t1 - a_o1) ** 2" in shell("trace", model("graph")).out
    assert "y = x * x = 9" in shell("trace", model("value")).out


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        ("loss", [], "needs more arguments: w=... b=..."),
        ("keyword_only", ["w=1.0"], "needs more arguments: scale=..."),
        ("switch", ["weight=1.0"], "has no argument weight"),
        ("number", [], "returned int"),
        ("los", [], "has no function los; there is loss"),
        ("switch", ["mode=triple"], "not a number, a list or a quoted text"),
    ],
)
def test_trace_says_what_is_missing(shell, model, function, args, message):
    assert message in one_line(shell("trace", model(function), *args, code=2))


@pytest.mark.parametrize("target", ["nowhere.py:f", "model.py", ":f", "model.py:", ".:f"])
def test_trace_says_how_to_name_a_function(shell, model, target):
    one_line(shell("trace", target, code=2))


def test_trace_shows_the_users_error_at_the_users_lines(shell, model, tmp_path):
    done = shell("trace", model("crash"), code=1)
    assert "return z / [][0]" in done.error
    assert done.error.rstrip().endswith("IndexError: list index out of range")
    assert str(Path(gv.__file__).parent) not in done.error
    (tmp_path / "broken.py").write_text("x = (\n")
    assert "SyntaxError" in shell("trace", "broken.py:f", code=1).error


def test_trace_explains_what_cannot_be_recorded(shell, model):
    message = one_line(shell("trace", model("forgets"), code=1))
    assert "np.stack" in message
    assert "model.py:" in message


def test_trace_survives_a_file_that_leaves(shell, model):
    assert "exit status 7" in one_line(shell("trace", model("leave"), code=1))


def test_trace_lets_a_file_import_its_neighbours_but_not_hide_ours(shell, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "main.py").write_text(
        "from graphviz import two\ndef f(w=1.0):\n    return w * two\n"
    )
    (tmp_path / "sub" / "graphviz.py").write_text("two = 2.0\n")
    assert "J = w * 2 = 2" in shell("trace", "sub/main.py:f").out


def test_trace_diagnoses_and_its_status_tells_whether_something_is_wrong(shell, model, tmp_path):
    done = shell("trace", model("sick"), "--diagnose", code=1)
    assert done.out.startswith("✗ non-finite gradient: ∂J/∂w is NaN in 1 of 2 entries: log of 0")
    assert "at model.py:" in done.out
    assert "y = np.where(w > 0, np.log(w), 0.0)" in done.out
    drawn = shell("trace", model("sick"), "--diagnose", "-o", "sick.svg", code=1)
    assert drawn.out == f"Written to sick.svg\n{done.out}"
    assert "non-finite gradient" in (tmp_path / "sick.svg").read_text(encoding="utf-8")
    piped = shell("trace", model("sick"), "--diagnose", "-o", "-", code=1)
    assert ET.fromstring(piped.out).tag.endswith("svg")
    assert "✗ non-finite gradient" in piped.error


def test_trace_says_of_a_healthy_program_that_it_is(shell, model):
    assert shell("trace", model("switch"), "--diagnose").out.startswith("✓ healthy")
    steps = ("draw", "sum((w @ x - 1)**2)", "w=[[1, 2], [3, 4]]", "x=[1, -1]", "--diagnose")
    assert shell(*steps, "--rate", "0.001", "--check").out.count("✓") == 4
    assert "a step of rate 1 changes it" in shell(*steps, "--rate", "1", code=1).out


def test_trace_diagnoses_what_has_no_gradient(shell, model):
    out = shell("trace", model("vector"), "--diagnose", code=1).out
    assert out.startswith("✗ no backward pass: J has shape (2,)")


def test_trace_folds_to_a_budget_and_unfolds(shell, model):
    def boxes(*options):
        return shell("trace", model("deep"), "--detail", "operations", *options).out

    assert re.search(r"iterations 2–\d+", boxes())
    assert "iteration 60" not in boxes()
    assert len(re.findall(r"(?m)^ +\d+\. ", boxes("--budget", "3"))) <= 3
    assert "iteration 60" in boxes("--unfold", "loop/60")
    message = one_line(shell("trace", model("deep"), "--unfold", "lop", code=1))
    assert "no fold 'lop' (did you mean 'loop'?)" in message
    assert "--budget" in shell("trace", model("deep"), "--budget", "0", code=2).error


def test_trace_records_the_loss_of_a_pytorch_model(shell, model, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(TORCH)
    whole, lean = (shell("trace", "net.py:step", *o).out for o in ((), ("--capture", "lean")))
    assert "0 (Linear, 3 → 4)" in whole
    assert "weight 4×3" in whole
    assert whole != lean
    message = one_line(shell("trace", model("switch"), "--capture", "lean", code=2))
    assert "--capture is for PyTorch" in message


# --- what was recorded before


def test_compare_says_where_two_graphs_part_and_its_status_whether_they_do(shell, tmp_path):
    for name, w in (("a", 2.0), ("b", 2.5)):
        gv.expression("z = w*x; sigmoid(z)", w=w, x=-1.0).save(tmp_path / f"{name}.json")
    assert shell("compare", "a.json", "a.json").out.startswith("✓ ")
    told = shell("compare", "a.json", "b.json", code=1).out
    assert "the first value that parts\n  w (parameter)" in told
    drawn = shell("compare", "a.json", "b.json", "-o", "diff.svg", "--direction", "TB", code=1)
    assert drawn.out == f"Written to diff.svg\n{told}"
    assert "born here" in (tmp_path / "diff.svg").read_text(encoding="utf-8")
    piped = shell("compare", "a.json", "b.json", "-o", "-", code=1)
    assert ET.fromstring(piped.out).tag.endswith("svg")
    assert "No such file" in one_line(shell("compare", "a.json", "c.json", code=1))
    (tmp_path / "c.json").write_text("{}")
    assert "c.json" in one_line(shell("compare", "a.json", "c.json", code=1))


def test_training_is_told_and_drawn_as_a_whole_and_step_by_step(shell, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with gv.record_training(net, tmp_path / "run.gvtrain", every=2) as recorder:
        for _ in range(5):
            with recorder.step():
                optimizer.zero_grad()
                net(torch.ones(2, 3)).pow(2).mean().backward()
                optimizer.step()
    assert [line.split()[0] for line in shell("training", "run.gvtrain").out.splitlines()] == [
        "step", "0", "2", "4"]  # fmt: skip
    assert shell("training", "run.gvtrain", "-o", "map.svg").out == "Written to map.svg\n"
    assert "update" not in ET.parse(tmp_path / "map.svg").getroot().attrib["aria-label"]
    assert "J" in shell("training", "run.gvtrain", "--step", "2").out
    shell("training", "run.gvtrain", "--step", "2", "-o", "step.svg")
    assert "‖·‖" in (tmp_path / "step.svg").read_text(encoding="utf-8")
    missing = one_line(shell("training", "run.gvtrain", "--step", "3", code=1))
    assert "step 3 was not recorded; the nearest are [0, 2, 4]" in missing
    assert ".svg" in one_line(shell("training", "run.gvtrain", "-o", "map.dot", code=1))


# --- as a citizen of the shell


def test_help_and_version(shell):
    for args in (["-h"], ["--help"], ["demo", "-h"], ["draw", "-h"], ["trace", "-h"],
                 ["compare", "-h"], ["training", "-h"], ["summary", "-h"]):  # fmt: skip
        assert shell(*args).out.startswith("Usage: gradviz")
    assert "This runs FILE.py" in shell("trace", "-h").out
    assert gv.__version__ in shell("--version").out
    assert "No such option" in shell("draw", "x*2", "--explian", "x", code=2).error


def test_output_survives_a_terminal_without_unicode(shell):
    done = shell("draw", *NEURON, "--explain", "w", env={"PYTHONIOENCODING": "ascii"})
    assert done.out.startswith("dJ/dw = ")
    assert done.out.isascii()
    shell("draw", "ω*2", "ω=1", env={"PYTHONIOENCODING": "ascii"})


def test_no_escape_codes_are_printed(shell):
    for env in ({"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}):
        assert "\x1b" not in shell("draw", *NEURON, env=env).out


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("{gradviz} draw 'x*2' x=1 | head -n 1", "x*2"),
        ("{gradviz} draw 'x*2' x=1 -o x.svg >&-; echo $?", "0"),
        ("{gradviz} draw 'x*2' x=1 >&- 2>&-; echo $?", "0"),
        ("{gradviz} draw 'x*2' x=1 -o - | head -c 4", "<svg"),
    ],
)
def test_closed_and_broken_pipes_do_no_harm(tmp_path, line, status):
    command = line.format(gradviz=f"'{sys.executable}' -m gradviz")
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == status
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told(shell):
    with open("/dev/full", "wb") as full:
        done = shell("draw", "x*2", "x=1", stdout=full, code=1)
    assert "No space left" in done.error
    assert "Traceback" not in done.error


def test_a_namesake_beside_us_is_warned_of(shell, tmp_path):
    # PyPI's gradviz installs into the same folder; what pip leaves is this record.
    record = tmp_path / "site" / "gradviz-0.1.2.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: gradviz\nVersion: 0.1.2\n")
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(tmp_path / "site")]))
    done = shell("draw", "x*2", "x=1", env={"PYTHONPATH": path})
    assert "pip uninstall gradviz gradviz-dag" in done.error
    assert "another project" not in shell("draw", "x*2", "x=1").error

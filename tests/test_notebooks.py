"""The notebooks run from top to bottom, show what is kept in them, and what they show is true."""

import ast
import math

import pytest

pytest.importorskip("nbclient", reason="needs the extra `test`")

import notebooks

pytestmark = [
    pytest.mark.slow,
    # Of the kernel's client, not of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def a_o2(x1):
    """The 2-2-2 network's second output, in the words of `math` alone."""
    a_h1 = sigmoid(0.15 * x1 + 0.20 * 0.10 + 0.35)
    a_h2 = sigmoid(0.25 * x1 + 0.30 * 0.10 + 0.35)
    return sigmoid(0.50 * a_h1 + 0.55 * a_h2 + 0.60)


def tower(x, w, blocks):
    """Output and gradient of residual blocks: the gradient is the product of 1 + w (1 - f²)."""
    gradient = 1.0
    for _ in range(blocks):
        f = math.tanh(w * x)
        x, gradient = x + f, gradient * (1 + w * (1 - f * f))
    return gradient


def slope(function, at, h=1e-5):
    return (function(at + h) - function(at - h)) / (2 * h)


# Of Matt Mazur, "A Step by Step Backpropagation Example" (2015): what the notebook's own names hold
# after its last cell. The loss after the step is that of the text's weights; the number that the
# text prints comes out where the hidden layer's messages pass the moved weights (`moved`).
MAZUR = [
    ("g.value('J')", 0.298371109, 5e-10),
    ("g.grad('w5')", 0.082167041, 5e-10),
    ("g.grad('w1')", 0.000438568, 5e-10),
    *(
        (f"after.value('w{i}')", weight, 5e-9)
        for i, weight in enumerate(
            (
                *(0.149780716, 0.19956143, 0.24975114, 0.29950229),
                *(0.35891648, 0.408666186, 0.511301270, 0.561370121),
            ),
            start=1,
        )
    ),
    ("fixed.update(moved).value('J')", 0.291027924, 5e-10),
    ("trained.value('a_o1')", 0.015912196, 2e-6),
    ("trained.value('a_o2')", 0.984065734, 2e-6),
    ("everything.vjps", 22, 0),
    ("g.check().ok and fixed.check().ok", True, 0),
]
FACTS = {
    "backpropagation": MAZUR,
    "backpropagation.zh": MAZUR,
    "chain-rule-and-fan-out": [
        # Christopher Olah, "Calculus on Computational Graphs" (2015): at a = 2, b = 1.
        ("olah.grad('a')", 2, 0),
        ("olah.grad('b')", 5, 0),
        ("gv.trace(square, 3.0).grad('x')", 2 * 3.0, 0),
        *(
            (f"gv.trace(residual, 0.3, [0.5] * {n}, wrt='x').grad('x')", tower(0.3, 0.5, n), 1e-12)
            for n in (1, 2, 10, 30, 100)
        ),
        ("gv.trace(residual, 0.3, [0.5] * 100, wrt='x').explain('x').path_count", 2**100, 0),
        # Lengths of all paths, summed: T paths of 2 ... T + 1 edges; a path to each later error
        # and on to J; Σ (L choose k) (L + k).
        *(
            (f"costs(programs[{name!r}], [{n}])[1][0]", cost(n), 0)
            for n in (5, 10, 20)
            for name, cost in {
                "rnn, error at the end": lambda n: n * (n + 3) // 2,
                "rnn, error at every step": lambda n: n * (n + 1) * (n + 2) // 3,
                "residual blocks": lambda n: 3 * n * 2**n // 2,
            }.items()
        ),
        ("gv.trace(rnn_every, 0.9, 0.7, 0.5, x, 1.0, wrt=('w', 'u')).check().ok", True, 0),
    ],
    "digits": [
        ("len(images)", 1797, 0),
        ("np.mean(curves['sigmoid'][-50:])", math.log(10), 0.02),
        ("accuracy(trained['sigmoid'], sigmoid)", 0.1, 0.05),
        ("accuracy(trained['ReLU'], relu)", 0.96, 0.02),
        ("all(g.check(entries=4, step=1e-7, tolerance=1e-6).ok for g in graphs.values())", True, 0),
        ("norms(graphs['sigmoid'])[0] / norms(graphs['sigmoid'])[-1] < 1e-3", True, 0),
        ("0.5 < norms(graphs['ReLU'])[0] / norms(graphs['ReLU'])[-1] < 2", True, 0),
    ],
    "a-model-that-does-not-train": [
        ("first.value('J')", math.log(10), 0.01),  # ten classes, guessed
        ("health.findings[0].kind == 'non-finite gradient'", True, 0),
        ("[f.kind for f in health.findings[1:]] == ['no gradient'] * 2", True, 0),
        ("health.findings[0].operation == 'sqrt'", True, 0),
        ("second.diagnose().findings[0].kind == 'vanishing gradient'", True, 0),
        ("third.diagnose().ok", True, 0),
        ("third.explain('embed.weight').path_count", 2**6, 0),
        ("accuracy(net)", 0.9, 0.04),
        ("len(run)", 30, 0),
    ],
    "a-run-that-breaks": [
        ("report.step == data()[2]", True, 0),
        ("report.finding.operation == 'div' and report.replay.exact", True, 0),
        ("report.finding.source.text.startswith('return (x - x.mean(0)) / ')", True, 0),
        ("len(healthy.reports)", 0, 0),
        ("sum(repaired[-100:]) / 100 < 0.6", True, 0),
    ],
    "networkx": [
        ("paths[g.id('b1'), g.output]", 4, 1e-12),
        ("derivatives[g.id('x1'), g.id('a_o2')]", slope(a_o2, 0.05), 1e-9),
        ("best_split(straight)[1]", 32 * 4 * 8, 0),  # rows, numbers, bytes of one
        ("best_split(skip)[1]", 32 * 16 * 8, 0),
    ],
}


def test_every_notebook_is_tested():
    assert sorted(FACTS) == notebooks.NAMES


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_runs_and_shows_what_is_kept_and_what_is_known_from_elsewhere(name):
    if "import torch" in str(notebooks.read(name)):
        pytest.importorskip("torch", reason="needs PyTorch")
    kept, notebook = notebooks.read(name), notebooks.read(name)
    with notebooks.running(notebook) as client:
        for expression, expected, tolerance in FACTS[name]:
            found = notebooks.ask(client, f"print(complex({expression}).real)")
            assert abs(float(found) - expected) <= tolerance, expression
    for before, now in zip(kept.cells, notebooks.tidy(notebook).cells, strict=True):
        if before.cell_type != "code":
            continue
        assert [output.get("name") for output in now.outputs].count("stderr") == 0
        old, new = notebooks.seen(before), notebooks.seen(now)
        assert len(old) == len(new), f"{name} is old: run `python scripts/notebooks.py {name}`"
        for a, b in zip(old, new, strict=True):
            assert not notebooks.differ(a, b), f"in {name}, after\n{before.source}"


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_is_small_and_tells_nothing_of_the_machine_that_ran_it(name):
    text = (notebooks.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < 400_000
    for trace in ("/home/", "/root/", "/tmp/", "/Users/", "ipykernel_", " at 0x", "Traceback"):
        assert trace not in text
    assert all(cell.execution_count for cell in _code(notebooks.read(name)))


def test_the_chinese_notebook_is_the_english_one_in_other_words():
    made, kept = notebooks.source("backpropagation.zh"), notebooks.read("backpropagation.zh")
    for ours, theirs in zip(made.cells, kept.cells, strict=True):
        assert (ours.cell_type, ours.source) == (theirs.cell_type, theirs.source)
    english = notebooks.read("backpropagation")
    for ours, theirs in zip(_code(english), _code(kept), strict=True):
        assert _wordless(ours.source) == _wordless(theirs.source)


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_holds_each_picture_once_and_with_its_words(name):
    for cell in _code(notebooks.read(name)):
        for output in cell.outputs:
            kinds = set(output.get("data", {})) - {"text/plain", "text/latex"}
            assert kinds <= {"image/png"}
            if output.get("data", {}).get("text/plain", "").startswith("<Drawing"):
                assert output.metadata["words"]


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _wordless(source):
    """A program without its comments and texts, and without its choice of a language."""
    tree = ast.parse(source)
    tree.body = [line for line in tree.body if "set_language" not in ast.dump(line)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        if isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    return ast.dump(tree)


def test_numbers_may_differ_in_their_last_digits_and_words_may_not():
    assert not notebooks.differ("J = 0.29837110 after 3", "J = 0.29837112 after 3")
    assert not notebooks.differ("-1.3e-20", "2.0e-21")  # nothing but rounding
    assert notebooks.differ("J = 0.2983", "J = 0.2993")
    assert notebooks.differ("J = 0.2983", "K = 0.2983")

"""Values that a program reads as plain numbers, asks for their type, or draws at random."""

from __future__ import annotations

import array
import io
import numbers
import random
import re
import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Sized
from functools import lru_cache

import numpy as np
import pytest

import gradviz as gv
from gradviz.record.reach import reach

V = np.array([1.0, 2.0, 3.0])


def warned(function, *args):
    """The Graph, and what was warned of as its gradients were asked for."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        graph = gv.trace(function, *args)
        graph.gradients()
    return graph, [str(w.message) for w in seen if "history" in str(w.message)]


def saved(x):
    buffer = io.BytesIO()
    np.save(buffer, x)
    buffer.seek(0)
    return np.load(buffer)


def zipped(x):
    buffer = io.BytesIO()
    np.savez(buffer, x=x)
    buffer.seek(0)
    return np.load(buffer)["x"]


def written(x):
    buffer = io.StringIO()
    np.savetxt(buffer, x, "%.18g")
    buffer.seek(0)
    return np.loadtxt(buffer)


def of_text(text):
    return np.array([float(part) for part in text.strip("[]").split()])


NUMBERS = {
    "float": lambda x: float(x),
    "half of it": lambda x: 0.5 * float(x),
    "of a later value": lambda x: float(x**2),
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
    "complex": lambda x: complex(x).real,
    "format": lambda x: float(format(x, ".17g")),
    "f-string": lambda x: float(f"{x:.17g}"),
    "percent": lambda x: float("%.17g" % x),  # noqa: UP031
    "struct": lambda x: struct.unpack("d", struct.pack("d", x))[0],
    "array": lambda x: array.array("d", [x])[0],
    "value": lambda x: x.value,
    "a leaf inside": lambda x: gv.input(float(x)),
}
ARRAYS = {
    "one entry": lambda x: x[0].item(),
    "tolist": lambda x: np.array(x.tolist()),
    "save": saved,
    "savez": zipped,
    "savetxt": written,
    "array2string": lambda x: of_text(np.array2string(x, precision=17)),
    "value": lambda x: x.value,
    "full_like": lambda x: np.full_like(x, float(x[0])),
    "entry by entry": lambda x: np.array([float(part) for part in x]),
    "flat": lambda x: np.array([float(part) for part in x.flat]),
}


@pytest.mark.parametrize("reader", [*NUMBERS.values(), *ARRAYS.values()],
                         ids=[*NUMBERS, *(f"array: {name}" for name in ARRAYS)])  # fmt: skip
def test_a_number_that_was_read_and_comes_back_into_J_is_told_with_its_line(reader):
    def beside(x, w):
        return np.sum(x * reader(x)) * w  # the read number comes back here

    def alone(x, w):
        return np.sum(reader(x)) * w

    start = V if reader in ARRAYS.values() else 1.5
    graph, said = warned(beside, start, 2.0)
    assert len(said) == 1
    assert "test_reads.py" in said[0]
    assert "lost history" in [finding.kind for finding in graph.diagnose().findings]
    assert not graph.diagnose()
    assert not graph.check()
    if reader is not NUMBERS["a leaf inside"]:  # alone it is a leaf of its own: nothing is lost
        graph, said = warned(alone, start, 2.0)
        assert said
        assert not graph.check()


def logs(x):
    LOG.append(float(x[0]))
    print(f"{x[0]:.3f}", np.array2string(x), x.tolist())
    return np.sum(x**2 * np.ones(3))


def newton(x):
    y = x
    while float(abs(y * y - 2.0)) > 1e-9:
        y = y - (y * y - 2.0) / (2.0 * y)
    return y


def line_search(x):
    t, J = 1.0, np.sum((x - 2 * x) ** 2)
    while float(J) > 0.3 * float(np.sum(x**2)):
        t *= 0.5
        J = np.sum((x - t * 2 * x) ** 2) + 0.1 * t
    return J


def branch(x):
    return np.sum(x * np.ones(3)) if float(x[0]) > 0 and np.isfinite(x.tolist()).all() else -x[0]


def shifted(x):
    top = float(np.max(x))  # its slope cancels
    return np.log(np.sum(np.exp(x - top))) + top


def whole_numbers(x):
    steps = np.array([int(part) for part in x])
    return np.sum(x * steps) + x[0] * np.searchsorted(V, x.tolist())[0]


def wanted(x):
    return np.sum(x * gv.stop_gradient(x)) + float(gv.stop_gradient(x[0]))


def at_a_kink(x):
    return np.sum(np.maximum(x, 2.0) * np.ones(3)) + np.sum(abs(x - 1.0)) * float(x[0] > 0)


LOG: list[float] = []


@pytest.mark.parametrize(
    "program", [logs, newton, line_search, branch, shifted, whole_numbers, wanted, at_a_kink]
)
def test_a_program_that_reads_values_to_print_to_branch_or_to_stop_is_not_warned_of(program):
    LOG.clear()
    start = 1.5 if program is newton else V
    graph, said = warned(program, start)
    assert not said
    assert "lost history" not in graph.diagnose().text
    assert len(LOG) == (program is logs)  # as after one run


def test_what_a_program_keeps_is_as_after_one_run_though_its_gradient_was_checked(capsys):
    class Model:
        def __init__(self):
            self.calls, self.losses = 0, []

        def __call__(self, x):
            nonlocal count
            count += 1
            self.calls += 1
            J = np.sum(x * np.array(x.tolist()))
            self.losses.append(float(J))
            print("J", float(J))
            return J

    count = 0
    model = Model()
    graph, said = warned(model, V)
    assert said
    assert (model.calls, len(model.losses), count) == (1, 1, 1)
    graph.check()
    assert (model.calls, len(model.losses), count) == (1, 1, 1)
    assert capsys.readouterr().out == "J 14.0\n"


def test_without_a_program_a_number_computed_after_a_read_may_be_the_one_read():
    x = gv.input(1.5, "x")
    with pytest.warns(UserWarning, match="may be wrong.*x by float"):
        assert gv.graph(x * float(x)).grad("x") == 1.5
    y = gv.input(1.5, "y")
    assert f"{y:.2f}" == "1.50"
    rate = 0.25
    assert gv.graph(y * rate + np.exp(y * 2)).grad("y") == 0.25 + 2 * np.exp(3)


def test_stop_gradient_is_an_operation_without_a_gradient():
    graph = gv.trace(lambda x: np.sum(x * gv.stop_gradient(x)), V)
    assert graph.grad("x").tolist() == V.tolist()
    assert "stop_gradient" in [data["op"] for _, data in graph.dag.nodes(data=True)]
    assert graph.check()
    assert gv.stop_gradient(V) is V
    assert gv.grad(lambda x: x * gv.stop_gradient(x))(3.0) == 3
    assert gv.hessian(lambda x: x[0] ** 2 * gv.stop_gradient(x[0]))(V).tolist()[0] == [2, 0, 0]
    lost = gv.trace(lambda x, w: w * gv.stop_gradient(x) ** 2, 3.0, 2.0)
    assert lost.grad("x") == 0
    assert lost.check()
    assert "stop_gradient(x) stops it, the program wants a constant there" in lost.diagnose().text


def test_stop_gradient_survives_a_file(tmp_path):
    graph = gv.trace(lambda x: x * gv.stop_gradient(x), 3.0)
    graph.save(tmp_path / "g.json")
    loaded = gv.load(tmp_path / "g.json")
    assert loaded.grad("x") == 3
    assert loaded.update(x=5.0).grad("x") == 5
    assert loaded.check()


# --- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: isinstance(x, np.ndarray),
        lambda x: isinstance(x, float),
        lambda x: isinstance(x, np.floating),
        lambda x: isinstance(x, np.float64),
        lambda x: isinstance(x, (int, float, complex)),
        lambda x: isinstance(x, numbers.Number),
        lambda x: np.isscalar(x),
        lambda x: np.ndim(x) > 0,
        lambda x: x.__class__ is np.ndarray,
        lambda x: isinstance(x * 2, np.ndarray),
        lambda x: isinstance(np.sum(x), float),
    ],
)
@pytest.mark.parametrize("start", [1.5, V, np.float64(1.5), np.float32(1.5), np.array(1.5), 2j])
def test_a_program_that_asks_what_its_argument_is_takes_its_own_branch(asks, start):
    def program(x):
        return np.sum(np.real(x * x if asks(x) else x * x * x))

    assert gv.trace(program, start).value("J") == pytest.approx(program(start), rel=1e-6)


def test_recorded_arrays_are_known_as_such():
    x = gv.input(V, "x")
    assert isinstance(x, gv.Array)
    assert isinstance(x, gv.Node)
    assert type(x) is gv.Array


def test_a_program_that_takes_another_branch_than_by_itself_fails_its_check():
    found = gv.trace(lambda x: x**2 if type(x) is float else x**3, 1.5).check()
    assert not found
    assert "J is 2.25 where the program runs alone, and 3.375 was recorded" in found.text


# --- random numbers ------------------------------------------------------------------------------


class Dropout:
    def __init__(self):
        self.rng = np.random.RandomState(3)

    def __call__(self, x):
        return np.sum(x * (self.rng.rand(3) > 0.5))


def program_of_a_closure():
    rng = np.random.default_rng(1)
    return lambda x: np.sum(x**2 * rng.normal(size=3))


def program_of_two():
    def noisy(x):
        return np.sum(x**2) * random.gauss(0, 1) * np.random.normal()  # noqa: NPY002

    return noisy


def program_of_a_generator_of_pythons():
    generator = random.Random(4)
    return lambda x: np.sum(x**2) * generator.random()


@pytest.mark.parametrize(
    "made", [Dropout, program_of_a_closure, program_of_two, program_of_a_generator_of_pythons]
)
def test_random_numbers_are_drawn_again_as_the_trace_drew_them(made):
    program = made()
    graph = gv.trace(program, V)
    assert graph.check()
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    again = graph.update(x=V)
    assert again.value("J") == graph.value("J")
    assert again.step(0.1).update(x=V).value("J") == graph.value("J")
    assert state == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert gv.trace(program, V).value("J") != graph.value("J") or made is Dropout


def test_a_generator_among_the_arguments_is_as_after_one_run():
    rng, twin = np.random.default_rng(5), np.random.default_rng(5)
    graph = gv.trace(lambda x, r: np.sum(x * r.normal(size=3)), V, rng)
    assert graph.value("J") == np.sum(V * twin.normal(size=3))
    assert graph.check()
    assert graph.step(0.5).check()
    assert rng.normal() == twin.normal()


def test_a_program_whose_random_numbers_cannot_be_repeated_is_told_so():
    graph = gv.trace(lambda x: np.sum(x * np.random.default_rng().normal(size=3)), V)
    found = graph.check()
    assert found
    assert "the program computes another J each time that it is run" in found.text
    assert "differences" not in [row.how for row in found.rows]


# --- drawn ---------------------------------------------------------------------------------------


def edge(picture, name):
    """The drawn edge whose tooltip begins so."""
    found = re.search(rf'<g[^>]*class="arrow[^>]*>\s*<title>{name}.*?</g>', picture, re.DOTALL)
    assert found, name
    return found[0]


def test_the_edge_into_stop_gradient_is_broken_and_says_why():
    graph = gv.trace(lambda x: x * gv.stop_gradient(x), 3.0)
    drawing = graph.draw()
    assert "stroke-dasharray" in edge(drawing.svg, "x → v_1")
    assert "no gradient" in drawing.svg
    assert "dashed" in drawing.dot
    other = gv.trace(lambda x: x * np.sin(x), 3.0).draw()
    assert "stroke-dasharray" not in other.svg


def test_a_value_whose_number_came_back_is_marked_in_every_picture():
    def program(x):
        y = x**2
        return x * float(y)

    graph, said = warned(program, 1.5)
    assert said
    assert "read as a number" in graph.draw().svg
    assert "read as a number" in graph.draw(detail="operations").svg
    plain, _ = warned(lambda x: x * x, 1.5)
    assert "read as a number" not in plain.draw().svg


@pytest.mark.filterwarnings("ignore")
def test_the_graph_of_named_values_tells_what_the_whole_one_tells(tmp_path):
    def program(x):
        y = x * x
        z = y * float(y) + 1.0
        w = z * 3.0 + x
        return w

    graph, _ = warned(program, 2.0)
    graph.save(tmp_path / "g.json")
    loaded = gv.load(tmp_path / "g.json")
    for told in (graph, loaded, loaded.update(x=3.0)):
        shown = told.statements
        assert len(shown) < len(told)
        assert {shown.names[i]: how for i, how in shown.returned.items()} == {
            told.names[i]: how for i, how in told.returned.items()
        }
        assert "y was read as a plain number by float()" in shown.diagnose().text


class Told:
    """The Graph of a program, and all that is said when its gradients are asked for."""

    def __init__(self, function, *args):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            self.graph = gv.trace(function, *args)
            self.graph.gradients()
        self.words = [str(w.message) for w in seen]


def _length(x):
    try:
        return len(x)
    except TypeError:
        return 7


def _matched(x):
    match x:
        case Sized():
            return 2
        case _:
            return 3


QUESTIONS = {
    "type is": lambda x: 2 if type(x) in (float, np.float64, np.ndarray) else 3,
    "type name": lambda x: 2 if type(x).__name__ != "Array" else 3,
    "hasattr len": lambda x: 2 if hasattr(x, "__len__") else 3,
    "hasattr shape": lambda x: 2 if hasattr(x, "shape") else 3,
    "getattr": lambda x: 2 if getattr(x, "tolist", None) is None else 3,
    "getattr of what only a recorded one has": lambda x: 2 if getattr(x, "scope", 0) else 3,
    "Sized": lambda x: 2 if isinstance(x, Sized) else 3,
    "Iterable": lambda x: 2 if isinstance(x, Iterable) else 3,
    "match": _matched,
    "len": _length,
    "class name": lambda x: 2 if x.__class__.__name__ == "float" else 3,
}


@pytest.mark.parametrize("start", [1.0, 1.5, np.float64(1.5), np.array(1.5), V], ids=repr)
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_program_that_asks_for_types_is_recorded_as_it_runs_alone_or_told_with_its_line(
    question, start
):
    def program(x):
        return np.sum(x ** question(x))

    told = Told(program, start)
    power = question(start)
    right = np.allclose(told.graph.grad("x"), power * np.asarray(start) ** (power - 1))
    if right:
        assert not told.words
        return
    (words,) = told.words
    assert "another" in words
    assert "test_reads.py:" in words
    assert "another J" in [finding.kind for finding in told.graph.diagnose().findings]


def test_a_loaded_graph_at_other_values_still_tells_that_the_program_computes_another_J(tmp_path):
    told = Told(lambda x: np.sum(x ** QUESTIONS["type name"](x)), V)
    told.graph.save(tmp_path / "asked.json")
    with pytest.warns(UserWarning, match="another J: on plain numbers"):
        loaded = gv.load(tmp_path / "asked.json")
    moved = loaded.update(x=2 * V)
    with pytest.warns(UserWarning, match="another J: where it was recorded, on plain numbers the"):
        moved.grad("x")
    assert moved.update(x=3 * V).astray == moved.astray  # said once, not once for each replay


def test_a_type_that_is_asked_for_without_consequence_is_not_warned_of():
    def program(x):
        if not isinstance(x, (float, np.ndarray, np.floating)) or type(x) is str:
            raise TypeError(type(x))
        print(type(x).__name__, hasattr(x, "shape"), getattr(x, "name", "x"))
        return np.sum(np.exp(x)) * (1 if hasattr(x, "__add__") else 2)

    assert not Told(program, V).words
    assert not Told(program, 1.5).words
    assert not Told(program, V.astype(np.float32)).words


def test_a_program_that_counts_its_calls_and_asks_for_types_is_not_blamed_for_the_types():
    numbers = iter(range(1, 10**6))

    def program(x):
        return np.sum(x) * next(numbers) if isinstance(x, np.ndarray) else x

    assert not Told(program, V).words


TEXTS = {
    "str": lambda x: float(str(x)),
    "empty format": lambda x: float(f"{x}"),
    "repr": lambda x: float(re.sub(r"[a-z.]*\w*\((.*)\)", r"\1", repr(x))),
    "percent s": lambda x: float("%s" % x),  # noqa: UP031
    "tobytes": lambda x: np.frombuffer(x.tobytes()),
    "hex": lambda x: float.fromhex(x.hex()),
    "ratio": lambda x: np.divide(*x.as_integer_ratio()),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_number_that_comes_back_from_a_text_is_told(text):
    told = Told(lambda x: np.sum(text(x) * x), np.float64(1.1))
    assert float(told.graph.grad("x")) != 2.2
    assert "plain number" in told.words[0]


@pytest.mark.parametrize("start", [1.1, np.float64(1.1), np.float32(1.1), np.array(1.1), V])
def test_a_traced_program_writes_the_texts_that_numpy_writes(start):
    seen = []

    def program(x):
        seen.append((str(x), repr(x), f"{x}", str([x]), f"{x!s:>9}"))
        return np.sum(x * x)

    program(start)
    assert not Told(program, start).words
    assert seen[0] == seen[1]


class Missing(Exception):
    """An attribute that NumPy has and a recorded value lacks."""


@pytest.mark.parametrize("start", [np.array([[0.5, 2.0]]), np.float64(0.5), 0.5], ids=repr)
@pytest.mark.parametrize("named", sorted({*dir(np.ndarray), *dir(np.float64), *dir(float)}))
def test_every_attribute_of_numpys_is_there_or_refused_in_words(start, named):
    if named.startswith("_") or not hasattr(start, named):
        return

    def program(x):
        try:
            getattr(x, named)
            exec(f"x.{named}", {"x": x})
        except AttributeError as error:
            raise Missing(named) from error
        return np.sum(x)

    refused = ""
    try:
        gv.trace(program, start)
    except gv.TraceError as error:
        refused = str(error)
    assert not refused or re.search(rf"\.{named} .*, at ", refused)


def test_a_program_that_asks_for_types_may_have_masks_and_integers_among_its_values():
    def program(x):
        assert isinstance(x, np.ndarray)
        return np.sum(np.where(x > 1.5, x, 2.0) * np.array([1, 2, 3]))

    assert not Told(program, V).words


def test_pytests_own_code_in_place_of_an_assert_is_not_searched():
    def program(x):
        assert x > 1
        return x

    assert {name for name in program.__code__.co_names if name.startswith("@")}
    reached = reach([("program", program)])
    assert not [f for f in reached if getattr(f.value, "__module__", "").startswith("_pytest")]


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x[0] * len(set(x)),
        lambda x: x[0] * (2.0 if x[1] in {0.7, 0.8} else 5.0),
        lambda x: x[0] * {0.6: 3.0, 0.7: 4.0}.get(x[1], 1.0),
        lambda x: x[0] * max(Counter(x).values()),
        lambda x: x[0] * len(dict.fromkeys(x)),
    ],
    ids=["set", "in", "dict", "Counter", "keys"],
)
def test_numbers_that_are_one_in_a_set_and_recorded_are_several_are_told(program):
    x = np.array([0.6, 0.7, 0.6])
    graph = gv.trace(program, x)
    assert not np.isclose(float(graph.values[graph.output].value), program(x))
    with pytest.warns(UserWarning, match="equal numbers are one in a set .* at .*: lambda x"):
        graph.grad("x")
    finding = graph.diagnose().findings[0]
    assert (finding.kind, finding.severity) == ("another J", "error")


@pytest.mark.filterwarnings("error")
def test_a_cache_of_recorded_numbers_gives_none_of_them_away():
    square = lru_cache(None)(lambda t: t**2)

    def program(x):
        return 3 * square(x) + square(x + 1)

    for _ in range(2):  # the cache holds those of the first
        graph = gv.trace(program, 2.0)
        assert graph.grad("x") == 3 * 2 * 2 + 2 * 3
        assert type(program(2.0)) is float

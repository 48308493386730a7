"""Programs that write into arrays, and through views of them: NumPy's result, the right gradient.

NumPy itself is the other opinion: `check` runs the program on plain arrays.
"""

from __future__ import annotations

import copy
import functools
import gc
import random
import tracemalloc

import numpy as np
import pytest
from thorough import examples
from writing_programs import compare_writing

import gradviz as gv
from gradviz.chain import backward
from gradviz.record import pending

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])

PROGRAMS = """
y = x * 2; y += 1; J(y * y)
y = x * 2; z = y; y *= x; J(z * y)
x += 1; x *= x; J(x)
y = (x * 2).astype(float, "F"); s = y.ravel("K"); s[1] = x[0, 0] * 5; J(y * x)
z = (x * x).T; z.ravel("K")[4] = x[0, 1]; J(z.T * x)
y = np.choose(0, [x]); y[0] = 2; J(x * y)
y = x * 2; y -= x[0]; y /= 3; y **= 2; J(y * x)
y = x * 2; y[0] = 5; J(y * y)
y = x * 2; y[0, 1] = x[1, 0] * y[0, 0]; J(y * y)
y = x * 2; y[y > 0] = 0; J(y * y)
y = x * 2; y[y > 0] *= 3; J(y * y)
y = x * 2; y[[0, 1], [1, 1]] += x[:, 0]; J(y * y)
y = x * 2; y[:, [0, 0]] = x[:, 1:]; J(y * y)
y = x * 2; y[:, 1:] = x[0, 0]; J(y * y)
y = x * 2; y[...] = [[1], [2]]; J(y * x)
y = x * 2; before = y * y; y[0] = 1; J(before + y)
y = x * 2; r = y[0]; r += 1; J(y * y + r)
y = x * 2; r = y[0]; y[0, 1] = 7; J(y * r)
y = x * 2; r = y[0]; y += x; r *= 2; J(y * r)
y = x * 2; r = y.T; r[0] = x[0, 0]; J(y * y + r.T)
y = x * 2; r = y.reshape(-1)[1:4]; r[:] = r[::-1] * x[0]; J(y * y)
y = x * 2; r = y.flatten(); r[:] = 0; J(y * y)
y = x * 2; r = y.ravel(); r[2] = x[0, 1]; s = r[1:]; s *= x[0, 0]; J(y * y)
y = x * 2; y[0], y[1] = y[1] * 1, y[0] * 1; J(y * np.arange(3))
y = x * 2; y[0] = y[1]; y[1] = y[0]; J(y * x)
y = np.zeros_like(x); y[0] = x[1]; y[1] += x[0] * y[0]; J(y * y)
y = np.empty_like(x); y[:] = x; y[0] = np.tanh(y[1] @ x.T)[0]; J(y * y)
y = np.ones_like(x); y[1] = 2; J(y * x)
y = np.zeros_like(x); np.multiply(x, x, out=y); J(y * x)
y = x * 1; np.exp(x, out=y[0:2]); J(y * y)
y = x * 1; np.multiply(x, 3, out=y, where=X > 0); J(y * y)
y = np.zeros_like(x[0]); np.sum(x, axis=0, out=y); J(y * y)
y = np.zeros_like(x); np.add.at(y, ([0, 0, 1], [1, 1, 2]), x[0]); J(y * y)
y = x * 1; np.subtract.at(y, 0, x[1]); J(y * y)
y = x * 1; np.copyto(y, x[0] * x[0]); J(y * y)
y = x * 1; np.copyto(y, 2 * x, where=X > 0); J(y * y)
y = x * 1; np.put(y, [0, 4], x[0, :2]); J(y * y)
y = x * 1; np.putmask(y, X > 0, x * x); J(y * y)
y = x[:, :2] * 1; np.fill_diagonal(y, x[0, 0]); J(y * y)
y = x * 1; y.fill(x[0, 0]); J(y * x)
y = x * 1; y.sort(axis=1); J(y * np.arange(3))
y = x * 1; y[1].sort(); J(y * np.arange(3))
y = x[0] * 1; r = y[..., 0]; r *= 3; s = y.sum(); s += r; J(y * s)
y = x[0] * 1; r = y[..., 0]; y[0] = x[1, 1]; J(y * r)
y = x[0] * 1; r = y[..., 0]; s = r[None]; r *= 2; s += x[0, 1]; y[1] = 3; J(y * r + s)
y = x[:1, :1] * 1; r = y.squeeze(); r += x[1, 1]; t = y.reshape(()); t[...] = t * t; J(y * r)
h = np.zeros_like(x.T); [h.__setitem__(i, np.tanh(h[i - 1] + x[:, i])) for i in range(3)]; J(h)
y = np.sin(x); z = y * 2; np.exp(x, out=y); J(z)
b = 0 * x; s = [np.sin(np.multiply(x, float(k), out=b)) for k in range(3)]; J(sum(s))
y = x ** 2; z = y * 1; np.copyto(y, x); J(z * y)
y = x ** 2; z = y.sum(); np.cumsum(x[0], out=y[0]); J(z * y)
y = x ** 2; z = y * y; np.clip(x, -0.6, 0.9, out=y); J(z)
y = x ** 2; z = y * y; np.clip(x, -0.6, 0.9, y); J(z + y)
y = x[0] ** 2; z = y * y; x.sum(0, out=y); J(z + y)
y = x[0] ** 2; z = y * y; np.mean(x, 0, None, y); J(z + y)
y = x ** 2; z = y * y; np.add(x, 1, y); np.negative(y, y); J(z + y)
y = x ** 2; z = y.T * 1; np.add.accumulate(x, axis=1, out=y); J(z.T + y)
y = x @ x.T; z = y * y; np.dot(x, 3 * x.T, out=y); J(z + y)
y = x @ x.T; z = y * y; np.dot(x, 3 * x.T, y); J(z + y)
y = x @ x.T; z = y * y; x.dot(2 * x.T, out=y); J(z + y)
y = x ** 2; z = y * y; np.add(2.0, x[0, 0], out=y); J(z + y)
y = x ** 2; z = y * y; np.concatenate([x[:1], x[:1]], out=y); J(z + y)
y = x ** 2; z = y * y; np.einsum("ij->ij", x, out=y); J(z + y)
y = x ** 2; z = y * y; np.take(x, [0, 0], axis=0, out=y); J(z + y)
y = x[0] ** 2; z = y[1:]; w = z * 1; np.multiply(x[1, 1:], 1, out=z); J(w * z) + J(y)
y = np.cos(x); r = y[0]; z = r * 2; np.sin(x, out=y); J(z * r)
y = copy.deepcopy(x); y += 1; J(x * y)
y = copy.copy(x); y *= 2; J(x * y)
y, z = copy.deepcopy([x, x]); y += 1; J(x * z)
y = copy.deepcopy({"a": x, "b": [x[0]]}); y["b"][0] *= 3; J(y["a"] * x + y["b"][0])
y = x.copy(); y[0] = 1; J(x * y)
y = np.copy(x); y[0] = 1; J(x * y)
y = x.view(); y[0] = x[1, 1]; J(x * y)
y = x[:]; y[0] = x[1, 1]; J(x * y)
y = x.astype(float, copy=False); y *= 2; J(x * x)
y = np.astype(x, float, copy=False); y *= 2; J(x * x)
y = x.astype(float); y *= 2; J(x * y)
y = x.astype(float, order="F", copy=False); y *= 2; J(x * y)
y = x.ravel(); y[1] = x[1, 0]; J(x * x)
y = x.T.ravel(); y[1] = x[1, 0]; J(x * x) + J(y)
y = x.reshape(3, 2); y[1] = x[1, :2]; J(x * x)
y = x.reshape(3, 2, copy=True); y[1] = x[1, :2]; J(x * x) + J(y)
y = np.ravel(x, order="F"); y[1] = 0; J(x * x) + J(y)
a, b = np.split(x, 2); a[:] = b; J(x * x)
a, b, c = np.hsplit(x, 3); a *= b; c[:] = a; J(x * x)
y = np.zeros_like(x); y[:] = np.broadcast_arrays(x[0], y)[0]; J(y * y)
y = np.atleast_2d(x[0]); y[0, 1] = x[1, 1]; J(x * x)
y = np.swapaxes(x, 0, 1); y[0] = x[1, 1]; J(x * x)
y = np.flip(x); y[0, 0] *= 4; np.fliplr(x)[0] = y[1]; J(x * x)
y = np.einsum("ii->i", x[:, :2]); y *= 5; J(x * x)
z = x + 1j * x; z.real[0] = 5; J(abs(z) ** 2)
z = x + 1j * x; r = z.imag[0]; r *= x[1]; z[1] = x[0] * 1j; J(abs(z) ** 2) + J(r)
z = x + 1j * x; np.real(z)[:] = x ** 2; J(abs(z) ** 2)
y = x.conj(); y[0] = 5; J(x * x)
y = x * 2; z = y * y; q = x * 3; np.divmod(x, 0.7, out=(q, y)); J(z * y + q * x)
y = np.zeros_like(x); z = np.divmod(x, 0.7, out=(None, y)); J(z[0] * x + z[1] * y)
y = x * 2; z = x * x; np.modf(x, out=(y, z), where=x > 0); J(y * z)
x.flat[1:3] = x[1, 0]; J(x * x)
y = x * 1; y.flat[::4] += x[0, 1]; J(x * y) + sum(v * v for v in y.flat) + y.flat[2] * len(y.flat)
y, z = np.meshgrid(x[0], x[0], sparse=True); y[0, 0] = 3; J(x) + J(y * z)
y, z = np.meshgrid(x[0], x[0], sparse=True, copy=False); y[0, 0] = 3; J(x) + J(y * z)
y = x * 2; f = gv.grad(lambda z: J(z * y)); y[0] = 1; J(f(x) * y)
y = x * 1; y[0] = gv.grad(lambda z: np.sum(z ** 3))(y)[1]; J(y * y)
"""


if np.lib.NumpyVersion(np.__version__) < "2.1.0":
    PROGRAMS = PROGRAMS.replace("reshape(3, 2, copy=True)", "reshape(3, 2).copy()")


@pytest.mark.parametrize("code", [line for line in PROGRAMS.split("\n") if line])
def test_a_program_that_writes_has_numpys_result_and_the_right_gradient(code):
    *statements, result = code.split("; ")
    source = "\n    ".join(["def program(x):", *statements, f"return {result}"])
    names = {
        "np": np,
        "gv": gv,
        "X": X,
        "copy": copy,
        "J": lambda y: np.sum(y * np.cos(np.arange(y.size)).reshape(y.shape)),
    }
    exec(source, names)
    g = gv.trace(names["program"], X)
    assert g.value(g.names[g.output]) == pytest.approx(names["program"](X.copy()), rel=1e-13)
    found = g.check(detail="operations", tolerance=1e-5)
    assert found, found.text
    assert g.value("x").tolist() == X.tolist()
    h = gv.input(X, "x")
    assert gv.graph(names["program"](h)).value("J") == g.values[g.output].value


def test_a_number_is_bound_anew_and_an_array_without_axes_is_written_to():
    def program(x):
        y = x
        y *= 3
        return x * y

    assert gv.trace(program, 2.0).value("J") == 12
    assert gv.trace(program, np.array(2.0)).value("J") == program(np.array(2.0)) == 36


def test_second_derivatives_of_a_program_that_writes():
    def plain(x):
        return np.sum(np.concatenate([x[:1] ** 3, x[1:] * x[:1]]) ** 2)

    def writing(x):
        y = x * 1
        y[0] **= 3
        tail = y[1:]
        tail *= x[0]
        return np.sum(y**2)

    point = np.array([0.5, 1.5, -2.0])
    np.testing.assert_allclose(gv.hessian(writing)(point), gv.hessian(plain)(point), rtol=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_that_write_through_views_and_buffers(seed):
    compare_writing(random.Random(f"{seed}"), 4 + seed % 12)


def test_parts_and_elements_of_an_array_are_assigned_as_attributes():
    def program(x):
        made = np.zeros(4, complex)
        made.real = x
        made.imag = x[::-1] * 2
        z = made * (1 + 2j)
        z.real = x**2
        z.imag += x
        y = np.zeros(4)
        y.flat = x * 3
        y.real = y * x
        return np.sum(np.abs(made * z)) + np.sum(y)

    x = np.array([0.5, -1.0, 2.0, 0.25])
    g = gv.trace(program, x)
    assert g.value("J") == pytest.approx(program(x))
    assert g.check(), g.check().text
    with pytest.raises(gv.TraceError, match=r"write x = x\.reshape\(\(2, 2\)\)"):
        gv.trace(lambda x: setattr(x, "shape", (2, 2)) or np.sum(x), x)


def test_shuffle_is_refused():
    def program(x):
        y = x * 1
        np.random.default_rng(0).shuffle(y)
        return np.sum(y)

    with pytest.warns(UserWarning, match="shuffling"), pytest.raises(gv.TraceError, match="perm"):
        gv.trace(program, X)


def test_programs_with_views_leave_no_cycles_behind():
    def program(x):
        return np.sum(x[1:] * x[:-1]) + np.sum(x.reshape(-1)[::2])

    gv.trace(program, X).gradients()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(20):
            gv.trace(program, X).gradients()
        assert len(gc.get_objects()) - before < 200
    finally:
        gc.enable()


def test_what_is_written_bears_the_arrays_name():
    def program(x):
        y = np.zeros_like(x)
        y[0] = x[1] * 2
        y[1:] += x[0]
        y *= x
        return np.sum(y)

    g = gv.trace(program, np.array([1.0, 2.0, 3.0]))
    written = [(n, g.values[g.id(n)].operation.name) for n in ("y", "y(2)", "y(3)")]
    assert written == [("y", "setitem"), ("y(2)", "setitem"), ("y(3)", "multiply")]
    assert g.source(g.id("y(3)"))[2] == "y *= x"
    assert len([n for n in g.values if n.operation.name == "setitem"]) == 2


@pytest.mark.parametrize("second", [lambda a: a, lambda a: a[::-1], lambda a: a[1:]])
def test_a_program_that_writes_into_one_of_two_arguments_in_the_same_memory_is_refused(second):
    a = np.array([1.0, 2.0, 3.0])

    def writes(p):
        p["a"][0] *= 2.0
        return np.sum(p["a"]) * np.sum(p["b"][0])

    with pytest.raises(gv.TraceError, match=r"p\.a, which shares memory with p\.b\[0\].*\*= 2\.0"):
        gv.trace(writes, {"a": a, "b": [second(a)]})
    g = gv.trace(writes, {"a": a, "b": [second(a).copy()]})
    assert g.value("J") == writes({"a": a.copy(), "b": [second(a).copy()]})
    g = gv.trace(lambda x, y: np.sum(x) * np.sum(y), a, second(a))  # reading does no harm
    assert g.grad("y").tolist() == [6.0] * len(second(a))


def reaches_its_argument(a, way):
    """A program of one argument that also comes to this array in another way."""

    class Model:
        weight = a

        def loss(self, x):
            x[0] *= 2.0
            return np.sum(x * self.weight)

    def by_default(x, y=a):
        x[0] *= 2.0
        return np.sum(x * y)

    def writes_a_view_of_it(x):
        a[:1] *= 2.0
        return np.sum(x * x)

    def by_closure(x):
        np.multiply(x, 2.0, out=x)
        return np.sum(x * a[::-1])

    bound = functools.partial(lambda y, x: by_default(x, y), a)
    ways = (Model().loss, by_default, by_closure, writes_a_view_of_it, bound)
    return ways[way]


@pytest.mark.parametrize("way", range(5))
def test_a_program_that_writes_into_an_argument_that_it_also_reaches_otherwise_is_refused(way):
    a = np.array([1.0, 2.0, 3.0])
    with pytest.raises(gv.TraceError, match=r"(a global, a closure|another way).*pass a copy"):
        gv.trace(reaches_its_argument(a, way), a)
    g = gv.trace(reaches_its_argument(np.array([1.0, 2.0, 3.0]), way), np.array([1.0, 2.0, 3.0]))
    x = np.array([1.0, 2.0, 3.0])
    assert g.values[g.output].value == reaches_its_argument(np.array([1.0, 2.0, 3.0]), way)(x)
    g = gv.trace(lambda x: np.sum(x * a), a)  # reading does no harm
    assert g.grad("x").tolist() == a.tolist()


def loop(x):
    y = np.zeros(len(x))
    y[0] = x[0]
    for i in range(1, y.size):
        y[i] = 0.9 * y[i - 1] + x[i] ** 2
    y[3] *= 2.0
    return np.sum(y * y) / y.shape[0]


def test_a_loop_that_fills_a_large_array_number_by_number_takes_memory_in_proportion():
    def peak(size):
        x = np.linspace(-1.0, 1.0, size)
        tracemalloc.start()
        try:
            gv.trace(loop, x).grad("x")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(300)
    assert peak(2400) < 6 * peak(600)  # it was 16 times as much


def test_a_loop_that_fills_a_large_array_number_by_number_has_the_right_gradient():
    x = np.linspace(-1.0, 1.0, 300)
    g = gv.trace(loop, x)
    assert g.value("J") == pytest.approx(loop(x), rel=1e-14)
    assert g.check()
    (v,) = [v for v, key in g.readers[g.id("x")] if g.values[v].keywords == {"index": 7}]
    message = g.derivatives.messages[v, 0]  # a part of it is kept, the whole is shown
    assert message.shape == x.shape
    assert message[7] == g.grad("x")[7] != 0
    assert np.count_nonzero(message) == 1


@pytest.mark.parametrize("seed", range(examples(60)))
def test_numbers_that_wait_to_be_written_are_read_as_NumPy_reads_them(seed, monkeypatch):
    monkeypatch.setattr(pending, "LARGE", 0)  # each array is a large one
    monkeypatch.setattr(backward, "LARGE", 0)
    compare_writing(random.Random(seed), steps=14)


def test_an_integer_argument_that_the_program_writes_to_stays_as_it_was():
    def program(x, counts):
        counts += 1
        return np.sum(x * counts)

    counts = np.array([1, 2])
    g = gv.trace(program, np.array([3.0, 4.0]), counts)
    assert counts.tolist() == [1, 2]
    assert g.grad("x").tolist() == [2, 3]
    assert g.update(x=[5.0, 6.0]).grad("x").tolist() == [2, 3]
    assert g.check()


@pytest.mark.parametrize("view", [np.diag, np.diagonal, lambda x: np.broadcast_to(x, x.shape)])
def test_a_read_only_view_is_not_written_to(view):
    def program(x):
        view(x)[0] = 1.0
        return np.sum(x)

    with pytest.raises(ValueError, match="read-only"):
        gv.trace(program, X)


REFUSED_BY_NUMPY = """
y = (x * 2).reshape(3, 2); v = y[:, 0]; v[1] = x[0, :1]; J(y)
y = x * 2; y.flat[0] = x[0, :1]; J(y)
y = x * 2; y[0, 1] = [x[0, 0]]; J(y)
x.flags.writeable = False; x[0] = 1; J(x)
y = x * 2; y.setflags(write=False); y += 1; J(y)
y = x * 2; y.flags["W"] = False; v = y[0]; v[:] = 1; J(y)
y = np.imag(x); y[0] = 1; J(y + x)
"""


@pytest.mark.parametrize("code", REFUSED_BY_NUMPY.strip().split("\n"))
def test_what_numpy_does_not_write_is_not_written(code):
    def program(x):
        names = {"x": x, "np": np, "J": lambda y: np.sum(y * y)}
        exec(code.replace("J(", "out = J("), names)
        return names["out"]

    for run in (lambda: program(X.copy()), lambda: gv.trace(program, X)):
        with pytest.raises(ValueError, match=r"read-only|sequence|single item"):
            run()


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.__setitem__(0, 1), lambda x: x.__iadd__(1), lambda x: x[:1].__imul__(2),
        lambda x: x.T.fill(0), lambda x: np.copyto(x, 2 * x), lambda x: x.sort(),
        lambda x: np.add(x, x, out=x), lambda x: x.flat.__setitem__(0, 2),
    ],
)  # fmt: skip
def test_a_read_only_argument_is_not_written_to(write):
    def program(x):
        y = x * 2
        write(x)
        return np.sum(x * y)

    fixed = X.copy()
    fixed.flags.writeable = False
    for run in (program, lambda x: gv.trace(program, x)):
        with pytest.raises(ValueError, match="read-only"):
            run(fixed)
    assert gv.trace(program, X).check()


def test_a_program_sees_and_sets_whether_an_array_is_read_only():
    def program(x):
        assert (x.flags.writeable, x[0, 0].flags.writeable) == (True, False)
        x.flags.writeable = False
        assert (x.flags["WRITEABLE"], x[0].flags.writeable) == (False, False)
        x.setflags(write=True)
        x[0] = 2 * x[1]
        return np.sum(x * x)

    assert gv.trace(program, X).check()


def test_a_plain_array_whose_zeros_change_their_sign_is_another_one():
    def program(x):
        signs = np.zeros(2)
        first = np.copysign(x, signs)
        signs *= -1
        return np.sum(first + 3 * np.copysign(x, signs))

    assert gv.trace(program, np.array([1.0, 2.0])).grad("x").tolist() == [-2, -2]


@pytest.mark.parametrize(
    "made",
    [
        lambda x: np.array(x), lambda x: np.copy(x), lambda x: x.copy(),
        lambda x: x.copy("A"), lambda x: np.copy(x, "C"),
        lambda x: np.array(np.array(x, order="F")), lambda x: np.where(x > 0, x, 0),
        lambda x: np.zeros_like(x) + x, lambda x: np.asfortranarray(np.ones((3, 2))) * x,
        lambda x: np.select([x > 1], [x], 0.5), lambda x: np.choose((x > 1) * 1, [x, x * x]),
        lambda x: np.piecewise(x, [x > 1], [np.sin, lambda t: t]), lambda x: np.full_like(x, x[0]),
        lambda x: np.insert(x, 1, x[0], axis=0),
        lambda x: np.full_like(np.moveaxis(np.stack([x, x]), 0, 1), 2.0) * x[:, None],
    ],
)  # fmt: skip
def test_arrays_lie_in_memory_as_numpys_do(made):
    def program(x):
        found.append(made(x).strides)
        return np.sum(made(x))

    found: list[tuple[int, ...]] = []
    for x in (X.T, np.asfortranarray(X.T), np.ascontiguousarray(X.T)):
        program(x)
        gv.trace(program, x)
        assert found[-1] == found[-2]


WITHOUT_AXES = (  # what NumPy makes arrays, and what scalars
    lambda x: np.full((), x[0] * 2), lambda x: np.full((), x[0], dtype=float),
    lambda x: np.full_like(np.zeros(()), x[0]), lambda x: np.where(x[0] > 0, x[0] * 2, x[1]),
    lambda x: np.select([x[0] > 0], [x[0] * 2], x[1]), lambda x: np.roll(np.array(x[0] * 2), 1),
    lambda x: np.piecewise(x[0], [x[0] > 0], [lambda t: t * 2]),
    lambda x: np.broadcast_to(x[0] * 2, ()).copy(), lambda x: np.ascontiguousarray(x[0] * 2),
    lambda x: np.array(x[0] * 2).T, lambda x: (x * 2)[0, ...], lambda x: (x[:1] * 2).reshape(()),
    lambda x: (x[0] * 2).astype(float), lambda x: np.interp(0.5, [0.0, 1.0], x[:2]),
    lambda x: np.choose(0, [x[0] * 2, x[1]]), lambda x: np.clip(np.array(x[0]), -9, 9),
    lambda x: np.max(x), lambda x: np.mean(x, out=np.zeros(())), lambda x: np.copy(x[0]),
)  # fmt: skip
WRITING = (
    lambda y: np.negative(y, out=y[...]), lambda y: y.__setitem__(..., y * 3),
    lambda y: y.__setitem__((), y * 3), lambda y: y.fill(2.5), lambda y: np.copyto(y, y * 3),
    lambda y: y.reshape(1).__setitem__(0, y * 3), lambda y: np.ravel(y).__setitem__(0, y * 3),
    lambda y: np.add(y, y, out=y), lambda y: y.T.__setitem__(..., y * 3),
    lambda y: np.put(y, [0, -1], [y * 2, y * 3]), lambda y: y.put([], 3.0), lambda y: y.put(0, 2.0),
    lambda y: np.copyto(y, 3.0), lambda y: np.place(y, True, [3.0]),
    lambda y: y.flat.__setitem__(0, 3), lambda y: np.putmask(y, True, 3.0),
    lambda y: np.multiply.at(y, (), y * 2), lambda y: np.sum(y, out=y),
)  # fmt: skip


@pytest.mark.parametrize("made", WITHOUT_AXES)
def test_what_numpy_makes_an_array_without_axes_is_written_into_and_a_scalar_is_not(made):
    x = np.array([0.7, -0.4, 1.2])
    for write in WRITING:

        def program(x, write=write):
            y = made(x)
            whole = y[...]
            write(y)
            return np.sum(y * y) + np.sum(y * whole) + x[2]

        try:
            expected = program(x.copy())
        except (AttributeError, TypeError):  # a scalar is not written into
            with pytest.raises((AttributeError, TypeError)):
                gv.trace(program, x)
            continue
        except ValueError:
            continue
        g = gv.trace(program, x)
        np.testing.assert_allclose(g.values[g.output].value, expected, rtol=1e-14)
        assert g.check()

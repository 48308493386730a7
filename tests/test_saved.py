"""Graphs in files, in pickles, in other processes; and that none outlives its use."""

import base64
import contextlib
import copy
import gc
import json
import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from importlib import resources

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from programs import programs
from thorough import examples

import gradviz as gv
from gradviz.ops.dispatch import dispatched
from gradviz.ops.operation import fit

SCHEMA = json.loads(
    resources.files("gradviz.keep").joinpath("schema.json").read_text(encoding="utf-8")
)
VALID = jsonschema.Draft202012Validator(SCHEMA)


def round_trip(graph, folder, name="graph.json"):
    graph.save(folder / name)
    VALID.validate(json.loads((folder / name).read_text(encoding="utf-8")))
    return gv.load(folder / name)


def same(a, b):
    """The same type, dtype, shape and bits."""
    if not isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and repr(a) == repr(b)
    return (
        type(a) is type(b)
        and a.dtype == b.dtype
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
    )


def assert_alike(loaded, graph):
    """Two Graphs that nobody who looks at them can tell apart."""
    assert loaded.names == graph.names
    assert loaded.named == graph.named
    assert loaded.operands == graph.operands
    assert (loaded.output, loaded.wrt, loaded.title) == (graph.output, graph.wrt, graph.title)
    for one, other in zip(loaded.values, graph.values, strict=True):
        assert same(one.value, other.value)
        assert one.scope == other.scope
    for i in range(len(graph)):
        assert loaded.source(i) == graph.source(i)
    for detail in ("names", "operations"):
        one, other = loaded.draw(detail=detail), graph.draw(detail=detail)
        assert (one.dot, one.text) == (other.dot, other.text)
        few = loaded.draw(detail=detail, budget=5), graph.draw(detail=detail, budget=5)
        assert few[0].view == few[1].view
    for (u, v, key, one), (*edge, other) in zip(
        loaded.dag.edges(keys=True, data=True), graph.dag.edges(keys=True, data=True), strict=True
    ):
        assert [u, v, key] == edge
        assert same(one["local"], other["local"])
        assert same(one["message"], other["message"])
    for i in graph.dag:
        assert same(loaded.dag.nodes[i]["grad"], graph.dag.nodes[i]["grad"])
        assert loaded.dag.nodes[i]["grad_state"] == graph.dag.nodes[i]["grad_state"]


# --- kept ----------------------------------------------------------------------------------------


def test_the_network_loads_as_it_was(network, tmp_path):
    loaded = round_trip(network, tmp_path)
    assert_alike(loaded, network)
    assert loaded.draw(backward="beside").svg == network.draw(backward="beside").svg
    assert str(loaded.explain("w1", after=("w5", "b2"))) == str(
        network.explain("w1", after=("w5", "b2"))
    )
    assert loaded.explain("w1").latex == network.explain("w1").latex
    assert str(loaded.reuse("w5", "b2", "w1")) == str(network.reuse("w5", "b2", "w1"))
    assert list(loaded.dag.edges) == list(network.dag.edges)
    assert loaded.check().ok


def test_a_loaded_graph_runs_again(network, tmp_path):
    loaded = round_trip(network, tmp_path)
    assert loaded.update(w1=0.7).gradients() == network.update(w1=0.7).gradients()
    assert loaded.step(0.5).value("J") == network.step(0.5).value("J")
    assert_alike(round_trip(loaded, tmp_path, "again.json"), network)
    first, second = ((tmp_path / name).read_bytes() for name in ("graph.json", "again.json"))
    assert first == second


@settings(max_examples=examples(60), deadline=None)
@given(program=programs())
def test_every_program_loads_as_it_was(tmp_path_factory, program):
    graph = program.graph()
    loaded = round_trip(graph, tmp_path_factory.mktemp("program"))
    assert_alike(loaded, graph)
    leaves = {name: value + 0.5 for name, value in graph.leaf_values().items()}
    one, other = loaded.update(leaves), graph.update(leaves)
    assert same(one.value("J"), other.value("J"))
    assert one.gradients().keys() == other.gradients().keys()


@settings(max_examples=examples(60), deadline=None)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3),
    dtypes=st.tuples(*[st.sampled_from(("float32", "float64", "complex128"))] * 3),
    functions=st.lists(st.sampled_from((np.add, np.multiply, np.divide, np.subtract, np.power)),
                       min_size=2, max_size=2),
    named=st.booleans(),
)  # fmt: skip
def test_local_derivatives_of_broadcast_arrays(tmp_path_factory, shapes, dtypes, functions, named):
    rng = np.random.default_rng(0)
    leaves = [
        rng.uniform(0.5, 1.5, shape).astype(dtype)
        for shape, dtype in zip(shapes.input_shapes, dtypes, strict=True)
    ]

    def f(a, b, c):
        if named:
            y = functions[0](a, b)
            z = functions[1](np.exp(c), y) * a
            return np.sum(np.abs(z))
        return np.sum(np.abs(functions[1](np.exp(c), functions[0](a, b)) * a))

    whole = gv.trace(f, *leaves)
    assert_alike(round_trip(whole, tmp_path_factory.mktemp("program")), whole)
    for g in (whole, whole.statements):
        for (v, key), message in g.derivatives.messages.items():
            local, u = g.local(v, key), g.operands[v][key]
            value, operand = g.values[v].value, g.values[u].value
            if v == g.output:  # the whole derivative of a scalar
                assert np.shape(local) == np.shape(operand)
            elif local is not None:
                assert np.shape(local) == np.shape(value)
                found = fit(g.adjoint(v) * local, operand)
                np.testing.assert_allclose(found, message, rtol=1e-5, atol=1e-6)


def arrays_program(w, x, mask, labels, scale):
    with gv.scope("layer"):
        z = np.einsum("ij,kj->ki", w, x[..., ::-1][:, None, :].reshape(x.shape))
        a = np.where(mask, np.tanh(z), 0.0) * scale
    picked = a[np.arange(2), labels][..., None]
    q = np.linalg.eigh(np.stack([picked, picked], axis=1)[:, :, 0] @ np.eye(2))[0]
    J = np.sum(np.concatenate([np.ravel(picked), q]), dtype=np.float64) + np.mean(
        np.transpose(a, (1, 0)), axis=(0, 1), keepdims=True
    ).astype(np.float32)
    return np.sum(J)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_indices_axes_masks_dtypes_and_scopes_are_kept(tmp_path, dtype):
    rng = np.random.default_rng(5)
    arguments = dict(
        w=rng.normal(size=(3, 4)).astype(dtype),
        x=rng.normal(size=(2, 4)).astype(dtype),
        mask=rng.normal(size=(2, 3)) > 0,
        labels=np.array([2, 0]),
        scale=2,
    )
    graph = gv.trace(arrays_program, **arguments, wrt="w")
    loaded = round_trip(graph, tmp_path)
    assert_alike(loaded, graph)
    new = arguments["w"] * 2
    assert same(loaded.update(w=new).grad("w"), graph.update(w=new).grad("w"))


EXACT = [
    np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1]),
    np.frombuffer(bytes(range(240, 256)), "<f8"),  # NaNs with payloads
    np.array([0.1, np.nan, -0.0], np.float32),
    np.array([0.1, 65504], np.float16),
    np.array([[1 + 2j, complex(np.nan, -0.0)]], np.complex64),
    np.array([1e-320j]),
    np.zeros((0, 3)),
    np.zeros((2, 0), np.float32),
    np.array(2.5),
    np.arange(6.0).reshape(2, 3).T,
    np.arange(6.0)[::-2],
    np.arange(3.0).astype(">f8"),
    np.float32(0.1),
    np.float16(0.1),
    np.float64(0.1 + 0.2),
    np.float64(-0.0),
    np.float64("nan"),
    np.float32("-inf"),
    np.complex128(1 - 0j),
]


@pytest.mark.parametrize("value", EXACT, ids=lambda v: f"{v.dtype}-{v.shape}")
def test_leaves_keep_every_bit(tmp_path, value):
    with np.errstate(all="ignore"):
        graph = gv.graph(gv.input(value, "x") * 2)
    loaded = round_trip(graph, tmp_path)
    kept, original = loaded.value("x"), graph.value("x")
    assert same(kept, original.astype(original.dtype.newbyteorder("="))[()])
    assert same(
        loaded.value("J"), graph.value("J").astype(graph.value("J").dtype.newbyteorder("="))
    )


@pytest.mark.parametrize(
    "constant",
    [3, 3.0, 1e400, float("nan"), True, 2 + 0j, 10**30, np.int8(3), np.uint64(2**63), np.bool(True),
     np.float32(0.1), np.arange(3), np.array([True, False, True]), np.array(3.0)],
    ids=lambda c: f"{type(c).__name__}-{c}",
)  # fmt: skip
def test_constants_keep_their_type(tmp_path, constant):
    graph = gv.graph(np.sum(gv.input(np.ones(3, np.float32), "x") * constant))
    loaded = round_trip(graph, tmp_path)
    for one, other in zip(loaded.values, graph.values, strict=True):
        assert same(one.value, other.value)
    assert same(loaded.update(x=[1, 2, 3]).value("J"), graph.update(x=[1, 2, 3]).value("J"))


def test_scalars_can_be_read_by_people(tmp_path):
    gv.graph(gv.input(np.float32(0.1), "x") * 0.3).save(tmp_path / "g.json")
    text = (tmp_path / "g.json").read_text()
    assert '"value": {"dtype": "float32", "value": 0.1}' in text
    assert '{"float": 0.3}' in text


def test_names_of_any_text_are_kept(tmp_path):
    names = ["z_o1", 'a"b', "<script>", "λ", "两", "\n", "‮abc", "😀", "c\\d", "0"]
    J = sum(gv.input(float(i), name) for i, name in enumerate(names))
    graph = gv.graph(J, title='"</title>')
    assert_alike(round_trip(graph, tmp_path), graph)


def test_zero_disconnected_and_underflown_stay_apart(tmp_path):
    def network(w, u):
        h = np.maximum(w * 2.0, 0.0)
        y = h + u * 1e-200 * 1e-200
        unused = u + 1.0  # noqa: F841
        return y * y

    graph = gv.trace(network, -1.0, 1.0)
    assert_alike(round_trip(graph, tmp_path), graph)


@dispatched
def mystery(x):
    return x + 1


def test_what_cannot_be_differentiated_is_kept_and_says_why(tmp_path):
    def f(x):
        y = mystery(x) * 2
        return np.sum(y)

    graph = gv.trace(f, np.arange(3.0))
    loaded = round_trip(graph, tmp_path)
    assert_alike(loaded, graph)
    with pytest.raises(gv.TraceError, match=r"no derivative rule for mystery.*y = mystery"):
        loaded.grad("x")
    with pytest.raises(gv.TraceError, match=r"v_1 cannot be computed again.*mystery.*only drawn"):
        loaded.update(x=np.ones(3))
    vector = gv.trace(lambda x: x * 2, np.ones(2))
    with pytest.raises(gv.TraceError, match=r"shape \(2,\)"):
        round_trip(vector, tmp_path).grad("x")


def test_an_unknown_operation_is_drawn_with_its_gradients(network, tmp_path):
    path = tmp_path / "g.json"
    network.save(path)
    path.write_text(path.read_text().replace('"op": "exp"', '"op": "exq"'))
    loaded = gv.load(path)
    assert loaded.gradients() == network.gradients()
    assert "v_5 = exq(v_4)" in loaded.draw(detail="operations").text
    assert "0.741" in loaded.draw().svg
    for detail in ("names", "operations"):
        one, other = loaded.detailed(detail).dag, network.detailed(detail).dag
        for edge, data in other.edges.items():
            assert same(one.edges[edge]["message"], data["message"])
            assert same(one.edges[edge]["local"], data["local"])
    with pytest.raises(gv.TraceError, match="the operation exq is not known here"):
        loaded.update(w1=1.0)


def test_longdouble_is_refused_and_leaves_no_file(tmp_path):
    graph = gv.graph(gv.input(np.longdouble(1), "x") * 2)
    if graph.value("x").dtype == np.float64:
        pytest.skip("this machine has no longer double")
    with pytest.raises(gv.TraceError, match="other machines lack it"):
        graph.save(tmp_path / "g.json")
    assert not list(tmp_path.iterdir())


def test_objects_of_micrograds_shape_are_kept(tmp_path):
    engine = pytest.importorskip("micrograd.engine")
    from gradviz.record.micrograd import read

    a, b = engine.Value(2.0), engine.Value(-3.0)
    c = (a * b + a**3).relu()
    c.backward()
    graph = read(c)
    loaded = round_trip(graph, tmp_path)
    assert loaded.gradients() == graph.gradients()
    assert loaded.draw().text == graph.draw().text


# --- files of strangers --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    def f(w, x):
        with gv.scope("s"):
            z = w @ x
        a = np.maximum(z[1:, None], 0.5) * np.float32(2)
        return np.sum(a, axis=(0, 1))

    path = tmp_path_factory.mktemp("document") / "g.json"
    gv.trace(f, np.arange(6.0).reshape(3, 2), np.array([1.0, np.nan]), wrt="w").save(path)
    return json.loads(path.read_text())


def load_document(document, folder):
    path = folder / "g.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return gv.load(path)


def change(document, *path_and_value):
    *path, last, value = path_and_value
    changed = copy.deepcopy(document)
    at = changed
    for key in path:
        at = at[key]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return changed


LAYER = {"scope": ["s"], "kind": "Linear", "arguments": "2 → 3", "training": True}
WRONG = [
    (("format", "other"), r'"format" is not "gradviz graph"'),
    (("version", 2), r"has version 2 of the format, this gradviz reads version 1"),
    (("version", 0), r"has version 0"),
    (("version", KeyError), r"has version None"),
    (("extra", 1), r"unknown field 'extra'"),
    (("title", 1), r"title: expected text"),
    (("output", 99), r"output: expected a node's number, below \d+, got 99"),
    (("output", True), r"output: expected a node's number"),
    (("wrt", 1), r"wrt: expected a list, got 1"),
    (("wrt", [-1]), r"wrt\[0\]: expected a node's number"),
    (("wrt", [4]), r"wrt\[0\]: node 4 is no input"),
    (("differentiated", False), r"differentiated: false, but there are gradients"),
    (("differentiated", 1), r"differentiated: expected true or false"),
    (("nodes", []), r"nodes: there are none"),
    (("nodes", {}), r"nodes: expected a list|expected a list"),
    (("nodes", 0, 5), r"nodes\[0\]: expected an object, got 5"),
    (("nodes", 0, "name", ""), r"nodes\[0\]: name: '' is empty"),
    (("nodes", 1, "name", "w"), r"nodes\[1\]: name: 'w' is taken"),
    (("nodes", 1, "name", "\ud800"), r"nodes\[1\]: name: expected text"),
    (("nodes", 1, "kind", "leaf"), r"nodes\[1\]: kind: 'leaf' is none of operation, input"),
    (("nodes", 2, "kind", "input"), r"nodes\[2\]: kind: input, but it has operands"),
    (("nodes", 2, "operands", [2, 1]), r"nodes\[2\]: operands: 2 does not come before node 2"),
    (("nodes", 2, "operands", [0, -1]), r"nodes\[2\]: operands: expected a node's number"),
    (("nodes", 2, "operands", KeyError), r"nodes\[2\]: operands: expected a list"),
    (("nodes", 2, "op", KeyError), r"nodes\[2\]: op: expected text"),
    (("nodes", 2, "part", 1000), r"nodes\[2\]: part"),
    (("nodes", 2, "formula", "(" * 300), r"nodes\[2\]: formula: .* is no formula"),
    (("nodes", 2, "formula", "-" * 900 + "a"), r"nodes\[2\]: formula: "),
    (("nodes", 2, "formula", "a" * 2000), r"nodes\[2\]: formula: longer than 1000"),
    (("nodes", 2, "edges", []), r"nodes\[2\]: edges: 0 for 2 operands"),
    (("nodes", 2, "edges", 0, "message", None), r"nodes\[2\]: edges\[0\].message: expected floats"),
    (("nodes", 2, "grad", {"float": 1}), r"nodes\[2\]: grad: expected floats of shape \(3,\)"),
    (("nodes", 2, "grad_state", "zero"), r"nodes\[2\].grad_state: it is number"),
    (("nodes", 2, "memory", -1), r"nodes\[2\]: memory: expected a number of bytes, got -1"),
    (("nodes", 2, "memory", True), r"nodes\[2\]: memory: expected a number of bytes"),
    (
        ("nodes", 0, "memory", 8),
        r"nodes\[0\]: kind: parameter, but it has operands or an operation",
    ),
    (("nodes", 0, "value", None), r"nodes\[0\]: value: expected an array or a scalar"),
    (("nodes", 0, "value", 1.5), r"nodes\[0\]: value: expected a value, got 1.5"),
    (("nodes", 0, "value", {"array": 99}), r"nodes\[0\]: value: array: expected the number"),
    (("nodes", 0, "value", {"dtype": "O", "value": 1}), r"dtype: 'O' is none of bool"),
    (("nodes", 0, "value", {"dtype": "int8", "value": 300}), r"300 is no int8"),
    (("nodes", 0, "value", {"dtype": "float16", "value": 1e6}), r"too large for float16"),
    (("nodes", 0, "value", {"array": 0, "scalar": 0}), r"got the fields"),
    (("nodes", 3, "keywords", "index", {"call": "os.system"}), r"keywords.index: .*'call'"),
    (("nodes", 3, "keywords", "index", {"slice": [1]}), r"slice|a list of 3"),
    (("nodes", 2, "op", "einsum"), r"nodes\[2\]: keywords: no form of einsum of 2 operands"),
    (("nodes", 0, "source", 99), r"nodes\[0\]: source: expected the number"),
    (("arrays", 0, "dtype", "object"), r"arrays\[0\]: dtype: 'object' is none of"),
    (("arrays", 0, "shape", [10**9, 10**9]), r"arrays\[0\]: base64: shape .* is 8\d+ bytes"),
    (("arrays", 0, "shape", [-1]), r"arrays\[0\]: shape"),
    (("arrays", 0, "shape", [2**40]), r"arrays\[0\]: shape"),
    (("arrays", 0, "base64", "!!!!"), r"arrays\[0\]: base64"),
    (("arrays", 0, "base64", "é"), r"arrays\[0\]: base64"),
    (
        ("arrays", 0, "base64", "AAAA"),
        r"arrays\[0\]: base64: shape \(3, 2\) of float64 is 48 bytes",
    ),
    (("nodes", -1, "instruction", -1), r"instruction: expected a number, got -1"),
    (("sources", 0, ["f", -1, ""]), r"sources\[0\]: expected a line's number"),
    (("detail", "names"), 'detail: expected "operations"'),
    (("legible", 0), "legible: expected a number"),
    (("legible", "all"), "legible: expected a number"),
    (("layers", {}), "layers: expected a list"),
    (("layers", [{"scope": "s"}]), r"layers\[0\]: expected a list"),
    (("layers", [LAYER | {"scope": [1]}]), r"layers\[0\]: expected text"),
    (("layers", [LAYER | {"kind": None}]), r"layers\[0\]: expected text"),
    (("layers", [LAYER | {"arguments": "\ud800"}]), r"layers\[0\]: expected text"),
    (("layers", [LAYER | {"training": 1}]), r"layers\[0\]: expected true or false"),
    (("layers", [LAYER | {"html": ""}]), r"layers\[0\]: unknown field 'html'"),
    (("layers", [LAYER | {"scope": ["s"] * 101}]), r"layers\[0\]: scope: deeper than 100 levels"),
    (("layers", [LAYER, LAYER]), r"layers\[1\]: scope: 's' is taken"),
    (("statements", 0, "value", 99), r"statements\[0\]: expected a node's number"),
]


@pytest.mark.parametrize(("where", "message"), WRONG, ids=lambda v: str(v)[:40])
def test_every_field_is_checked_and_the_error_says_where(document, tmp_path, where, message):
    with pytest.raises(ValueError, match=message) as error:
        load_document(change(document, *where), tmp_path)
    assert str(tmp_path / "g.json") in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "not a saved Graph"),
        ("null", "not a saved Graph"),
        ("[" * 100_000, "nested too deeply|not JSON"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        (b"\xff\xfe".decode("latin-1"), "not JSON"),
    ],
    ids=["empty", "list", "null", "deep", "NaN", "digits", "binary"],
)
def test_what_is_no_such_json_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_document(text, tmp_path)


def test_values_are_not_nested_without_end(document, tmp_path):
    deep = None
    for _ in range(50):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper than 8 levels"):
        load_document(change(document, "nodes", 3, "keywords", "index", deep), tmp_path)


def peak(work):
    """The most memory that Python has in use while some work is done."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "g.json"
    path.write_text("[" + "[]," * 200_000 + "1]")
    with pytest.raises(ValueError, match="more than 100000 bytes; max_bytes="):
        gv.load(path, max_bytes=100_000)

    def refused():
        with pytest.raises(ValueError, match="too many parts; max_bytes="):
            gv.load(path, max_bytes=1_000_000)

    refused()  # what a first call imports is no part of it
    assert peak(refused) < peak(lambda: json.loads(path.read_text())) / 3


def test_a_folder_or_a_missing_file_is_the_systems_own_error(tmp_path):
    with pytest.raises(OSError, match=r"Is a directory|denied"):
        gv.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        gv.load(tmp_path / "none.json")


def test_a_name_from_a_file_runs_nothing(document, tmp_path):
    victim = tmp_path / "victim.npy"
    for name in ("save", "fromfile", "memmap", "os.system", "__import__", "vectorize", "f2py"):
        changed = change(document, "nodes", 2, "op", name)
        changed["nodes"][2]["keywords"] = {"file": str(victim), "dtype": "f8"}
        loaded = load_document(changed, tmp_path)
        loaded.draw().text
        with pytest.raises(gv.TraceError, match=f"the operation {name} is not known here"):
            loaded.update(x=[1.0, 2.0])
    assert not victim.exists()


def places(value, path=()):
    """Every place in a document."""
    yield path
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, key))


strange = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["sum", "matmul", "einsum", "getitem", "reshape", "where", "exp", "float64"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["array", "scalar", "float", "tuple", "slice", "type", "text", "dtype",
                         "value", "axis", "index", "op", "x"]),
        inner,
        max_size=2,
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=examples(400), deadline=None)
@given(data=st.data())
def test_a_changed_file_loads_or_is_a_value_error(document, tmp_path_factory, data):
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in places(changed) if path]))
        at = changed
        for key in path[:-1]:
            at = at[key]
        if data.draw(st.booleans()) and isinstance(at, dict):
            del at[path[-1]]
        else:
            at[path[-1]] = data.draw(strange)
    try:
        graph = load_document(changed, tmp_path_factory.mktemp("fuzz"))
    except ValueError:
        graph = None
    if graph is not None:  # whatever it holds can be looked at
        graph.draw().text
        graph.draw(detail="operations").dot
        graph.dag
        graph.summary().text


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_a_file_with_changed_bytes_loads_or_is_a_value_error(document, tmp_path_factory, data):
    raw = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "g.json"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(ValueError):
        gv.load(path)


def test_the_schema_refuses_what_it_should(document):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALID.validate(document)
    for where in (("version", 2), ("nodes", 0, "kind", "leaf"), ("nodes", 2, "op", KeyError),
                  ("nodes", 0, "op", "sum"), ("arrays", 0, "dtype", "object")):  # fmt: skip
        assert not VALID.is_valid(change(document, *where))


def test_the_schema_knows_the_dtypes_of_statistics_that_load():
    dtypes = set(SCHEMA["$defs"]["dtype"]["enum"])
    narrow = next(
        part["enum"]
        for part in SCHEMA["$defs"]["statistics"]["properties"]["statistics"]["properties"][
            "dtype"
        ]["anyOf"]
        if "enum" in part
    )
    assert {*narrow}.isdisjoint(dtypes)
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    for name in narrow:
        assert isinstance(getattr(torch, name), torch.dtype)
    kinds = (d for d in vars(torch).values() if isinstance(d, torch.dtype))
    floats = {
        str(d).removeprefix("torch.")
        for d in kinds
        if (d.is_floating_point or d.is_complex) and d != torch.float4_e2m1fn_x2
    }
    assert floats <= {*narrow, *dtypes}


def test_the_arrays_are_what_the_documentation_says(document):
    array = document["arrays"][document["nodes"][0]["value"]["array"]]
    assert array["shape"] == [3, 2]
    values = np.frombuffer(base64.b64decode(array["base64"]), "<f8")
    np.testing.assert_array_equal(values, np.arange(6.0))


# --- pickles, copies, processes ------------------------------------------------------------------


def squares(x, power=2.0):
    y = np.tanh(x)
    return np.sum(y**power)


def test_a_graph_goes_through_pickle_with_its_program():
    graph = gv.trace(squares, np.ones(3))
    found = pickle.loads(pickle.dumps(graph))
    assert_alike(found, graph)
    assert found.update(x=[1, 2, 3]).grad("x")[2] == graph.update(x=[1, 2, 3]).grad("x")[2]
    assert pickle.loads(pickle.dumps(graph.statements)).names == graph.statements.names
    assert found.step(0.1).value("J") == graph.step(0.1).value("J")


def test_a_graph_of_a_lambda_pickles_and_says_why_it_cannot_run():
    graph = gv.trace(lambda x: np.sum(np.exp(x)), np.ones(3))
    found = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(graph))))
    assert_alike(found, graph)
    with pytest.raises(gv.TraceError, match=r"without its program: .*lambda"):
        found.update(x=[1, 2, 3])


def test_a_copy_is_deep_and_keeps_the_program():
    graph = gv.trace(lambda x: np.sum(x * x), np.ones(3))
    assert copy.copy(graph) is graph
    found = copy.deepcopy(graph)
    assert_alike(found, graph)
    assert found.update(x=[1, 2, 3]).grad("x").tolist() == [2, 4, 6]
    assert not np.shares_memory(found.value("x"), graph.value("x"))


def in_another_process(graph):
    return graph.update(x=[0.0, 1.0, 2.0])


def test_graphs_go_to_another_process_and_come_back():
    graph = gv.trace(squares, np.ones(3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(in_another_process, (graph,))
    assert_alike(found, graph.update(x=[0.0, 1.0, 2.0]))


OWN = """
import multiprocessing
import numpy as np
import gradviz as gv

@gv.operation(local="3 * x**2")
def cube(x):
    return x**3

def f(x):
    y = cube(x)
    return np.sum(y)

def work(graph):
    return graph.update(x=[1.0, 2.0]).grad("x").tolist(), graph.draw().text

if __name__ == "__main__":
    graph = gv.trace(f, np.ones(2))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        gradient, text = pool.apply(work, (graph,))
    assert gradient == [3, 12] and text == graph.draw().text
"""


def test_an_operation_of_the_users_own_goes_along_to_another_process(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = subprocess.run([sys.executable, tmp_path / "own.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- nothing outlives its use --------------------------------------------------------------------


@pytest.mark.slow
def test_a_loop_of_traces_does_not_grow():
    def work():
        graph = gv.trace(squares, np.ones(10_000))
        graph.backward()
        graph.names
        graph.dag
        x = gv.input(np.ones(5), "x")
        gv.grad(lambda y: np.sum(y * y * buffer))(x)

    buffer = np.ones(5)
    for _ in range(50):
        work()
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    for _ in range(20):
        work()
    gc.collect()
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        work()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert len(gc.get_objects()) - objects < 50
    assert grown < 80_000  # one array of one trace


def test_a_graph_that_nobody_looked_at_needs_no_collector():
    gv.trace(squares, np.ones(3)).grad("x")
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(100):
            gv.trace(squares, np.ones(3)).grad("x")
        assert len(gc.get_objects()) - before < 50
    finally:
        gc.enable()


def test_a_program_compiled_anew_each_time_does_not_grow_without_end():
    from gradviz.record import names

    for n in range(300):
        space = {"np": np}
        exec(compile(f"def f(x):\n    return np.sum(x * {n}.0)", f"<made {n}>", "exec"), space)
        gv.trace(space["f"], np.ones(2)).names
    assert len(names.places) <= 10_000


@pytest.mark.parametrize(
    "program",
    [
        lambda x: np.sum(x) * float(x[0]),
        lambda x: np.sum(x) * (2.0 if type(x) is np.ndarray else 3.0),
    ],
    ids=["read", "type"],
)
def test_a_gradient_that_is_wrong_is_warned_of_and_drawn_as_such_after_loading_too(
    tmp_path, program
):
    graph = gv.trace(program, np.array([1.5, 2.0]))
    with pytest.warns(UserWarning, match="the gradient is") as told:
        graph.save(tmp_path / "g.json")
    with pytest.warns(UserWarning, match="the gradient is") as told_again:
        loaded = gv.load(tmp_path / "g.json")
    assert str(told_again[0].message) == str(told[0].message)
    assert loaded.draw().svg == graph.draw().svg
    assert loaded.diagnose().text == graph.diagnose().text
    assert loaded.reads == graph.reads
    assert loaded.ends == graph.ends
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "g.json").read_text()


def test_a_value_that_was_only_read_keeps_its_line_and_brings_no_warning(tmp_path, recwarn):
    graph = gv.trace(lambda x: np.sum(x) if float(x[0]) else x[0], np.array([1.5, 2.0]))
    graph.save(tmp_path / "g.json")
    loaded = gv.load(tmp_path / "g.json")
    assert loaded.reads == graph.reads != {}
    assert not recwarn.list


@pytest.mark.parametrize("field", ["name", "scope", "title", "keyword"])
def test_a_text_that_load_would_refuse_is_not_written(field, tmp_path):
    long = "n" * 100_001
    with gv.scope(long if field == "scope" else "s"):
        x = gv.input(np.ones(3), long if field == "name" else "x")
        spec = "i" + " " * 100_001 * (field == "keyword") + "->"
        graph = gv.graph(np.einsum(spec, x) * 2)
    if field == "title":
        graph = gv.trace(lambda x: x * 2, 1.0, title=long)
    with pytest.raises(gv.TraceError, match="at most 100000 characters"):
        graph.save(tmp_path / "g.json")
    assert not list(tmp_path.iterdir())


def test_a_line_of_any_length_is_saved_as_far_as_a_file_holds_it(tmp_path):
    source = tmp_path / "long_line.py"
    source.write_text("def f(x):\n    y = x * 2  # " + "c" * 200_000 + "\n    return y\n")
    scope = {}
    exec(compile(source.read_text(), str(source), "exec"), scope)
    graph = gv.trace(scope["f"], 1.0)
    graph.save(tmp_path / "g.json")
    assert gv.load(tmp_path / "g.json").source(2)[2].startswith("y = x * 2  # ccc")


def test_a_loaded_graph_at_other_values_still_says_what_was_read_as_a_plain_number(tmp_path):
    def loss(w, b):
        scale = float(np.sum(w))
        return np.sum(w * scale) + b

    with pytest.warns(UserWarning, match="read as a plain number"):
        graph = gv.trace(loss, np.ones(2), 1.0).backward()
    graph.save(tmp_path / "g.json")
    with pytest.warns(UserWarning, match="read as a plain number"):
        loaded = gv.load(tmp_path / "g.json")
    moved = loaded.update(w=np.array([1.0, 3.0]))
    assert moved.reads == loaded.reads == graph.reads != {}
    assert moved.returned == loaded.returned != {}
    with pytest.warns(UserWarning, match="the gradient is wrong"):
        moved.grad("w")
    assert "lost history" in {finding.kind for finding in moved.diagnose().findings}
    assert moved.update(b=2.0).reads == graph.reads

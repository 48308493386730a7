"""Calls from a file are made again where they fit it; other arguments are told of in words."""

import contextlib
import copy
import json
import tracemalloc
import warnings

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rows import weighted
from thorough import examples

import gradviz as gv

FEW = {case.function: case for case in CASES if case.arrays and case.arrays[0].size > 1}
BY_NAME = {repr(case): case for case in FEW.values()}  # one of each function
KEYWORDS = (
    "axis axes shape n s k num reps repeats pad_width new_shape index indices where dtype out mode "
    "order keepdims initial ord unknown subscripts indices_or_sections offset window_shape "
    "full_matrices UPLO optimize prepend ddof shift stat_length constant_values decimals"
).split()


def saved(case, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gv.trace(weighted(case), *case.arrays).save(path)
    return json.loads(path.read_text())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_row_runs_again_from_its_file(tmp_path):
    for case in BY_NAME.values():
        saved(case, tmp_path / "g.json")
        loaded = gv.load(tmp_path / "g.json")
        again = loaded.update({})
        for name, gradient in loaded.gradients().items():
            np.testing.assert_allclose(again.grad(name), gradient, rtol=1e-12, atol=1e-14)
            assert loaded.explain(name, detail="operations").text
        again.save(tmp_path / "again.json")
        nodes = [n.get("op") for n in json.loads((tmp_path / "g.json").read_text())["nodes"]]
        again = json.loads((tmp_path / "again.json").read_text())["nodes"]
        assert [node.get("op") for node in again] == nodes


TWO = np.array([1.0, 2.0])


def tampered(path, program, op, arrays=(TWO,), **keywords):
    """The file of a program with other keywords for one operation."""
    gv.trace(program, *arrays).save(path)
    document = json.loads(path.read_text())
    nodes = [n for n in document["nodes"] if n.get("op") == op]
    assert nodes
    for node in nodes:
        node["keywords"] = node.get("keywords", {}) | keywords
    path.write_text(json.dumps(document))
    return gv.load(path)


MATRIX = np.arange(1.0, 5.0).reshape(2, 2)
TALL = np.linspace(0.1, 1, 4000)[:, None]
BOMBS = {
    "pad": (lambda x: np.pad(x, 1), "pad", {"pad_width": 10**8}),
    "pads": (lambda x: np.pad(x, 1), "pad", {"pad_width": {"tuple": [10**8, 1]}}),
    "broadcast": (lambda x: np.broadcast_to(x, (3, 2)), "broadcast_to",
                  {"shape": {"tuple": [10**12, 2]}}),
    "repeat": (lambda x: np.repeat(x, 2), "repeat", {"repeats": 10**9}),
    "repeats": (lambda x: np.repeat(x, 2), "repeat", {"repeats": [10**9, 1]}),
    "tile": (lambda x: np.tile(x, 2), "tile", {"reps": {"tuple": [10**5, 10**5]}}),
    "resize": (lambda x: np.resize(x, 3), "resize", {"new_shape": 10**10}),
    "diag": (lambda x: np.diag(x), "diag", {"k": 10**5}),
    "diagflat": (lambda x: np.diagflat(x), "diagflat", {"k": -(10**5)}),
    "fft": (lambda x: np.abs(np.fft.fft(x)), "fft", {"n": 10**9}),
    "fftn": (lambda x: np.abs(np.fft.fftn(x)), "fftn", {"s": [10**9]}),
    "round": (lambda x: np.round(x, 1) * x, "round", {"decimals": 10**18}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("what", ["update", "explain"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_would_make_much_more_than_the_file_holds_is_not_computed(name, what, tmp_path):
    program, op, keywords = BOMBS[name]
    graph = tampered(tmp_path / "g.json", lambda x: np.sum(program(x) ** 2), op, **keywords)
    calls = {
        "update": lambda: graph.update(x=[1.0, 2.0]),
        "explain": lambda: graph.explain("x", detail="operations").text,
    }
    tracemalloc.start()
    if what == "update":
        with pytest.raises(gv.TraceError, match=f"{op}"):
            calls[what]()
    else:  # a path through a call that is not made again has no number of its own
        assert "∂J/∂x" in calls[what]()
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_products_of_what_the_file_holds_are_bounded_too(tmp_path):
    graph = tampered(
        tmp_path / "g.json", lambda a, b: np.einsum("ij,ij->", a, b), "einsum", (TALL, TALL),
        subscripts="ij,kl->ikjl",
    )  # fmt: skip
    with pytest.raises(gv.TraceError, match="einsum would compute"):
        graph.update()
    graph = tampered(
        tmp_path / "g.json", lambda a: np.sum(np.linalg.svd(a, full_matrices=False)[1]), "svd",
        (np.hstack([TALL, TALL**2]),), full_matrices=True,
    )  # fmt: skip
    with pytest.raises(gv.TraceError, match="svd would compute"):
        graph.update()


def test_a_keyword_that_there_is_not_is_told_in_words(tmp_path):
    graph = tampered(tmp_path / "g.json", lambda x: np.sum(np.repeat(x, 2)), "repeat", extra=1)
    for call in (graph.update, graph.step, graph.check):
        with pytest.raises(gv.TraceError, match=r"repeat.* unexpected keyword argument 'extra'"):
            call()


whole = st.sampled_from([-(10**9), -5, -1, 0, 1, 2, 3, 7, 10**5, 10**9, 10**12, 2**63, 10**30])
plain = (
    whole
    | st.none()
    | st.booleans()
    | st.sampled_from(["constant", "wrap", "F", "complete", "ab,bc->ac", "ij,kl->ijkl", "...", ""])
    | st.sampled_from([1e300, "nan", "inf", 0.5]).map(lambda x: {"float": x})
)
hostile = st.recursive(
    plain | st.lists(st.none() | whole, min_size=3, max_size=3).map(lambda x: {"slice": x}),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(lambda x: {"tuple": x})
    ),
    max_leaves=5,
)
DOCUMENTS: dict[str, object] = {}


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from(sorted(BY_NAME)),
    st.integers(0, 9),
    st.sampled_from(KEYWORDS),
    st.booleans(),
    hostile,
    st.sampled_from(["update", "step", "check", "explain", "diagnose"]),
)
def test_whatever_the_keywords_are_it_is_told_in_words(
    tmp_path_factory, name, place, keyword, known, value, what
):
    path = tmp_path_factory.mktemp("hostile") / "g.json"
    if name not in DOCUMENTS:
        DOCUMENTS[name] = saved(BY_NAME[name], path)
    document = copy.deepcopy(DOCUMENTS[name])
    nodes = [node for node in document["nodes"] if "op" in node]
    node = nodes[place % len(nodes)]
    keywords = node.setdefault("keywords", {})
    own = sorted(keywords)
    keywords[own[place % len(own)] if known and own else keyword] = value
    path.write_text(json.dumps(document))
    with contextlib.suppress(gv.TraceError, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = gv.load(path)
        if what == "explain":
            for leaf in graph.gradients():
                assert graph.explain(leaf, detail="operations").text
        else:
            getattr(graph, what)()

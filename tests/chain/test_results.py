"""All results have one form: text, rows, a picture, a notebook's display, a file."""

import numpy as np
import pytest

import gradviz as gv
from gradviz.chain.result import Result

MAKERS = {
    "explanation": lambda g: g.explain("w1", after="w5"),
    "reuse": lambda g: g.reuse("w5", "b2", "w1"),
    "check": lambda g: g.check(),
    "health": lambda g: g.diagnose(),
    "shares": lambda g: g.shares(),
    "comparison": lambda g: gv.compare(g, g.step(0.5)),
}
DETAILED = {
    "explanation": lambda g, detail: g.explain("w1", detail=detail),
    "reuse": lambda g, detail: g.reuse(detail=detail),
    "check": lambda g, detail: g.check(detail=detail),
    "shares": lambda g, detail: g.shares(detail=detail),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_result_says_draws_and_shows_itself_and_goes_into_a_file(network, make, tmp_path):
    result = make(network)
    assert isinstance(result, Result)
    assert result.text == str(result)
    assert len(repr(result).splitlines()) == 1
    assert "<Graph" not in repr(result)
    shown = result._repr_mimebundle_()
    assert shown["text/plain"] == result.text
    assert {"image/svg+xml", "text/latex"} & {*shown}
    assert result.draw().view.title == result.highlight().title != ""
    result.save(tmp_path / "found.svg")
    assert (tmp_path / "found.svg").read_text("utf8") == result.draw().svg
    result.save(tmp_path / "found.txt")
    assert (tmp_path / "found.txt").read_text("utf8") == result.text + "\n"


def test_the_rows_of_a_result_hold_ids_of_its_graph(network):
    names = network.statements.names
    for row in network.check().rows:
        assert row.name == names[row.node]
    for row in network.reuse().rows:
        assert row.target == names[row.node]
        assert row.computed == tuple(names[i] for i in row.computed_nodes)
    for term in network.explain("w1").rows:
        assert term.name == names[term.node]
    other = network.step(0.5)
    for row in gv.compare(network, other).rows:
        assert (row.name, row.other_name) == (network.names[row.node], other.names[row.other_node])


@pytest.mark.parametrize("make", DETAILED.values(), ids=DETAILED)
def test_a_result_is_not_drawn_on_a_graph_of_other_ids(network, make):
    by_names, by_operations = make(network, "names"), make(network, "operations")
    assert network.draw(highlight=by_names).svg == by_names.draw().svg
    drawn = network.draw(detail="operations", highlight=by_operations)
    assert drawn.svg == by_operations.draw().svg
    with pytest.raises(ValueError, match="level of detail"):
        network.draw(detail="operations", highlight=by_names)
    with pytest.raises(ValueError, match="level of detail"):
        network.draw(highlight=by_operations)


def test_a_diagnosis_is_drawn_at_any_level_of_detail():
    def loss(w):
        z = w * 2.0 + 1.0
        return np.sum(np.log(z - z))

    with np.errstate(all="ignore"):
        graph = gv.trace(loss, np.ones(2))
    health = graph.diagnose()
    for detail in ("names", "operations"):
        shown = graph.detailed(detail)
        boxes = health.highlight(detail).boxes
        assert [shown.names[i] for i, role in boxes.items() if role == "sick"]
        assert graph.draw(detail=detail, highlight=health).svg == health.draw(detail=detail).svg

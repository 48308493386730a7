"""Every option has its name in the signature that a user sees, and is one that its function has."""

import inspect

import pytest

import gradviz as gv
from gradviz import options
from gradviz.chain.check import check
from gradviz.chain.result import GraphResult
from gradviz.show.drawing import draw
from gradviz.web.frames import frames
from gradviz.web.page import to_html


def names(function):
    return {
        p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY
    }


def test_a_signature_names_the_options_that_the_function_behind_it_has():
    said = {"detail", "language"}  # what Graph does itself
    assert names(gv.Graph.draw) == names(draw) | said == names(GraphResult.draw)
    assert names(gv.Graph.frames) == names(frames)
    assert names(gv.Graph.save) == names(draw) | said | names(to_html) | {"seconds"}
    assert names(gv.Graph.check) == names(check) | said
    for name in {"entries", "step", "tolerance"}:
        both = [inspect.signature(f).parameters[name].default for f in (gv.Graph.check, check)]
        assert both[0] == both[1]
    pytest.importorskip("anywidget")
    from gradviz.web.widget import Widget

    assert names(gv.Graph.widget) == names(Widget)


@pytest.mark.parametrize("kind", [options.Picture, options.Page, options.Shown, options.Frames])
def test_each_option_is_told_where_it_is_defined(kind):
    told = inspect.getdoc(options.Picture) + inspect.getdoc(options.Page) + inspect.getdoc(kind)
    assert [name for name in kind.__annotations__ if name not in told and name != "rate"] == []


def test_an_option_that_does_not_exist_is_an_error_that_names_the_nearest(network, tmp_path):
    with pytest.raises(TypeError, match=r"draw: no option 'themes' \(did you mean 'theme'\?\)"):
        network.draw(themes="dark")
    with pytest.raises(TypeError, match="save: no option 'target'"):
        network.save(tmp_path / "x.html", target=["w1"])
    with pytest.raises(TypeError, match="no option 'compact'"):
        network.save(tmp_path / "x.svg", compact=True)
    for save in (network.save, network.draw().save):
        with pytest.raises(ValueError, match=r"there is: .*'\.html', '\.json'"):
            save(tmp_path / "x.docx")

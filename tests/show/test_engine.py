"""The layout engine: found, run, and clear about what went wrong."""

from __future__ import annotations

import shutil

import graphs
import pytest

import gradviz as gv
from gradviz.show import engine
from gradviz.show.drawing import draw
from gradviz.web.pictures import drawing


def test_the_embedded_engine_is_found_without_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "graphviz-pure" in engine.find()
    assert draw(graphs.colah()).svg


@pytest.mark.skipif(not shutil.which("dot"), reason="no system Graphviz")
def test_the_systems_dot_is_used_where_it_is_asked_for(pictures):
    assert engine.find("dot") == shutil.which("dot")
    for graph in (graphs.article(), graphs.weird(), graphs.mlp()):
        assert draw(graph, engine="dot").svg.startswith("<svg")
    assert draw(graphs.article(), engine="dot", backward="beside").svg.startswith("<svg")


def test_a_missing_engine_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(engine.EngineError, match=r"no Graphviz engine found \(dot\); .pip install"):
        engine.run("digraph {}", "svg", "dot")


def test_an_unknown_engine_names_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no engine 'neato'.*there is: 'auto', 'graphviz-pure', 'dot'"
    ):
        draw(graphs.colah(), engine="neato").svg


def test_an_error_holds_the_engines_own_words():
    with pytest.raises(engine.EngineError, match="syntax error in line 1"):
        engine.run("digraph {{{", "svg")


def test_a_crash_is_told_from_a_failure(program):
    with pytest.raises(engine.EngineError, match=r"was ended by signal 11.*it said nothing"):
        engine.run("digraph {}", "svg", program("kill -SEGV $$"))


def test_an_engine_that_hangs_is_stopped(program):
    with pytest.raises(engine.EngineError, match=r"was not done after 0\.3 s"):
        engine.run("digraph {}", "svg", program("exec sleep 60"), timeout=0.3)


def test_what_the_engine_gives_up_is_drawn_without_it(program):
    broken = program("kill -SEGV $$")
    for graph, wish in ((graphs.article(), {"backward": "beside"}), (graphs.mlp(), {})):
        pictures = [draw(graph, engine=name, **wish).svg for name in (broken, "auto")]
        assert len({picture.count('class="node') for picture in pictures}) == 1


def test_a_chain_for_which_the_engine_finds_no_curves_has_straight_lines():
    names = [("sin", "cos", "tanh")[n * n % 97 % 3] for n in range(30)]  # its rounding decides
    lines = (f"a{n + 1} = {name}(a{n})" for n, name in enumerate(names))
    long = gv.expression("; ".join(lines), a0=0.3)
    assert drawing(long, direction="LR")["svg"].count('class="node') == len(long)


def test_a_file_that_is_no_program_is_a_clear_error(tmp_path):
    path = tmp_path / "engine"
    path.write_text("not a program")
    with pytest.raises(engine.EngineError, match=r"cannot run .*Permission denied"):
        engine.run("digraph {}", "svg", str(path))

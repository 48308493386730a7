"""One language for all that is drawn and said: no English sentence is left in Chinese."""

import ast
import json
import re
from importlib.util import find_spec
from pathlib import Path
from string import Formatter
from threading import Thread
from types import MappingProxyType

import numpy as np
import pytest
from chinese import assert_chinese, english_in

import gradviz as gv
import gradviz.show.ranks
from gradviz import ops, show, words
from gradviz.chain import check, retold
from gradviz.chain.health import findings, hazards
from gradviz.language import LANGUAGES
from gradviz.rank import Held, Rank
from gradviz.record import ranks
from gradviz.web import incident
from gradviz.web.page import to_html

HOME = Path(gv.__file__).parent
SAYING = {"say", "later", "translated", "Refused", "_tex_said"}


WATCHED = ()
"""What the watch says of what went wrong, where PyTorch is there."""
if find_spec("torch"):
    from gradviz.record.torch.watch import events, report, still

    WATCHED = still.ADVICE.values(), [still.OTHERS], report.SUITS, events.LOST


def parts(tree, local=MappingProxyType({})):
    """The texts that an expression may be, names of constants and of variables among them."""
    if isinstance(tree, ast.IfExp):
        return parts(tree.body, local) + parts(tree.orelse, local)
    if isinstance(tree, ast.Constant):
        return [tree.value] if isinstance(tree.value, str) and tree.value else []
    if isinstance(tree, ast.Name) and tree.id in local:
        rest = {name: values for name, values in local.items() if name != tree.id}
        return [text for value in local[tree.id] for text in parts(value, rest)]
    return [tree.id] if isinstance(tree, ast.Name) and tree.id.isupper() else []


def spoken_in(tree):
    """Each call that says something, with what may stand in the variables of its function."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    seen = set()
    for function in (*functions, tree):
        local = {}
        for node in ast.walk(function) if function is not tree else ():
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    pairs = [(target, node.value)]
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        pairs = zip(target.elts, node.value.elts, strict=False)
                    for name, value in pairs:
                        if isinstance(name, ast.Name):
                            local.setdefault(name.id, []).append(value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and node not in seen:
                seen.add(node)
                yield node, local


def sentences():
    """Each sentence that is said, and the names of what is put into its places."""
    found = {}
    files = [f for f in HOME.rglob("*.py") if f.name != "language.py" and "cli" not in f.parts]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    constants = {
        node.targets[0].id: node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    for tree in trees:
        for node, local in spoken_in(tree):
            name, args = ast.unparse(node.func), node.args
            if name == "Told" and args and ast.unparse(args[0]) in ("some", "say"):
                name, args = ast.unparse(args[0]), args[1:]
            if name == "some":
                things = [part for part in parts(args[1], local) if part]
                found |= {f"{{n}} {thing}{s}": {"n"} for thing in things for s in ("", "s")}
            elif name in SAYING and args:
                places = {keyword.arg for keyword in node.keywords}
                for text in parts(args[0], local):
                    text = constants.get(text, text)
                    found[text] = (found.get(text) or set()) | (places - {None}) or None
    rows = [hazards._SQUARED]
    rows += [row for rows in vars(ops.hazards).values() if type(rows) is tuple for row in rows]
    tables = [
        words.STATES.values(), words.STATISTICS, check.HOW.values(), findings.KINDS,
        findings.HEADS, hazards.STOPS.values(), [hazards.ROW, hazards.SUMMED], retold.KEPT,
        ranks.KINDS, ranks.SPAN, show.ranks.INSTEAD, incident.HEADS, *WATCHED,
        *([row.what, row.advice] for row in rows),
    ]  # fmt: skip
    return found | {text: None for table in tables for text in table}


def test_each_sentence_is_in_the_table_of_each_language_with_the_same_places():
    said = sentences()
    assert len(said) > 150
    for language in LANGUAGES[1:]:
        table = json.loads((HOME / f"said.{language}.json").read_text(encoding="utf-8"))
        assert said.keys() - table.keys() == set()
        source = "".join(file.read_text(encoding="utf-8") for file in HOME.rglob("*.py"))
        for sentence, other in table.items():
            places = {place for _, place, _, _ in Formatter().parse(other) if place}
            own = {place for _, place, _, _ in Formatter().parse(sentence) if place}
            assert places <= (said.get(sentence) or own), sentence
            pieces = re.split(r"\s+", sentence)
            assert sentence in said or all(piece in source for piece in pieces), sentence
            assert _formats(sentence) >= _formats(other), sentence  # numbers are set in one form
            assert not english_in(re.sub(r"\{[^}]*\}", "", other)), other


def _formats(sentence):
    return {(place, form) for _, place, form, _ in Formatter().parse(sentence) if form}


def programs():
    rng = np.random.default_rng(0)

    def softmax(W, b, x):
        z = W @ x + b
        p = np.exp(z) / np.sum(np.exp(z))
        J = -np.log(p[1])
        return J

    def loop(w, x):
        for _ in range(60):
            x = np.tanh(w * x)
        J = x * x
        return J

    def flat(w, x):
        z = np.minimum(w, 0.0) * x + gv.stop_gradient(x)
        J = np.sum(z**2) + 0 * np.sum(x)
        return J

    draw = rng.standard_normal
    return {
        "network": gv.examples.backprop_222(),
        "softmax": gv.trace(softmax, draw((3, 2)), draw(3), draw(2), wrt=("W", "b")),
        "loop": gv.trace(loop, 0.9, 0.5),
        "flat": gv.trace(flat, 0.5, draw(40), wrt="w"),
    }


def said(graph, leaf):
    """All that is said of a graph."""
    explained = graph.explain(leaf)
    compared = gv.compare(graph, graph.update({leaf: graph.value(leaf) + 1}))
    for drawing in (
        graph.draw(),
        graph.draw(backward="beside"),
        graph.draw(color="gradient"),
        graph.draw(show=[graph.names[graph.output], leaf]),
        explained.draw(),
        graph.reuse(leaf).draw(),
        graph.shares().draw(),
        graph.check().draw(),
        compared.draw(),
    ):
        yield drawing.text
        yield re.sub(r"<(style|metadata).*?</\1>|<[^>]*aria-label=\"([^\"]*)\"|<[^>]*>", r" \2 ",
                     drawing.svg)  # fmt: skip
    yield explained.text
    yield re.sub(r"\\[a-z]+", " ", " ".join(re.findall(r"\\text\{([^}]*)\}", explained.latex)))
    yield from (graph.reuse(leaf).text, graph.check().text, graph.shares().text)
    yield from (compared.text, gv.compare(graph, graph.update({})).text)
    yield from (graph.summary().text, str(graph.explain(leaf, after=leaf)))


@pytest.mark.parametrize("name", programs())
def test_no_english_is_left_where_chinese_is_spoken(name, monkeypatch):
    graph = programs()[name]
    leaf = graph.names[min(graph.wrt)]
    known = {"vjp", "seed", "accumulate", *(re.findall(r"[a-z]+", " ".join(graph.names).lower()))}
    known |= {op for node in graph.values for op in re.findall("[a-z]+", node.operation.name)}
    known |= set("exp log sum tanh sigmoid where minimum axis keepdims unfold opened".split())
    known |= {*re.findall("[a-z]+", graph.title.lower()), "network", "stop", "gradient", "py"}
    gv.set_language("zh")
    try:
        text = re.sub(r"[\w.]+\.py:\d+.*", "", "\n".join(said(graph, leaf)))  # (program lines)
        left = {*re.findall(r"(?<![\w\\])[a-z]{3,}(?![\w(])", text.lower())} - known
        assert not left, re.findall(f".*(?:{'|'.join(left)}).*", text)[:9]
    finally:
        gv.set_language()


def test_an_answer_keeps_the_language_that_it_was_asked_in(network):
    ledger = network.reuse("w5", "w1", language="zh")
    drawing = network.draw(language="zh")
    assert "复用" in ledger.text
    assert "复用" in ledger.draw().svg
    assert "来自前向传播" in drawing.svg
    assert "前向传播：" in drawing.text
    assert "reuses" in network.reuse("w5", "w1").text
    gv.set_language("zh")
    try:
        english = network.explain("w1", after="w5", language="en")
        told = []
        thread = Thread(target=lambda: told.append(network.reuse("w5").text))
        thread.start()
        thread.join()
    finally:
        gv.set_language()
    assert "computed already for w5" in english.text
    assert "新计算" in told[0]
    with pytest.raises(ValueError, match="no language 'fr'; there is: 'en', 'zh'"):
        network.draw(language="fr")


def test_a_tikz_document_in_chinese_loads_what_sets_it(network):
    assert "ctex" in network.draw(language="zh").tex
    assert "ctex" not in network.draw().tex


def test_what_a_page_is_told_does_not_depend_on_the_language_that_is_set(network):
    english = to_html(network, language="en")
    gv.set_language("zh")
    try:
        chinese = to_html(network)
        assert to_html(network, language="en") == english
    finally:
        gv.set_language()
    assert chinese == english.replace('"language":"en"', '"language":"zh"').replace(
        'lang="en"', 'lang="zh"'
    )


def test_a_page_says_in_its_readers_language_why_it_does_not_compute():
    from gradviz.web.payload import structure

    refusal = structure(gv.trace(lambda x: np.linalg.det(x), np.eye(2)))["refusal"]
    assert refusal["en"] == "the page cannot compute det"
    assert refusal["zh"] == "本页不能计算 det"
    assert sorted(refusal) == sorted(LANGUAGES)


def gathered(language):
    """What is told of ranks on which something is wrong, each in another way."""

    def loss(w, v, x):
        return np.sum(np.log(w * x)) + v * 0.0

    def of(number, held=None, w=2.0, size=3, both=True):
        with np.errstate(all="ignore"):
            graph = gv.trace(loss, w, 1.0, np.ones(size), wrt=("w", "v") if both else ("v",))
        other = graph.with_values((node.value for node in graph.values), graph.of_run())
        other.rank = Rank(number, 3, held or {}, {"steps": w})
        return other

    same = [{"w": Held("replicated", 3, digest, 1.0 + digest)} for digest in (1, 1, 2)]
    for graphs in (
        [of(n) for n in range(3)],
        [of(0), of(2, w=-1.0)],
        [of(n, held, size=3 + n % 2) for n, held in enumerate(same)],
        [of(n, same[0], w=2.0 + n) for n in range(3)],
        [of(0, same[0]), of(1, {"w": Held("sharded", 1, 1, 2.0)}), of(2, both=False)],
    ):
        ranks = gv.gather(graphs, language=language)
        drawn = re.sub(r"<(style|metadata).*?</\1>|<[^>]*>", " ", ranks.draw().svg)
        yield from (ranks.text, drawn)


def test_what_ranks_say_is_said_in_chinese_with_the_same_numbers():
    for english, chinese in zip(gathered("en"), gathered("zh"), strict=True):
        assert_chinese(english, chinese, {"loss", "log", "sum", "multiply", "steps"})

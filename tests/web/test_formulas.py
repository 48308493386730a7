"""Every equation that the page shows, read literally: in the panel, in the steps, as copied."""

import re

import pytest
from literally import Reader
from test_page import node, press, shown

import gradviz as gv

pytestmark = pytest.mark.browser

PROGRAMS = [
    ("x * x", dict(x=3.0)),
    ("(x + y) * y", dict(x=2.0, y=3.0)),
    ("h = tanh(x * w); r = h + x; r * r", dict(x=0.7, w=-1.2)),
    ("a = x * y; b = a * a + x; c = sin(b) * a; c * c * x - b", dict(x=0.4, y=1.5)),
    ("p = x * x * x; q = p / (p + x); q - x * p", dict(x=1.3)),
]
PLAIN = """math => {
  const plain = (e) => {
    const k = [...e.children].map(plain), [a, b, c] = k;
    switch (e.localName) {
      case 'mfrac': return /^∂/.test(a) && /^∂/.test(b) ? ` ${a}/${b} ` : `((${a})/(${b}))`;
      case 'msup': return `(${a})**(${b})`;
      case 'msub': return a === '∂' ? `∂#${b}#` : `${a}_${b}`;
      case 'msqrt': return `((${k.join('')})**0.5)`;
      case 'munder': return a;
      case 'mtext': case 'mi': case 'mn': case 'mo': return e.textContent;
      default: return k.join('');
    }
  };
  return plain(math);
}"""
DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def equations_in_lines(page, where: str) -> list[str]:
    """What stands in a part of the page, line by line."""
    lines = []
    for math in page.locator(f"{where} math[display=block]").all():
        line = math.evaluate(PLAIN).translate(str.maketrans({"−": "-", "×": "*", "⏟": None}))
        lines.append(re.sub(r"#(\d+)#", lambda m: m[1].translate(DIGITS), line).strip())
    return lines


def equations(page, where: str) -> list[str]:
    """What stands there, a line that begins with a sign joined to the one before."""
    found: list[str] = []
    for line in equations_in_lines(page, where):
        if line[:1] in "+=":
            found[-1] += " " + line
        else:
            found.append(line)
    return found


def hold(reader: Reader, found: list[str]) -> int:
    """Each that is written out: no running sum, which says so, and no path is left out."""
    whole = [equation for equation in found if "…" not in equation and "paths" not in equation]
    for equation in whole:
        reader.agree(equation)
    return len(whole)


@pytest.mark.parametrize(("text", "values"), PROGRAMS, ids=[text for text, _ in PROGRAMS])
def test_every_equation_on_the_page_holds_when_it_is_read_literally(opened, text, values):
    graph = gv.expression(text, **values)
    level = graph.statements
    reader = Reader(level)
    page = opened(graph)
    page.evaluate("addEventListener('copy', () => { copied = document.activeElement.value })")
    count = 0
    for name in level.names:
        if level.kind(level.id(name)) == "constant" or not node(page, name).count():
            continue
        node(page, name).click()
        if page.locator("summary").count() and not page.locator("details[open]").count():
            page.locator("summary").click()
        for where in (".answers", ".told"):
            count += hold(reader, equations(page, where))
        for button in page.locator(".copy").all():
            button.click()
            reader.latex(page.evaluate("copied"))
        for v, key in level.readers[level.id(name)]:
            twin = level.operands[v].count(level.id(name)) > 1
            edge = f"{name}→{level.names[v]}" + (f"#{key}" if twin else "")
            page.get_by_role("button", name=f"Ask about the edge {edge}", exact=True).click()
            count += hold(reader, equations(page, ".asked"))
            node(page, name).click()
    press(page, "Escape")
    page.get_by_role("button", name="To the beginning").click()
    for _ in range(200):
        count += hold(reader, equations(page, ".told"))
        if "both passes done" in page.locator(".counter").first.inner_text():
            break
        page.get_by_role("button", name="One step on").click()
    assert count > 5


def test_a_running_sum_is_never_shown_as_the_gradient(opened):
    graph = gv.expression("(x + y) * y", x=2.0, y=3.0)
    page = opened(graph)
    seen = {shown(page, graph)["y"][1]}
    while "backward 0" not in page.locator(".counter").first.inner_text():
        page.get_by_role("button", name="One step back").click()
        seen.add(shown(page, graph)["y"][1])
    assert seen == {"8", "5 + …", ""}
    page.get_by_role("button", name="To the end").click()
    node(page, "y").click()
    assert page.locator(".answers .held").all_text_contents()[0] == (
        "∂2J: by operand 2 alone, y, with the others held fixed."
    )

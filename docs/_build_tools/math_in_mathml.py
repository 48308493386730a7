"""Mathematics as MathML, which browsers set by themselves: a page loads no script for it."""

from latex2mathml.converter import convert


def setup(app):
    """Register the renderer that conf.py names."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}


def inline(writer, node):
    """A formula in a line."""
    from docutils.nodes import SkipNode

    writer.body.append(convert(node.astext()))
    raise SkipNode


def block(writer, node):
    """A formula of its own; lines in one are those of an `aligned`."""
    from docutils.nodes import SkipNode

    text = node.astext().strip()
    if "\\\\" in text and not text.startswith("\\begin"):
        text = f"\\begin{{aligned}}{text}\\end{{aligned}}"
    writer.body.append(f'<div class="math">{convert(text, display="block")}</div>')
    raise SkipNode

"""Arrays in a real browser: a page trains a network of them by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradviz as gv

pytestmark = pytest.mark.browser


def classifier(W1, b1, W2, b2, x, y):
    h = np.maximum(x @ W1 + b1, 0)
    logits = h @ W2 + b2
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(np.sum(y * log_p, axis=1))


@pytest.fixture(scope="module")
def digits():
    """A network of 64-16-10 on 200 of the digits of scikit-learn (from UCI's repository)."""
    with np.load(Path(__file__).parent.parent / "fixtures" / "digits.npz") as data:
        x, y = data["images"] / 16, np.eye(10)[data["digits"]]
    rng = np.random.default_rng(0)
    W1, W2 = rng.normal(size=(64, 16)) * np.sqrt(2 / 64), rng.normal(size=(16, 10)) / 4
    leaves = (W1, np.zeros(16), W2, np.zeros(10), x, y)
    return gv.trace(classifier, *leaves, wrt=("W1", "b1", "W2", "b2"))


def test_a_classifier_of_digits_trains_in_the_page_as_in_python(opened, digits):
    page = opened(digits)
    page.get_by_role("button", name="Take 10 steps").click()
    page.wait_for_function("gradviz.get('history').length === 11", timeout=60000)
    graphs = [digits]
    for _ in range(10):
        graphs.append(graphs[-1].step(0.5))
    expected = [float(graph.values[graph.output].value) for graph in graphs]
    found = page.evaluate("gradviz.get('history')")
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    assert expected[-1] < 0.7 * expected[0]
    # The gradients of the last step, too.
    norms = page.evaluate("gradviz.get('numbers').grads.map((q) => q && q.norm)")
    shown = graphs[-1].statements
    for name in ("W1", "b1", "W2", "b2"):
        i = shown.id(name)
        assert np.isclose(norms[i], np.linalg.norm(shown.adjoint(i)), rtol=1e-9)

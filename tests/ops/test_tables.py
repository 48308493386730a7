"""The documents that are generated: docs/coverage.md and docs/conventions.md."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

import gradviz as gv


@pytest.fixture(scope="module")
def coverage():
    return importlib.import_module("coverage_table")


@pytest.fixture(scope="module")
def conventions():
    return importlib.import_module("conventions_table")


def test_the_coverage_page_is_what_the_script_writes(coverage):
    page = coverage.FILE.read_text(encoding="utf-8")
    if f"NumPy {'.'.join(np.__version__.split('.')[:2])}." not in page.splitlines()[2]:
        pytest.skip("the page is about another version of NumPy")
    written = coverage.document()  # an unexplained function is an error here
    assert page == written, "run python scripts/coverage_table.py"


def _explained(coverage, names, module=np):
    for name in names:
        function = module
        for part in name.split("."):
            function = getattr(function, part, None)
        if callable(function) and not inspect.isclass(function):
            coverage.explain(name.rpartition(".")[2], function)


def test_every_function_of_the_array_api_standard_is_explained(coverage):
    _explained(coverage, coverage.ARRAY_API)
    lacking = [n for n in coverage.ARRAY_API if not hasattr(np, n.partition(".")[0])]
    if np.lib.NumpyVersion(np.__version__) >= "2.2.0":
        assert not lacking


def test_every_function_that_autograd_differentiates_has_a_gradient_here_too(coverage):
    import autograd.numpy
    import autograd.numpy.fft
    import autograd.numpy.linalg
    from autograd.core import primitive_vjps

    missing = []
    for path in ("", "linalg", "fft"):
        theirs = getattr(autograd.numpy, path) if path else autograd.numpy
        ours = getattr(np, path) if path else np
        for name in dir(theirs):
            twin, function = getattr(theirs, name), getattr(ours, name, None)
            if not callable(function) or inspect.isclass(function):
                continue
            if callable(twin) and twin in primitive_vjps:
                how = coverage.explain(name, function)[0]
                if how in (coverage.REFUSED, coverage.OTHER):
                    missing.append(name)
    assert not missing


def test_every_special_function_of_autograd_is_listed(coverage):
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    import autograd.scipy.special as theirs
    from autograd.core import primitive_vjps

    found = [n for n in dir(theirs) if callable(t := getattr(theirs, n)) and t in primitive_vjps]
    assert sorted(found) == sorted(coverage.SPECIAL)
    for name in found:
        assert hasattr(special, name)
        reason = coverage.SPECIAL_REASONS.get(name, "")
        if reason.startswith("refused"):
            with pytest.raises((gv.TraceError, TypeError)):
                gv.trace(lambda x, name=name: getattr(special, name)(2, x), 2.5).grad("x")


def test_classes_that_would_make_plain_arrays_are_refused(coverage):
    x = np.array([1.0, 2.0])
    for code in (
        "[a for a in np.nditer(x)]",
        "[a for _, a in np.ndenumerate(x)]",
        "np.r_['0,2', x, x]",
        "np.ma.masked_array(x, [True, False])",
    ):
        with pytest.raises(gv.TraceError):
            gv.trace(lambda x, code=code: np.sum(eval(code, {"np": np, "x": x})), x)
    assert len(coverage.CLASSES) == 6


def test_our_column_of_the_conventions_is_what_is_computed(conventions):
    page = conventions.FILE.read_text(encoding="utf-8")
    for row in conventions.ROWS:
        assert f"| {row[0]} | {conventions.ours(row)} |" in page

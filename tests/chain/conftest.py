"""Whatever a test here diagnoses is told in Chinese too: nothing is left in English, no number
differs."""

import pytest
from chinese import assert_chinese

import gradviz.chain.health
from gradviz.language import speaking


@pytest.fixture(autouse=True)
def told_in_chinese(monkeypatch):
    """Each Health that a test makes, in both languages."""
    diagnose, made = gradviz.chain.health.diagnose, []

    def kept(*args):
        made.append(diagnose(*args))
        return made[-1]

    monkeypatch.setattr(gradviz.chain.health, "diagnose", kept)
    yield
    for health in made:
        graph = health.graph
        own = {*graph.names, *(node.operation.name for node in graph.values)}
        for finding in health.findings:
            if finding.kind == "no backward pass":  # an error says it, in English
                continue
            with speaking("en"):
                english = finding.told()
            with speaking("zh"):
                assert_chinese(english, finding.told(), own)

"""The health of a computation: what is wrong with its numbers, where, why, and what to do."""

from gradviz.chain.health.diagnosis import diagnose
from gradviz.chain.health.findings import KINDS, MARKS, SEVERITIES, Finding, Health, Layer

__all__ = ["KINDS", "MARKS", "SEVERITIES", "Finding", "Health", "Layer", "diagnose"]

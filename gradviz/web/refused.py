"""Why a page does not compute a program, to be said in any language."""

from __future__ import annotations

from gradviz.errors import TraceError
from gradviz.language import in_every_language, say


class Refused(TraceError):
    """What a page does not compute, and why."""

    def __init__(self, sentence: str, **places: object) -> None:
        self.sentence, self.places = sentence, places
        super().__init__(sentence.format_map(places))


def refusal_of(error: TraceError) -> dict[str, str]:
    """Why a page does not compute, in each language."""
    if not isinstance(error, Refused):
        return in_every_language(lambda: str(error))
    return in_every_language(lambda: say(error.sentence, **error.places))

"""What stands in English in a Chinese text all the same: code, the names of operations, terms."""

import re
from collections import Counter

TERMS = set(
    "argmax autocast autograd bias count data ddp detach dtensor dtype erfinv eval "
    "false float fsdp gelu gradviz hook hot inf isinstance item key log logaddexp logdet logit "
    "logits logsumexp mask model nan numpy one optimizer padding_idx permute prediction query rank "
    "relu reshape rsqrt sigmoid slogdet softmax softplus std sum tanh transpose true "
    "vjp whole xavier".split()
)
WORD = r"(?<![\w\\.])[a-z]{3,}(?![\w(=])"
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"


def english_in(text: str) -> set[str]:
    """The English words of a text, without lines of programs."""
    text = re.sub(r"[\w./<>-]+:\d+(: .*)?", "", text)
    return set(re.findall(WORD, text.lower())) - TERMS


def assert_chinese(english: str, chinese: str, own: set[str]) -> None:
    """Both say the same of a program whose names and operations are its `own`."""
    known = {word for name in own for word in re.findall("[a-z]+", name.lower())}
    left = english_in(chinese) - known
    assert not left, f"{left} in {chinese}\n{english}"
    assert any("一" <= sign <= "鿿" for sign in chinese), chinese
    numbers = (Counter(re.findall(NUMBER, text)) for text in (english, chinese))
    assert next(numbers) == next(numbers), f"{english}\n{chinese}"

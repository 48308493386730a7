"""Print the lowest versions that pyproject.toml allows of what gradviz needs, for
``pip install --constraint``.
"""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def lowest():
    """Each requirement as ``name==version``."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return [re.sub(r"^([\w-]+)>=([\w.]+).*", r"\1==\2", line) for line in project["dependencies"]]


if __name__ == "__main__":
    print(*lowest(), sep="\n")

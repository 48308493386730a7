"""Inventories for intersphinx out of text files in this repository: no network is asked.

Such a file, ``names_elsewhere/PROJECT.txt``, has the address of a project's documentation in its
first line, then a line for each name that our pages refer to, as inventories have them.
"""

import zlib

_HEAD = """# Sphinx inventory version 2
# Project: {project}
# Version: stable
# The remainder of this file is compressed using zlib.
"""


def mapping(folder, into):
    """What ``intersphinx_mapping`` takes; inventories are written to the folder `into`."""
    into.mkdir(parents=True, exist_ok=True)
    found = {}
    for path in sorted(folder.glob("*.txt")):
        address, _, names = path.read_text(encoding="utf-8").partition("\n")
        inventory = into / f"{path.stem}.inv"
        head = _HEAD.format(project=path.stem).encode()
        inventory.write_bytes(head + zlib.compress(names.encode()))
        found[path.stem] = (address, str(inventory))
    return found

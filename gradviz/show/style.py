"""How things look: colours and dashes."""

from __future__ import annotations

from gradviz.highlight import PATHS

# Colour-blind safe: the hues are Okabe and Ito's (2008), darkened or lightened until text in them
# has a contrast of at least 4.5 on its ground. No colour is ever the only sign of anything.
LIGHT = {
    "ground": "#ffffff", "ink": "#1b2330", "soft": "#5c6775", "line": "#aab4c0",
    "edge": "#7d8896", "pill": "#ffffff", "pill-line": "#d5dbe3", "halo": "#ffffff",
    "group": "#f5f7fa", "group-line": "#d3dae3",
    "value": "#00609c", "gradient": "#b04a00",
    "input": "#eaf3fb", "parameter": "#fdf3e1", "constant": "#f0f1f3", "operation": "#ffffff",
    "output": "#f6eef5", "gradient-card": "#fff5ee",
    "fold-card": "#eef1f8", "sick": "#b3261e", "sick-card": "#fdeceb",
    "target": "#a03a78", "target-card": "#fbeaf4",
    "computed": "#00775a", "computed-card": "#e4f5ef",
    "cached": "#8a6500", "cached-card": "#fff2c2", "read": "#c25400",
    "path1": "#0072b2", "path2": "#d55e00", "path3": "#009e73",
    "path4": "#b0588d", "path5": "#a97700", "path6": "#3a97c9",
    "layer": "#ffffff",
    "heat0": "#b4cae1", "heat1": "#8db9d8", "heat2": "#a7a88f", "heat3": "#ba9347",
    "heat4": "#c17501", "heat5": "#b45600", "heat6": "#963a0b", "heat7": "#6e2313",
}  # fmt: skip
DARK = {
    "ground": "#12171e", "ink": "#e9edf2", "soft": "#9aa6b4", "line": "#55616f",
    "edge": "#7f8b99", "pill": "#1b222b", "pill-line": "#3a4552", "halo": "#12171e",
    "group": "#171d26", "group-line": "#333e4b",
    "value": "#7cc4f5", "gradient": "#ffab73",
    "input": "#172a3a", "parameter": "#2f2718", "constant": "#22272e", "operation": "#1c232c",
    "output": "#2d2130", "gradient-card": "#2c2119",
    "fold-card": "#1d2433", "sick": "#ff8a80", "sick-card": "#3a1c1b",
    "target": "#ee9fd0", "target-card": "#3a2033",
    "computed": "#4fd0a8", "computed-card": "#15332a",
    "cached": "#f2ce4e", "cached-card": "#3a3011", "read": "#ff9248",
    "path1": "#56b4e9", "path2": "#ff8f3a", "path3": "#2fcf9f",
    "path4": "#e69ac6", "path5": "#f0c93f", "path6": "#9fd6f7",
    "layer": "#1c232c",
    "heat0": "#374a5d", "heat1": "#456073", "heat2": "#777358", "heat3": "#a6805b",
    "heat4": "#ce9057", "heat5": "#e9a85d", "heat6": "#f9c675", "heat7": "#ffe6a2",
}  # fmt: skip
PALETTES = {"light": LIGHT, "dark": DARK, "auto": LIGHT}
BROKEN = {"zero": "1 3", "underflown": "5 2 1 2", "hidden": "3 4", "shared": "3 4"}
DOTTED = {"zero": "dotted", "underflown": "dashed"}  # the same in DOT and TikZ
# Dashes tell paths apart where colour cannot; the first path is a solid line.
DASHES = ("", "8 4", "2 4", "11 4 2 4", "5 5", "14 3 2 3 2 3")


# Differences are drawn in colours of paths, which can be told apart.
_DIFFERENCES = {
    "differs": "path2", "differslittle": "path5", "onlyhere": "path4", "agrees": "path6",
}  # fmt: skip


def token(role: str, default: str = "") -> str:
    """The palette entry of a role; "path 7" begins again at the first colour."""
    name = role.replace(" ", "")
    name = _DIFFERENCES.get(name, name)
    if name.startswith("path") and name[4:].isdigit():
        return f"path{(int(name[4:]) - 1) % PATHS + 1}"
    return name if name in LIGHT else default


def dash(role: str) -> str:
    """The dash pattern of a role's line, as SVG writes it; empty for a solid line."""
    name = token(role)
    return DASHES[int(name[4:]) - 1] if name.startswith("path") else BROKEN.get(role, "")


def heat_width(heat: str) -> float:
    """How wide the line of an arrow is: what is larger is wider too, what is 0 thinner than all."""
    return {"": 1.2, "zero": 0.8, "underflown": 0.8, "sick": 2.4}.get(heat) or 1.2 + 0.45 * int(
        heat.removeprefix("heat")
    )

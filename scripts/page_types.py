"""Write gradviz/web/js/wire.d.ts, TypeScript's copy of gradviz/web/wire.py.

`python scripts/page_types.py`; tests/web/test_rooms.py says where the copy is old.
"""

from __future__ import annotations

import ast
from pathlib import Path

WEB = Path(__file__).parent.parent / "gradviz" / "web"
TARGET = WEB / "js" / "wire.d.ts"
NAMES = {"str": "string", "int": "number", "float": "number", "bool": "boolean", "Any": "any"}


def typescript() -> str:
    """All types of what travels, in TypeScript."""
    module = ast.parse((WEB / "wire.py").read_text(encoding="utf-8"))
    parts = ["// Written by scripts/page_types.py from gradviz/web/wire.py.\n"]
    for n, statement in enumerate(module.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                parts.append(_doc(module.body[n + 1]) + f"type {name} = {_type(value)};\n")
            case ast.ClassDef(name=name, body=body):
                fields = "".join(
                    f"  {_field(line)};\n" for line in body if isinstance(line, ast.AnnAssign)
                )
                parts.append(_doc(body[0]) + f"interface {name} {{\n{fields}}}\n")
    return "\n".join(parts)


def _doc(statement: ast.stmt) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return f"/** {text} */\n"
    return ""


def _field(line: ast.AnnAssign) -> str:
    name = ast.unparse(line.target)
    match line.annotation:
        case ast.Subscript(value=ast.Name(id="NotRequired"), slice=inner):
            return f"{name}?: {_type(inner)}"
    return f"{name}: {_type(line.annotation)}"


def _type(tree: ast.expr) -> str:
    match tree:
        case ast.Name(id=name):
            return NAMES.get(name, name)
        case ast.Constant(value=None):
            return "null"
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{_type(left)} | {_type(right)}"
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[_, written])):
            return str(ast.literal_eval(written))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return " | ".join(f'"{ast.literal_eval(value)}"' for value in values)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return f"({_type(inner)})[]" if isinstance(inner, ast.BinOp) else f"{_type(inner)}[]"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            return f"{{ [key: {_type(key)}]: {_type(value)} }}"
    raise ValueError(f"no TypeScript for {ast.unparse(tree)}")


if __name__ == "__main__":
    TARGET.write_text(typescript(), encoding="utf-8")

"""Code of the toy world: small Python functions over one theme each."""

from __future__ import annotations

import random

_NOUNS = ["total", "count", "index", "value", "item", "score", "price", "size", "width", "depth"]
_VERBS = ["compute", "update", "find", "merge", "count", "sort", "read", "check"]
_OPERATORS = ("+", "-", "*", "//", "%")
_COMPARISONS = ("<", ">", "==", "!=")


def snippet(rng: random.Random) -> str:
    """One function of four to eight lines, its names and operators drawn."""
    noun, other = rng.sample(_NOUNS, 2)
    name = f"{rng.choice(_VERBS)}_{noun}"
    operator, comparison, number = rng.choice(_OPERATORS), rng.choice(_COMPARISONS), rng.randint(1, 9)
    body = rng.randrange(3)
    lines = [f"def {name}({other}s):"]
    if body == 0:
        lines += [f"    {noun} = {rng.randint(0, 9)}", f"    for {other} in {other}s:"]
        lines += [f"        if {other} {comparison} {number}:", f"            {noun} = {noun} {operator} {other}"]
        lines += [f"    return {noun}"]
    elif body == 1:
        lines += [f"    {noun} = [{other} {operator} {number} for {other} in {other}s]"]
        lines += [f"    if len({noun}) {comparison} {number}:", "        return None", f"    return sum({noun})"]
    else:
        lines += [f"    {noun} = {{}}", f"    for key, {other} in {other}s.items():"]
        lines += [f"        {noun}[key] = {other} {operator} {number}", f"    return {noun}"]
    return "\n".join(lines) + "\n"

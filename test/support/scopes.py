"""The scopes of a file of C++, for the checks that read sources: `floors` and `longest`."""

import re

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'',
                   re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\.|[^\\\n])*", re.DOTALL | re.MULTILINE)
NAMESPACE = re.compile(r"\bnamespace\s+(?:\[\[[^]]*\]\]\s*)?([\w:]*)\s*$")
CLASS = re.compile(r"(?<!enum )\b(?:class|struct|union)\s+(?:\[\[\w+\]\]\s*)?(?:FIBER_\w+\s+)?"
                   r"([\w:]+)(?:<[^{};]*>)?(?:\s+final)?\s*(?::[^{};]*)?$", re.DOTALL)
FUNCTION = re.compile(r"([\w:~]+)\s*\([^{};]*$", re.DOTALL)
CONTROL = {"if", "for", "while", "switch", "catch", "constexpr", "requires", "alignas", "noexcept"}


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def code_of(text):
    """The text with spaces in the place of comments, strings and directives."""
    return DIRECTIVE.sub(blank, TOKEN.sub(blank, text))


def scopes(code):
    """(first line, last line, kind, names, text) of each scope and, with the kind "statement", of
    what stands between their braces and semicolons. The names are those of the namespaces and
    classes around it and, but for a statement, its own."""
    line, start, open_scopes = 1, 0, []
    for found in re.finditer(r"[{};\n]", code):
        char = found[0]
        if char == "\n":
            line += 1
            continue
        header, start = code[start : found.start()], found.end()
        if header.strip():
            yield line, line, "statement", names_of(open_scopes), header.strip()
        if char == "{":
            kind, name = kind_of(header.strip(), open_scopes)
            open_scopes.append((kind, name, line))
        elif char == "}" and open_scopes:
            kind, name, first = open_scopes.pop()
            yield first, line, kind, [*names_of(open_scopes), name], ""


def names_of(open_scopes):
    return [name for kind, name, _ in open_scopes if name and kind in ("namespace", "class")]


def kind_of(header, open_scopes):
    found = re.search(r"\b(?:namespace|extern)\b", header)
    if found is not None:
        name = NAMESPACE.search(header)
        return "namespace", name[1] if name is not None else ""
    found = CLASS.search(header)
    if found is not None:
        return "class", found[1]
    inside = any(kind not in ("namespace", "class") for kind, _, _ in open_scopes)
    found = FUNCTION.search(header)
    names = re.findall(r"([\w:~]+)\s*\(", header)
    if found is None or inside or not names or names[0] in CONTROL or "=" in header.split("(")[0]:
        return "block", ""
    return "function", names[0]

#!/usr/bin/env python3
"""Prints a header as Doxygen is to read it, with the rules that its comments have for readers.

- Functions of one name without a blank line between them share the comment of the first, and so
  do constants of any names.
- Constructors, operators, other names for a type and the types that an iterator names need none.
- What hands out the object behind a handle is for the layers above, and hidden; so are copying,
  destructors, and what classes have for those that derive from them, if nothing is said there.
- enter(), exit(), lock() and unlock() are what asyncio::with and std::lock_guard call.

Everything else that is public must have a comment: Doxygen warns.
"""

import re
import sys

SILENT = "&zwj;"
BLANKED = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
    r"|^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.DOTALL | re.MULTILINE)
LABEL = re.compile(r"\s*(public|protected|private)\s*:(?!:)")
CLASS = re.compile(r"(?<!enum )\b(?:class|struct|union)\s+(?:\[\[[^\]]*\]\]\s*)?(?:FIBER_\w+\s+)?"
                   r"([\w:]+)\s*(?:<.*>(::\w+)?)?(?:\s+final)?\s*(?::[^:].*)?$", re.DOTALL)
UNDOCUMENTED = {"difference_type", "iterator_category", "iterator_concept", "pointer", "reference",
                "value_type"}
HIDDEN = {"object", "reference"}
PROTOCOL = {"counted_handle": "For asyncio::with.", "enter": "For asyncio::with.",
            "exit": "For asyncio::with.", "lock": "For std::lock_guard.",
            "unlock": "For std::lock_guard."}


def matching(text, at):
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    for at in range(at, len(text)):
        depth += (text[at] in "({[") - (text[at] in ")}]")
        if depth == 0:
            return at + 1
    return len(text)


def name_of(header):
    """The declared name; of a function the word before its parameters."""
    header = re.sub(r"\[\[.*?\]\]", "", header, flags=re.DOTALL)
    found = re.match(r"\s*using\s+(\w+)\s*=", header)
    if found:
        return found[1]
    if "operator" in header:
        return "operator"
    while re.match(r"\s*template\s*<", header):
        at, depth = header.index("<"), 0
        for at in range(at, len(header)):
            depth += (header[at] == "<") - (header[at] == ">" and header[at - 1] != "-")
            if depth == 0:
                break
        header = header[at + 1:]
        found = re.match(r"\s*requires\s*\(", header)
        if found:
            header = header[matching(header, found.end() - 1):]
    found = re.search(r"(~?\w+)\s*\(", header) or re.search(r"(\w+)\s*(?:=.*)?$", header, re.DOTALL)
    return found[1] if found else ""


def declarations(text):
    """(scope, access, name, begin, end, header) of everything declared in a namespace or a class."""
    scope, access, scopes, at, begin = "", "", [], 0, 0
    while at < len(text):
        char = text[at]
        header = text[begin:at]
        if char in "([":
            at = matching(text, at)
            continue
        if char == ":" and LABEL.fullmatch(text[begin:at + 1]) and text[at + 1:at + 2] != ":":
            access = LABEL.fullmatch(text[begin:at + 1])[1]
            begin = at + 1
        elif char == "}":
            if scopes:
                inner, (scope, access, header, first) = scope, scopes.pop()
                if access == "protected":
                    yield scope, access, inner, first, text.index(";", at) + 1, header
            begin = at + 1
        elif char == ";":
            if header.strip():
                yield scope, access, name_of(header), begin, at + 1, header
            begin = at + 1
        elif char == "{":
            if re.search(r"\bnamespace\b|\bextern\b", header):
                scopes.append((scope, access, header, begin))
                scope, access = "", ""
                begin = at + 1
            elif CLASS.search(header) and not re.search(r"\)\s*(?:const|noexcept)*\s*$", header):
                found = CLASS.search(header)
                scopes.append((scope, access, header, begin))
                scope, access = (found[2] or found[1]).split("::")[-1], "public"
                begin = at + 1
            else:
                at = matching(text, at)
                rest = text[at:].lstrip()
                if re.search(r"\brequires\s*(?:\([^()]*\)\s*)?$", header) or rest[:1] in ("{", ",", ";", "="):
                    continue
                yield scope, access, name_of(header), begin, at, header
                begin = at
                continue
        at += 1


def comment_of(lines, first, last):
    """The text of the comment above or behind the lines of a declaration."""
    above = []
    while first > 0 and re.match(r"\s*///(?![<@/]| @}| [\\\\@](?:end)?cond)", lines[first - 1]):
        first -= 1
        above.insert(0, lines[first].strip()[3:].removeprefix(" @{"))
    if above:
        # Code keeps its lines.
        return ("\n" if any(line.startswith("    ") for line in above) else "").join(above).strip()
    found = re.search(r"///<(.*)", lines[last])
    text = found[1].strip() if found else ""
    while found and last + 1 < len(lines) and re.match(r"\s*///<", lines[last + 1]):
        last += 1
        text += " " + lines[last].strip()[4:].strip()
    return text


def filtered(source):
    text = BLANKED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)
    lines = source.split("\n")
    insertions = []
    previous = ("", "", -2, "")
    for scope, access, name, begin, end, header in declarations(text):
        begin += len(header) - len(header.lstrip())
        header = header.strip()
        first, last = text.count("\n", 0, begin), text.count("\n", 0, end)
        comment = comment_of(lines, first, last)
        if not comment:
            made = name.lstrip("~") == scope != ""
            taken = header[header.find("("):matching(header, header.find("("))] if "(" in header else ""
            copies = scope and re.match(rf"\((?:const {scope}&|{scope}&&|{scope}) ?\w*\)", taken)
            together = previous[:2] == (scope, name) and previous[2] + 1 == first and not copies
            hands_out = name != "operator" and re.search(r"\b(?:detail|core)::", header.split("(")[0])
            usual = copies or name[:1] == "~" or re.search(r"\boperator=\s*\(", header)
            constant = not scope and header.startswith("inline constexpr")
            alias = not scope and re.match(
                r"using \w+ =\s|(?:template <[^>]*>\s*)?\w+\([^)]*\) -> ", header)
            if access == "protected" and not together or taken and (usual or name in HIDDEN or hands_out
                          or made and re.search(r"\b(?:detail|core)::", taken)):
                insertions += [(begin, "/** @cond */ "), (end, " /** @endcond */")]
            elif previous[3] and (together or constant and previous[2] + 1 == first):
                comment = previous[3]
            elif scope and name in PROTOCOL:
                comment = PROTOCOL[name]
            elif made or alias or name == "operator" or name in UNDOCUMENTED:
                comment = SILENT
            if comment:
                insertions.append((begin, f"/** {comment} */ "))
        # A comment behind a declaration is about that one alone.
        previous = (scope, name, last, "" if "///<" in lines[last] else comment)
    for at, inserted in sorted(insertions, reverse=True):
        source = source[:at] + inserted + source[at:]
    return source


def filtered_c(source):
    """The same for fiber.h, whose comments are those of C: above a declaration, and behind it."""
    source = re.sub(r"(?m)^/\* (?!---)", "/** ", source)
    source = re.sub(r"([;,] +|\d +)/\* ", r"\1/**< ", source)
    shared = ""
    made = []
    for paragraph in re.split(r"(/\*\*.*?\*/\n|\n\n)", source, flags=re.DOTALL):
        if paragraph.startswith("/**") or paragraph == "\n\n":
            shared = paragraph.strip()
        elif shared:
            first, *others = re.split(r"(?<=\);\n)(?=FIBER_C_API)|(?<=\)\n)(?=#define)", paragraph)
            paragraph = first + "".join(f"{shared}\n{other}" for other in others)
        made.append(paragraph)
    return "/** \\file\n   Fibers for plain C: greenlets, and tasks in an event loop. */\n" + "".join(made)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    sys.stdout.write(filtered_c(text) if sys.argv[1].endswith(".h") else filtered(text))

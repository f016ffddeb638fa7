#!/usr/bin/env python3
"""Makes the manual pages of <fiber/fiber.h> from its comments.

    manual.py HEADER VERSION --list      prints the names of the pages
    manual.py HEADER VERSION DIRECTORY   writes the pages

The header's first comment and its statuses are the page fiber.h(3); each section that begins with
`/* --- title --- */` is a page; each function is an alias of the page of its section.
"""
import pathlib
import re
import sys

PAGES = {
    "statuses": "fiber.h",
    "greenlets": "fiber_greenlets",
    "tasks": "fiber_tasks",
    "loops": "fiber_loops",
    "blocking calls of libc": "fiber_patching",
}


def comment_text(comment):
    """The text of a C comment, without its frame and without markers inside."""
    text = re.sub(r"^/\*+ ?|\s*\*/$", "", comment)
    lines = [re.sub(r"^ ?\* ?", "", line) for line in text.split("\n")]
    return "\n".join(line.rstrip().replace("///<", "//") for line in lines)


def escaped(text):
    """Escapes text, so that troff takes none of it for a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def paragraphs(text):
    """Formats a comment: prose is filled, indented blocks keep their lines."""
    out = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if all(line.startswith("  ") for line in block.split("\n")):
            out += [".PP", ".nf", escaped(block), ".fi"]
        else:
            filled = "\n".join(line.strip() for line in block.split("\n"))
            out += [".PP", escaped(filled)]
    return out


def entries(section):
    """Pairs (comment, the declarations that follow it without an empty line)."""
    token = re.compile(r"/\*.*?\*/|#define [^\n]*|(?:[^;{/]|/(?!\*))+(?:\{.*?\}[^;{]*)?;", re.S)
    found, text = [], None
    end = 0
    for match in token.finditer(section):
        apart = "\n\n" in section[end:match.start()] + match[0][:len(match[0]) - len(match[0].lstrip())]
        end = match.end()
        piece = match[0].strip()
        if piece.startswith("/*"):
            text = comment_text(piece)
            found.append((text, []))
        elif piece:
            if not found or (apart and found[-1][1]):
                found.append(("", []))
            found[-1][1].append(without_export(piece))
    return [(text, declarations) for text, declarations in found if declarations]


def without_export(declaration):
    """The declaration without FIBER_C_API, its further lines aligned."""
    export = "FIBER_C_API "
    if not declaration.startswith(export):
        return declaration
    return declaration[len(export):].replace("\n" + " " * len(export), "\n")


def function_name(declaration):
    match = re.match(r"[\w\s]+?[\s*]+(fiber_\w+)\(", declaration)
    return match[1] if match and not declaration.startswith("typedef") else None


class Header:
    def __init__(self, text):
        self.overview = comment_text(re.match(r"/\*.*?\*/", text, re.S)[0])
        body = text[text.index('extern "C" {\n#endif') + len('extern "C" {\n#endif'):]
        body = body[:body.rindex("#ifdef __cplusplus")]
        pieces = re.split(r"/\* --- (.*?) --- \*/", body, flags=re.S)
        self.sections = []
        for title, section in zip(pieces[1::2], pieces[2::2]):
            subject = re.split(r"[:,]", title)[0]
            self.sections.append((PAGES[subject], title, entries(section)))

    def functions(self):
        for page, _, found in self.sections:
            for _, declarations in found:
                for declaration in declarations:
                    if name := function_name(declaration):
                        yield name, page


def page_text(header, page, title, found, version):
    names = [page] if page == "fiber.h" else []
    names += [name for name, where in header.functions() if where == page]
    subject = "fibers for plain C" if page == "fiber.h" else title
    out = [f'.TH "{page}" 3 "" "fiber {version}" "fiber"', ".SH NAME",
           f"{', '.join(names)} \\- {escaped(subject)}", ".SH SYNOPSIS", ".nf",
           "#include <fiber/fiber.h>", ""]
    for _, declarations in found:
        out += [escaped(declaration) for declaration in declarations] + [""]
    out += [".fi", ".SH DESCRIPTION"]
    if page == "fiber.h":
        out += paragraphs(header.overview)
    for text, declarations in found:
        if not text:
            continue
        labels = [name for name in map(function_name, declarations) if name]
        out += [".PP"] + ([f"\\fB{'(), '.join(labels)}()\\fR", ".RS"] if labels else [])
        out += paragraphs(text)[0 if not labels else 1:]
        out += [".RE"] if labels else []
    others = [name for name in PAGES.values() if name != page]
    out += [".SH SEE ALSO", ", ".join(f"{name}(3)" for name in others)]
    return "\n".join(out) + "\n"


def main():
    path, version, target = sys.argv[1:]
    header = Header(pathlib.Path(path).read_text())
    pages = {page: page_text(header, page, title, found, version)
             for page, title, found in header.sections}
    pages |= {name: f".so man3/{page}.3\n" for name, page in header.functions()}
    if target == "--list":
        print("\n".join(f"{name}.3" for name in sorted(pages)))
        return
    for name, text in pages.items():
        (pathlib.Path(target) / f"{name}.3").write_text(text)


if __name__ == "__main__":
    main()

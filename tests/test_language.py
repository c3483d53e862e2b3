"""The rules of CONTRIBUTING's section on language, as far as a program can hold them."""

import ast
import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for folder in ("fedjax_diffusion", "configs", "benchmarks", "examples", "notebooks")
    for path in ROOT.glob(f"{folder}/**/*.py")
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)
QUESTION = r"(?:what|which|where|how|who|whom|whose|why|when)\b"
VERB = re.compile(r"[A-Z][a-z]+s\b")
NOT_SAID = {
    r"opponents?": "baseline",
    r"rivals?": "other quantizers",
    r"(?:error )?laws?": "error curve",
    r"told": "given, marked",
    r"who(?:so)?ever": "any caller",
    r"heed(?:s|ed)?": "respect",
    r"br(?:ing|ings|ought) home": "deliver on time",
    r"the taking part": "the participating clients",
}
"""Words of this project that no reader knows, and what to say instead."""
VOCABULARY = ROOT / "CONTRIBUTING.md"
"""Its tables name the words that are not said, beside those that are."""
OLD_NAMES = ROOT / "fedjax_diffusion" / "host" / "old_names.py"
MAX_LINE = 100
LONG_BY_NATURE = re.compile(r"^\s*(?:\||!\[|\[)|https?://")
"""A row of a table, a picture, a link."""


@functools.cache
def read_docstrings():
    """Returns (place, node, docstring) of each module, class and function that has one."""
    return [
        (f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", node, text)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node))
    ]


def is_property(node):
    """Whether a function is read like an attribute."""
    names = {
        name.id for item in node.decorator_list for name in ast.walk(item) if "id" in name._fields
    }
    names |= {item.attr for item in node.decorator_list if isinstance(item, ast.Attribute)}
    return bool(names & {"property", "cached_property"})


def test_docstring_of_a_function_begins_with_a_verb():
    """Returns, Draws, Writes; a property's names the value, as an attribute's does."""
    wrong = [
        f"{place} {text.splitlines()[0]}"
        for place, node, text in read_docstrings()
        if isinstance(node, FUNCTIONS) and not is_property(node) and not VERB.match(text)
    ]
    assert not wrong


def test_docstring_asks_no_question():
    """Neither as its first word nor after the verb: "Returns what ..." hides the noun."""
    opening = re.compile(rf"(?:[A-Z][a-z]+s )?{QUESTION}", re.IGNORECASE)
    wrong = [
        f"{place} {text.splitlines()[0]}"
        for place, _, text in read_docstrings()
        if opening.match(text)
    ]
    assert not wrong


def test_guarantees_have_one_form():
    heading = re.compile(r"^ *\W*guarantees?\W*(?:$| )", re.IGNORECASE | re.MULTILINE)
    wrong = [
        f"{place} {found.group()}"
        for place, _, text in read_docstrings()
        for found in heading.finditer(text)
        if found.group().strip() != "Guarantees:"
    ]
    assert not wrong


def test_words_that_are_not_said():
    any_word = re.compile("|".join(rf"\b{word}\b" for word in NOT_SAID), re.IGNORECASE)
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {found.group()}; say {instead}"
        for path in [*SOURCES, *PAGES]
        if path != OLD_NAMES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any_word.search(line) and not (path == VOCABULARY and line.startswith("|"))
        for word, instead in NOT_SAID.items()
        for found in re.finditer(rf"\b{word}\b", line, re.IGNORECASE)
    ]
    assert not wrong


def test_lines_of_documents_are_short():
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {len(line)}"
        for path in PAGES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > MAX_LINE and not LONG_BY_NATURE.search(line)
    ]
    assert not wrong

"""The grammar of expressions: from a text to a tree, and to the order in which its nodes are evaluated.

The precedence is the physicist's, not Python's: ``&`` and ``|`` bind looser than comparisons, so that
``pt > 20 & abs(eta) < 2.5`` joins two conditions. From loose to tight::

    or || |    and && &    not    < <= > >= == != in    << >>    + -    * / // %    unary + - ~ !    **    f() x[]

Nothing here knows about arrays. Texts are limited in length and nesting, so that a hostile one is refused at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, NoReturn

MAX_LENGTH = 4096
MAX_NESTING = 50


class ExpressionError(Exception):
    """What is wrong with an expression, as a phrase that follows its text: ``"ends too early"``."""


@dataclass(frozen=True)
class Node:
    """A node of the tree; ``span`` is its place in the text, for messages only."""

    span: tuple[int, int] = field(compare=False, repr=False)

    @property
    def children(self) -> tuple[Node, ...]:
        """The nodes whose values this one needs, in order."""
        return ()


@dataclass(frozen=True)
class Number(Node):
    """A literal number or a named constant."""

    value: bool | int | float


@dataclass(frozen=True)
class String(Node):
    """A literal string."""

    value: str


@dataclass(frozen=True)
class Name(Node):
    """A column, its dots already joined."""

    name: str


@dataclass(frozen=True)
class Unary(Node):
    """A prefix operator: ``+ - ~ !``; ``not`` is ``!``."""

    operator: str
    operand: Node

    @property
    def children(self) -> tuple[Node, ...]:
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True)
class Binary(Node):
    """An infix operator; ``and`` is ``&&`` and ``or`` is ``||``."""

    operator: str
    left: Node
    right: Node

    @property
    def children(self) -> tuple[Node, ...]:
        """Both operands."""
        return self.left, self.right


@dataclass(frozen=True)
class Compare(Node):
    """A chain of comparisons, ``first operators[0] rest[0] operators[1] rest[1] …``."""

    first: Node
    operators: tuple[str, ...]
    rest: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        """All that is compared."""
        return (self.first, *self.rest)


@dataclass(frozen=True)
class Call(Node):
    """A function and its arguments."""

    function: str
    arguments: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        """The arguments."""
        return self.arguments


@dataclass(frozen=True)
class Index(Node):
    """``value[item]``; the item is a :class:`Slice` or any other node."""

    value: Node
    item: Node

    @property
    def children(self) -> tuple[Node, ...]:
        """What is indexed, then the index."""
        return self.value, self.item


@dataclass(frozen=True)
class Slice(Node):
    """The ``start:stop:step`` of an index, None where nothing is written."""

    parts: tuple[Node | None, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        """The bounds that are written."""
        return tuple(part for part in self.parts if part is not None)


@dataclass(frozen=True)
class List(Node):
    """What stands right of ``in``."""

    items: tuple[Node, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        """The items."""
        return self.items


class Token(NamedTuple):
    """A word of the text; ``kind`` is ``number``, ``string``, ``name``, ``symbol`` or ``end``."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        """Whether a symbol is spelt as a keyword: ``not`` binds looser than ``!``."""
        return self.kind == "symbol" and self.end - self.start > len(self.text)


CONSTANTS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "pi": math.pi,
    "inf": math.inf,
    "nan": math.nan,
}
SYNONYMS = {"and": "&&", "or": "||", "not": "!", "in": "in"}
_LEVELS = (
    ("||", "|"),
    ("&&", "&"),
    ("not",),
    ("<", "<=", ">", ">=", "==", "!=", "in", "not in"),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "//", "%"),
    ("unary",),
    ("**",),
    ("[",),
)
LEVEL = {symbol: level for level, symbols in enumerate(_LEVELS, start=1) for symbol in symbols}
PREFIXES = ("+", "-", "~", "!")
REFUSED = {
    "^": "use ** for powers (ROOT) or != for exclusive or",
    "=": "use == to compare",
    "?": "use where(condition, a, b)",
    "'": "its quote is never closed, or the string holds a backslash",
    '"': "its quote is never closed, or the string holds a backslash",
}
HINTS = {
    ".": ": a dot only joins a collection and its column, as in Jet.pt",
    "(": ": only a function can be called",
    "[": ": a list only follows 'in'",
    ",": ": a comma only separates arguments and the items after 'in'",
    "if": ": use where(condition, a, b)",
}
_TOKEN = re.compile(
    r"""(?P<number>0[xX][0-9a-fA-F]+ | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<string>'[^'\\\n]*' | "[^"\\\n]*")
    | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
    | (?P<symbol>\*\*|//|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>!&|~()\[\],:.])
    | (?P<space>\s+)""",
    re.VERBOSE | re.ASCII,
)


def tokenize(text: str) -> list[Token]:
    """Split a text into tokens, the last of which is of kind ``end``.

    Parameters
    ----------
    text
        The expression.

    Returns
    -------
    list of Token
        The words with their places; names have their dots joined, ``and``, ``or``, ``not`` are symbols.

    Raises
    ------
    ExpressionError
        For a character or a name that the language does not have.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            remedy = REFUSED.get(text[position], "the language has no such character")
            raise ExpressionError(f"stumbles over {text[position]!r} at character {position + 1}: {remedy}")
        position = match.end()
        if match.lastgroup != "space":
            tokens.append(_word(str(match.lastgroup), match.group(), match.start()))
    return [*tokens, Token("end", "", len(text), len(text))]


def _word(kind: str, text: str, start: int) -> Token:
    """Make a token, with the keywords and the dots of names resolved."""
    end = start + len(text)
    if kind != "name":
        return Token(kind, text, start, end)
    if text in SYNONYMS:
        return Token("symbol", SYNONYMS[text], start, end)
    if any(part.startswith("_") for part in text.split(".")):
        raise ExpressionError(f"has the name '{text}' at character {start + 1}: names do not begin with '_'")
    return Token("name", text.replace(".", "_"), start, end)


def _number(text: str) -> int | float:
    """Read a literal; an integer beyond 64 bits becomes a float."""
    if text[:2] in ("0x", "0X"):
        value = int(text, 16)
    elif text.isdigit():
        value = int(text)
    else:
        return float(text)
    if value < 2**64:
        return value
    return float(value) if value.bit_length() <= 1023 else math.inf


class _ExpressionParser:
    """A Pratt parser: one method for what begins an operand, one loop for what follows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.place = 0
        self.nesting = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def advance(self) -> Token:
        token = self.token
        self.place += 1
        return token

    def take(self, symbol: str) -> bool:
        matches = self.token.kind == "symbol" and self.token.text == symbol
        self.place += matches
        return matches

    def expect(self, symbol: str) -> None:
        if not self.take(symbol):
            self.refuse(f"'{symbol}' is missing")

    def refuse(self, missing: str) -> NoReturn:
        """Raise for the token at hand; ``missing`` says what the end of the text lacks."""
        if self.token.kind == "end":
            raise ExpressionError(f"ends too early, {missing}")
        token_text, start = self.text[self.token.start : self.token.end], self.token.start
        raise ExpressionError(f"has an unexpected '{token_text}' at character {start + 1}{HINTS.get(token_text, '')}")

    def span(self, start: int) -> tuple[int, int]:
        return start, self.tokens[self.place - 1].end

    def whole(self) -> Node:
        tree = self.expression()
        if self.token.kind != "end":
            self.refuse("")
        return tree

    def nested(self, floor: int = 0) -> Node:
        """Parse an expression inside a bracket or behind a prefix, where the depth counts."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise ExpressionError(f"is nested deeper than {MAX_NESTING} levels: split it with define:")
        node = self.expression(floor)
        self.nesting -= 1
        return node

    def expression(self, floor: int = 0) -> Node:
        """Parse an operand and all the operators behind it that bind tighter than ``floor``."""
        left = self.operand(floor)
        while True:
            operator = self.infix()
            level = LEVEL.get(operator, 0)
            if level <= floor:
                return left
            if level == LEVEL["<"]:
                left = self.comparison(left)
                continue
            self.advance()
            if operator == "[":
                left = self.index(left)
                continue
            right = self.nested(LEVEL["unary"]) if operator == "**" else self.expression(level)
            left = Binary(self.span(left.span[0]), operator, left, right)

    def infix(self) -> str:
        """Name the operator at hand, or an empty string; ``not in`` is one."""
        if self.token.kind != "symbol":
            return ""
        if self.token.is_word and self.token.text == "!" and self.tokens[self.place + 1].text == "in":
            return "not in"
        return self.token.text

    def operand(self, floor: int) -> Node:
        """Parse what can begin an expression."""
        token = self.token
        if token.kind in ("number", "string", "name"):
            self.advance()
            return self.atom(token)
        if token.text in PREFIXES:
            return self.prefix(floor)
        if self.take("("):
            inner = self.nested()
            self.expect(")")
            return replace(inner, span=self.span(token.start))
        return self.refuse("an operand is missing")

    def atom(self, token: Token) -> Node:
        span = token.start, token.end
        if token.kind == "number":
            return Number(span, _number(token.text))
        if token.kind == "string":
            return String(span, token.text[1:-1])
        if self.take("("):
            arguments = self.items(")")
            return Call(self.span(token.start), token.text, arguments)
        if token.text in CONSTANTS:
            return Number(span, CONSTANTS[token.text])
        return Name(span, token.text)

    def prefix(self, floor: int) -> Node:
        token = self.advance()
        if token.is_word and floor > LEVEL["not"]:
            raise ExpressionError(f"has 'not' inside an operand at character {token.start + 1}: put it in brackets")
        operand = self.nested(LEVEL["not"] if token.is_word else LEVEL["unary"])
        return Unary(self.span(token.start), token.text, operand)

    def comparison(self, first: Node) -> Node:
        """Parse a whole chain, so that ``1 <= x <= 16`` means both."""
        operators, rest = [], []
        while LEVEL.get(self.infix()) == LEVEL["<"]:
            operator = self.infix()
            self.place += 2 if operator == "not in" else 1
            operators.append(operator)
            rest.append(self.members() if operator.endswith("in") else self.expression(LEVEL["<"]))
        return Compare(self.span(first.span[0]), first, tuple(operators), tuple(rest))

    def members(self) -> Node:
        start = self.token.start
        for opening, closing in (("[", "]"), ("(", ")")):
            if self.take(opening):
                items = self.items(closing)
                if not items:
                    raise ExpressionError("has an empty list after 'in'")
                return List(self.span(start), items)
        raise ExpressionError("needs a list after 'in', such as [11, 13]")

    def items(self, closing: str) -> tuple[Node, ...]:
        nodes: list[Node] = []
        if self.take(closing):
            return ()
        while not nodes or self.take(","):
            nodes.append(self.nested())
        self.expect(closing)
        return tuple(nodes)

    def index(self, value: Node) -> Node:
        item = self.item()
        self.expect("]")
        return Index(self.span(value.span[0]), value, item)

    def item(self) -> Node:
        start = self.token.start
        first, others = self.bound(), []
        while self.take(":"):
            others.append(self.bound())
        if first is not None and not others:
            return first
        if len(others) not in (1, 2):
            raise ExpressionError(
                f"has a malformed index at character {start + 1}: x[0], x[mask] or x[start:stop:step]"
            )
        return Slice(self.span(start), (first, *others))

    def bound(self) -> Node | None:
        return None if self.token.text in (":", "]") else self.nested()


def parse_tree(text: str) -> Node:
    """Parse an expression.

    Parameters
    ----------
    text
        The expression, at most 4096 characters and 50 levels of nesting.

    Returns
    -------
    Node
        The root of the tree.

    Raises
    ------
    ExpressionError
        For whatever is not in the language.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"is longer than {MAX_LENGTH} characters: split it with define:")
    if not text.strip():
        raise ExpressionError("is empty")
    return _ExpressionParser(text).whole()


def postorder(tree: Node) -> Sequence[Node]:
    """List the nodes so that each follows its children; without recursion, for sums of a thousand terms.

    Parameters
    ----------
    tree
        The root.

    Returns
    -------
    sequence of Node
        All nodes, the root last.
    """
    pending, nodes = [tree], []
    while pending:
        node = pending.pop()
        nodes.append(node)
        pending.extend(node.children)
    return nodes[::-1]


def calls(nodes: Sequence[Node], function: str) -> bool:
    """Whether one of the nodes calls a function."""
    return any(isinstance(node, Call) and node.function == function for node in nodes)


def default_of(node: Node) -> tuple[str, bool | int | float] | None:
    """Return column and default of a call of ``default``; None for any other node.

    Raises
    ------
    ExpressionError
        When it is not of the form ``default(column, literal)``.
    """
    if not isinstance(node, Call) or node.function != "default":
        return None
    column, value = (*node.arguments, None, None)[:2]
    sign = 1
    if isinstance(value, Unary) and value.operator in ("-", "+") and isinstance(value.operand, Number):
        sign, value = (-1 if value.operator == "-" else 1), value.operand
    if len(node.arguments) != 2 or not isinstance(column, Name) or not isinstance(value, Number):
        raise ExpressionError(
            "has a 'default' that is not of a column and a number, true or false: default(HLT_A, false)"
        )
    return column.name, value.value if isinstance(value.value, bool) else sign * value.value

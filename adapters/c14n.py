"""Exclusive XML canonicalisation of one element (WB007).

libxml2 does the work. It cannot do `#default` in an InclusiveNamespaces PrefixList: lxml drops every prefix that is not
a name in the document. For that one case `exclusive_from_inclusive` rewrites the inclusive canonical form, in which all
escaping and ordering is done already, so that only namespace declarations have to be moved.
"""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from adapters import soap
from schemas.faults import Refused

#: In canonical form (without comments; the parser refuses processing instructions) a tag is exactly this: a value holds no
#: raw `"`, and `<` never stands in text or a value.
_TAG = re.compile(r'<(?:(/)[^>]*|([^\s/>]+)((?: [^\s=]+="[^"]*")*))>')
_ATTRIBUTE = re.compile(r' ([^\s=]+)="([^"]*)"')

DEFAULT: Final = "#default"


def exclusive(element: etree._Element, prefixes: tuple[str, ...] = ()) -> bytes:
    """The exclusive canonical form of an element and all below it, without comments. `prefixes`: the PrefixList, may hold `#default`.

    Raises Refused for what has no canonical form (a relative namespace URI).
    """
    try:
        if DEFAULT in prefixes:
            return exclusive_from_inclusive(inclusive(element), prefixes).encode()
        if prefixes:
            return etree.tostring(element, method="c14n", exclusive=True, with_comments=False, inclusive_ns_prefixes=list(prefixes))
        return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)
    except (etree.LxmlError, ValueError):
        raise Refused("Client.EK0031", "a signed part has no canonical form (a namespace name is not absolute)") from None


def inclusive(element: etree._Element) -> str:
    """The inclusive canonical form of an element as a document of its own, with the namespaces in scope declared on it.

    The element is written out and read again, because libxml2 invents `xmlns=""` deep inside an element that is not a root.
    """
    alone = etree.tostring(element, with_tail=False, encoding="UTF-8")
    root = soap.parse(alone, limits=soap.Limits(size=len(alone), markup=len(alone)))
    return etree.tostring(root, method="c14n", exclusive=False, with_comments=False).decode()


def exclusive_from_inclusive(canonical: str, prefixes: tuple[str, ...] = ()) -> str:
    """Exclusive C14N, given the inclusive canonical form of a subtree whose root declares all namespaces in scope.

    A declaration is written where its prefix is used by the element or its attributes, or is in `prefixes`, and the nearest
    written ancestor has not declared the same (Exclusive XML C14N 1.0, section 3). Raises ValueError for what is no canonical form.
    """
    always = {"" if prefix == DEFAULT else prefix for prefix in prefixes}
    out: list[str] = []
    stack: list[tuple[dict[str, str], dict[str, str]]] = [({}, {})]  # (in scope, written), per open element
    end = 0
    for tag in _TAG.finditer(canonical):
        if "<" in (before := canonical[end : tag.start()]):
            raise ValueError("this is no canonical form")
        out.append(before)
        end = tag.end()
        closing, name, attributes = tag.groups()
        if name is None:
            if closing:
                stack.pop()
            out.append(tag.group())
            continue
        in_scope, written = stack[-1]
        used = {name.rpartition(":")[0]}
        declared: dict[str, str] = {}
        kept: list[str] = []
        for attribute, value in _ATTRIBUTE.findall(attributes):
            prefix, _, local = attribute.rpartition(":")
            if attribute == "xmlns":
                declared[""] = value
            elif prefix == "xmlns":
                declared[local] = value
            else:
                kept.append(f' {attribute}="{value}"')
                if prefix:
                    used.add(prefix)
        if declared:
            in_scope = in_scope | declared
        used |= {prefix for prefix in always if prefix in in_scope}
        fresh = {prefix: in_scope.get(prefix, "") for prefix in sorted(used) if in_scope.get(prefix, "") != written.get(prefix, "")}
        if fresh:
            written = written | fresh
        out.append(f"<{name}")
        out.extend(f' xmlns:{prefix}="{uri}"' if prefix else f' xmlns="{uri}"' for prefix, uri in fresh.items())
        out.extend((*kept, ">"))
        stack.append((in_scope, written))
    if "<" in (rest := canonical[end:]):
        raise ValueError("this is no canonical form")
    out.append(rest)
    return "".join(out)

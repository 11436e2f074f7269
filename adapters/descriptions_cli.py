"""The commands `wsdl` and `openapi`: what a supplier's software reads to know how to talk to us. Nothing needs to run for them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from adapters.errors import UsageError
from schemas.contracts import Contracts


def wsdl_arguments(parser: argparse.ArgumentParser) -> None:
    """`wsdl DIENST VERSIE`."""
    parser.add_argument("dienst", metavar="DIENST")
    parser.add_argument("versie", metavar="VERSIE")
    parser.add_argument("--url", help="where the dienst is (default: this gateway's address, KOPPELPUNT_GATEWAY_URL)")


def wsdl(arguments: argparse.Namespace, contracts: Contracts, *, address: str) -> int:
    """The WSDL of a dienst version with its XSDs inside. `address`: the gateway's. Raises UsageError."""
    from adapters.wsdl import description

    contract = contracts.find(arguments.dienst, arguments.versie)
    if contract is None:
        known = ", ".join(f"{one.dienst} {one.versie}" for one in contracts.contracts)
        raise UsageError(f"There is no dienst {arguments.dienst} {arguments.versie}; there are: {known}.")
    url = arguments.url or f"{address}/wus/{contract.dienst}/{contract.versie}"
    sys.stdout.write(description(contract, url=url, inline=True).decode())
    return 0


def openapi_arguments(parser: argparse.ArgumentParser) -> None:
    """`openapi`."""
    parser.add_argument("--url", help="where the gateway is (default: this gateway's address, KOPPELPUNT_GATEWAY_URL)")


def openapi(arguments: argparse.Namespace, contracts: Contracts, *, address: str, print_json: Callable[[Any], None]) -> int:
    """The OpenAPI description of what is under /rest. `address`: the gateway's."""
    from adapters.openapi import description

    print_json(description(contracts, url=arguments.url or address))
    return 0

"""The service register's API v2 at `/osr/api/v2`: who may act for whom, and where to deliver. Source: domain facts 1.3.

    who (https.Door: any good certificate) -> API key, where one is needed -> parameters -> register -> JSON

What is in memory is answered at once. For the rest there are threads, so that nobody's receipt waits for the store: a register of 250,000
endpoints stays there until somebody asks, and so do API keys. What the sources leave open is ours, and marked so in docs/register-api.md.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

from aiohttp import web

from adapters import osr_problem as problem
from adapters import osr_shapes as shapes
from adapters.https import OUTCOME, Door, fault_in, read_body
from adapters.osr_limits import Rate
from adapters.osr_problem import Wrong, invalid, not_found
from adapters.osr_shapes import BASE, Fields, as_json, page, question
from adapters.osr_writes import change_of, new_endpoint, refused, rows_of
from adapters.rest_party import Visits
from routing import register_lookup as lookup
from routing.api_keys import SHAPE
from routing.ports import RegisterDesk
from routing.register import DienstVersion, Register
from routing.register_desk import Caller, EndpointChange, NewEndpoint, Result
from routing.register_stored import NotKept
from routing.register_wishes import RuleBroken
from routing.work import StoreUnavailable
from schemas.faults import OurFailure
from schemas.oin import Oin, institution_of

log = logging.getLogger("koppelpunt.register")

#: Rows in an answer.
MOST_ROWS: Final = 1_000
#: Rows that one system may change in a minute, at each gateway process; each is a version of the register.
WRITES: Final = 600
#: The header with the key.
API_KEY: Final = "X-Api-Key"
#: Bytes of a body.
LARGEST_BODY: Final = 1 << 20

Handler = Callable[[web.Request], Awaitable[web.Response]]
Read = Callable[[web.Request, Oin, Register], web.Response]


class OsrPages:
    """Every path below `/osr/api/v2`."""

    def __init__(self, desk: RegisterDesk, door: Door, visits: Visits, per_minute: int) -> None:
        """`per_minute`: how often one certificate may read endpoints, and as often lists of schools, of which each is a thousand rows."""
        self._desk, self._door, self._visits = desk, door, visits
        self._endpoint_reads, self._school_reads, self._mandate_reads = Rate(per_minute), Rate(per_minute), Rate(per_minute)
        self._writes = Rate(WRITES)

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        reads = {
            "schools/{oin}": self._school,
            "boards/{oin}": self._board,
            "services": self._services,
            "services/{code}": self._service,
            "service-versions": self._versions,
            "service-versions/{id}": self._version,
            "mandates/{token}": self._own_mandate,
            "school-mandates": self._school_mandates,
        }
        for path, act in reads.items():
            yield web.get(f"{BASE}/{path}", self._read(act), allow_head=False)
        yield web.get(f"{BASE}/schools", self._read(self._schools, self._school_reads, small=False), allow_head=False)
        yield web.get(f"{BASE}/mandates", self._read(self._mandate, self._mandate_reads), allow_head=False)
        yield web.get(f"{BASE}/endpoints", self._read(self._endpoints, self._endpoint_reads), allow_head=False)
        one = f"{BASE}/endpoints/{{token:(?!bulk$)[^{{}}/]+}}"
        yield web.get(one, self._read(self._endpoint, self._endpoint_reads, small=False), allow_head=False)
        yield web.post(f"{BASE}/endpoints", self._write(self._add))
        yield web.post(f"{BASE}/endpoints/bulk", self._write(self._bulk))
        yield web.patch(one, self._write(self._change))

    # -- how requests are handled ------------------------------------------------------------------------------------------------------

    def _read(self, act: Read, rate: Rate | None = None, *, small: bool = True) -> Handler:
        """`small`: answered in a moment, by what is in memory of organisations, where it is there; else, and with a key, in a thread."""

        async def handle(request: web.Request) -> web.Response:
            try:
                with self._door.admitted(request, anyone=True) as system:
                    if rate is not None:
                        rate.check(system)
                    if small and API_KEY not in request.headers:
                        with suppress(NotKept):
                            return act(request, system, self._desk.kept())
                    context = copy_context()  # for what is noted in the access log
                    return await self._visits.aside(lambda: context.run(act, request, system, self._desk.register()))
            except Exception as error:  # noqa: BLE001 (`fault_in` logs what nobody expected)
                return _refusal(request, error)

        return handle

    def _write(self, act: Callable[[web.Request, Caller, Mapping[str, Any]], web.Response]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            try:
                with self._door.admitted(request, anyone=True) as system:
                    if request.content_type != "application/json":
                        raise Wrong(
                            415, "REQUEST_INVALID", "Unsupported Media Type", en="Send JSON, as application/json.", nl="Stuur JSON."
                        )
                    body = await read_body(request, most=LARGEST_BODY)
                    context = copy_context()

                    def do() -> web.Response:
                        Fields(request.query, ()).check()
                        caller = self._must_have_key(request, system)
                        said = shapes.read_json(body)
                        if not isinstance(said, dict):
                            raise invalid(("body", "it must be an object"))
                        return context.run(act, request, caller, said)

                    return await self._visits.aside(do)
            except Exception as error:  # noqa: BLE001 (as above)
                return _refusal(request, error)

        return handle

    def _key(self, request: web.Request, system: Oin) -> Caller | None:
        """The caller, when it brought an API key of its own; None without one. Raises Wrong for a key that is none, or not its own."""
        key = request.headers.get(API_KEY)
        if key is None:
            return None
        owner = self._desk.owner_of_key(key) if SHAPE.match(key) else None
        if owner is None:
            log.warning("api_key_refused", extra={"system": system, "owner": None})
            raise Wrong(
                401,
                "REGISTER_KEY_UNKNOWN",
                "API key not valid",
                en="this API key does not exist, or was ended; ask the operator of the register for another",
                nl="Deze API-sleutel bestaat niet of is beëindigd; vraag de beheerder van het register om een andere.",
            )
        if owner.system != system:
            log.warning("api_key_refused", extra={"system": system, "owner": owner.system})
            raise Wrong(
                403,
                "REGISTER_KEY_OF_ANOTHER",
                "API key of another certificate",
                en=f"this API key was given to another system than {system}, whose certificate this is; it cannot be used here",
                nl=f"Deze API-sleutel is van een ander systeem dan {system}, van wie dit certificaat is.",
            )
        return owner

    def _must_have_key(self, request: web.Request, system: Oin) -> Caller:
        """Raises Wrong."""
        caller = self._key(request, system)
        if caller is None:
            raise Wrong(
                401,
                "REGISTER_KEY_MISSING",
                "API key required",
                en="send your API key in the header X-Api-Key",
                nl="Stuur uw API-sleutel mee in de header X-Api-Key.",
            )
        known = self._desk.register().system(system)
        if known is None or not known.covers(self._desk.today()):
            raise Wrong(
                403,
                "REGISTER_NOT_A_SYSTEM",
                "Not a system of the register",
                en=f"system {system} is not in the service register today",
                nl=f"Systeem {system} staat vandaag niet in het serviceregister.",
            )
        return caller

    # -- schools and diensten ----------------------------------------------------------------------------------------------------------

    def _schools(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        asked = question(request, "name", "oin", "brin", "oa_id", "limit", "after")
        name, oin, brin, oa_id = asked.text("name"), asked.oin("oin"), asked.brin("brin"), asked.text("oa_id")
        limit, after = asked.number("limit", 1, MOST_ROWS, MOST_ROWS), asked.oin("after") or ""
        asked.check()
        self._key(request, system)
        found = lookup.schools(register, name=name, oin=oin, brin=brin, oa_id=oa_id)
        return page(request, [row for row in found if row.oin > after], limit, shapes.school, lambda row: row.oin)

    def _school(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        oin = request.match_info["oin"]
        question(request).check()
        self._key(request, system)
        found = lookup.schools(register, name=None, oin=oin, brin=None, oa_id=None)
        if not found:
            raise not_found(f"School with id {_named(oin)} does not exist")
        return as_json(shapes.school(found[0]))

    def _board(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        oin = request.match_info["oin"]
        question(request).check()
        self._key(request, system)
        found = register.boards.get(oin)
        if found is None:
            raise not_found(f"Board with id {_named(oin)} does not exist")
        return as_json(shapes.board(found))

    def _services(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        asked = question(request, "name", "code")
        name, code = asked.text("name"), asked.text("code")
        asked.check()
        self._key(request, system)
        rows = (shapes.service(lookup.versions_of(register, one)) for one in lookup.service_codes(register) if code in (None, one))
        part = (name or "").casefold()
        return as_json([row for row in rows if part in row["name"].casefold() or part in row["code"].casefold()])

    def _service(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        code = request.match_info["code"]
        question(request).check()
        self._key(request, system)
        rows = lookup.versions_of(register, code)
        if not rows:
            raise not_found(f"Service with id {_named(code)} does not exist")
        return as_json(shapes.service(rows))

    def _versions(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        asked = question(request, "service_code", "service_version_namespace")
        code, namespace = asked.text("service_code"), asked.text("service_version_namespace")
        asked.check()
        self._key(request, system)
        today = self._desk.today()
        rows = lookup.versions_of(register, code)
        return as_json([shapes.service_version(row, today) for row in rows if namespace in (None, row.namespace)])

    def _version(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        id = request.match_info["id"]
        question(request).check()
        self._key(request, system)
        dienst, _, versie = id.partition(":")
        row = register.dienst(dienst, versie)
        if row is None:
            raise not_found(f"Service version with id {_named(id)} does not exist")
        return as_json(shapes.service_version(row, self._desk.today()))

    # -- mandates ----------------------------------------------------------------------------------------------------------------------

    def _mandate(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        """For third parties a bare OK; for the mandated system, with its key, what there is."""
        asked = question(request, "school_oin", "supplier_oin", "service_version_namespace", "service_code", "reference_date")
        school, supplier = asked.oin("school_oin", required=True), asked.oin("supplier_oin", required=True)
        namespace, code = asked.text("service_version_namespace"), asked.text("service_code")
        day = asked.day("reference_date") or self._desk.today()
        if not asked.errors and (namespace is None) == (code is None):
            asked.wrong("service_version_namespace", "give either this or service_code")
        asked.check()
        caller = self._key(request, system)
        if namespace is not None:
            version = lookup.version_by_namespace(register, namespace)
            code = version.dienst if version else None
        row = lookup.mandate_on(register, school=school or "", system=supplier or "", dienst=code or "", day=day)
        if row is None:
            raise not_found(
                "Mandate not found",
                f"no mandate of {school} for system {supplier} in this dienst counts on {day}",
                f"Er is op {day} geen mandaat van {school} voor systeem {supplier} in deze dienst.",
            )
        if caller is not None and row.system == caller.system:
            return as_json(shapes.mandate(row))
        return as_json({"status": "OK"})

    def _own_mandate(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        token = shapes.token_in(request)
        question(request).check()
        caller = self._must_have_key(request, system)
        row = self._desk.mandate(token.lower()) if token is not None else None
        if row is None or row.system != caller.system:  # another's is none for this system
            raise not_found("Mandate not found", f"none of your mandates has the token {_named(token or '')}")
        return as_json(shapes.mandate(row))

    def _school_mandates(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        asked = question(request, "service_code", "limit", "after")
        code, limit = asked.text("service_code", required=True), asked.number("limit", 1, MOST_ROWS, MOST_ROWS)
        after = asked.token("after")
        asked.check()
        caller = self._must_have_key(request, system)
        rows = self._desk.mandates_of(caller.system, code or "", after=after, limit=limit + 1)
        return page(request, rows, limit, shapes.mandate, lambda row: row.token or "")

    # -- endpoints ---------------------------------------------------------------------------------------------------------------------

    def _endpoints(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        names = ("routing_id", "school_oin", "service_version_namespace", "attributes", "reference_date", "include_future_endpoints")
        asked = question(request, *names)
        routing_id, school = asked.oin("routing_id"), asked.oin("school_oin")
        namespace, future = asked.text("service_version_namespace", required=True), asked.flag("include_future_endpoints")
        labels, day = (asked.text("attributes") or "").split(","), asked.day("reference_date") or self._desk.today()
        if not asked.errors and (routing_id is None) == (school is None):
            asked.wrong("routing_id", "give either this or school_oin")
        asked.check()
        self._key(request, system)
        version = lookup.version_by_namespace(register, namespace or "")
        if version is None:
            return as_json([])
        rows = lookup.endpoints_on(
            register,
            receiver=routing_id or school or "",
            version=version,
            day=day,
            future=future,
            attributes=[label.strip() for label in labels if label.strip()],
        )
        if routing_id is not None:
            wanted = None if routing_id == institution_of(routing_id) else routing_id
            rows = [row for row in rows if row.routeringskenmerk == wanted]
            if sum(row.covers(day) for row in rows) > 1:
                raise Wrong(
                    409,
                    "ROUTE_AMBIGUOUS",
                    "More than one endpoint",
                    en=f"{routing_id} has several endpoints that are not of an administration; ask with school_oin",
                    nl=f"{routing_id} heeft meer dan één endpoint; vraag met school_oin.",
                )
        return as_json([shapes.endpoint(row, version) for row in rows])

    def _endpoint(self, request: web.Request, system: Oin, register: Register) -> web.Response:
        id = shapes.token_in(request)
        question(request).check()
        self._key(request, system)
        row = register.endpoint(id) if id is not None else None
        if row is None:
            raise not_found(f"Endpoint with id {_named(request.match_info['token'])} does not exist")
        return as_json(shapes.endpoint(row, _version(register, row.dienst, row.versie)))

    def _add(self, request: web.Request, caller: Caller, said: Mapping[str, Any]) -> web.Response:
        self._writes.check(caller.system)
        made = self._done(caller, new_endpoint(said))
        return as_json(made, status=201, headers={"Location": made["_links"]["self"]["href"]})

    def _change(self, request: web.Request, caller: Caller, said: Mapping[str, Any]) -> web.Response:
        self._writes.check(caller.system)
        token = shapes.token_in(request)
        if token is None:
            raise not_found("Endpoint with this id does not exist")
        made = self._done(caller, change_of(token, said))
        return as_json(made) if made else web.Response(status=204, headers={"Cache-Control": "no-store"})

    def _bulk(self, request: web.Request, caller: Caller, said: Mapping[str, Any]) -> web.Response:
        """One row may follow on another, and each is done or not by itself; what is done is done at once."""
        rows = rows_of(said)
        self._writes.check(caller.system, len(rows))
        changed = set[str]()
        wishes = [self._wish_of(row, changed) for row in rows]
        written = iter(self._desk.write_many([wish for wish in wishes if not isinstance(wish, Wrong)], caller))
        register = self._desk.register()
        results: list[dict[str, Any]] = []
        for number, wish in enumerate(wishes, 1):
            try:
                if isinstance(wish, Wrong):
                    raise wish
                made = _said(next(written), wish, register)
                results.append({"row": number, "status": 201 if isinstance(wish, NewEndpoint) else 200, "endpoint": made or None})
            except Wrong as wrong:
                results.append({"row": number, "status": wrong.status, "problem": problem.document(wrong)})
        return as_json({"results": results})

    def _wish_of(self, row: Mapping[str, Any], changed: set[str]) -> NewEndpoint | EndpointChange | Wrong:
        """What a row of many asks for, or why it is no wish. `changed`: the endpoints that rows before it change."""
        try:
            if "token" not in row:
                return self._known(new_endpoint(row))
            wish = change_of(*_token_of(row))
            if wish.id in changed:
                raise invalid(("token", "an earlier row changes this endpoint already"))
            changed.add(wish.id)
            return wish
        except Wrong as wrong:
            return wrong

    def _known(self, wish: NewEndpoint) -> NewEndpoint:
        """Raises Wrong unless it is of a dienst version that there is."""
        if lookup.version_by_namespace(self._desk.register(), wish.namespace) is None:
            raise not_found(f"Service version with namespace {_named(wish.namespace)} does not exist")
        return wish

    def _done(self, caller: Caller, wish: NewEndpoint | EndpointChange) -> dict[str, Any]:
        """The endpoint as it is from now on; empty when it was taken back. Raises Wrong."""
        result: Result
        try:
            if isinstance(wish, EndpointChange):
                result = self._desk.change_endpoint(wish, caller)
            else:
                result = self._desk.add_endpoint(self._known(wish), caller)
        except (RuleBroken, StoreUnavailable, OurFailure) as error:
            result = error
        return _said(result, wish, self._desk.register())


def _said(result: Result, wish: NewEndpoint | EndpointChange, register: Register) -> dict[str, Any]:
    """As `_done`."""
    if isinstance(result, RuleBroken):
        raise refused(result, wish) from None
    if isinstance(result, StoreUnavailable):
        raise problem.of_fault(OurFailure("the store is not available now")) from None
    if isinstance(result, OurFailure):
        raise problem.of_fault(result) from None
    if isinstance(result, Exception):
        raise result
    row = result.endpoint
    if row is None:
        return {}
    OUTCOME.get().reference = row.id
    said = shapes.endpoint(row, _version(register, row.dienst, row.versie))
    warnings = [{"nl": warning.nl, "en": warning.en} for warning in result.warnings]
    return {**said, "warnings": warnings} if warnings else said


def _token_of(row: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The endpoint that a row of many is about, and what is to be different. Raises Wrong."""
    token = row["token"]
    if not isinstance(token, str) or not 0 < len(token) <= shapes.LONGEST or not token.isprintable():
        raise invalid(("token", "it must be the token of an endpoint"))
    return token, {name: value for name, value in row.items() if name != "token"}


def _version(register: Register, dienst: str, versie: str) -> DienstVersion:
    found = register.dienst(dienst, versie)
    assert found is not None, "an endpoint is of a version that the register has"
    return found


def _named(id: str) -> str:
    """As it was asked for, in so far as it can be shown."""
    return "".join(letter if letter.isprintable() else "?" for letter in id[:100])


def _refusal(request: web.Request, error: Exception) -> web.Response:
    wrong = error if isinstance(error, Wrong) else problem.of_fault(fault_in(error))
    OUTCOME.get().code = wrong.code
    response = problem.response(wrong)
    if not request.content.is_eof():  # what is still to come of it is not waited for
        response.force_close()
    return response

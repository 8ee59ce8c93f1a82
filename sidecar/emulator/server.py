"""The emulator as an HTTP server: one port for the AWS protocols, the control API and the console.

Refuses to listen before the state file is read. Invariant: a problem outside the AWS protocols is answered by
`application/problem+json`, whatever its cause.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Middleware

from sidecar.emulator.browsers import find_fault
from sidecar.emulator.call_log import CallNotes, LoggedCall
from sidecar.emulator.console_page import ConsolePage
from sidecar.emulator.control import Control, Handler
from sidecar.emulator.control_requests import ControlError, check_query
from sidecar.emulator.protocol.wire import LARGEST_BODY, RPC_PATH, answer
from sidecar.emulator.responses import respond
from sidecar.emulator.service import Options, Service

_OF_SDKS = ("x-amz-", "amz-sdk-", "smithy-protocol")
"""How the headers begin that AWS's SDKs send."""


def ignore(_: LoggedCall) -> None:
    """Log no call."""


def create_app(options: Options, log: Callable[[LoggedCall], object] = ignore) -> web.Application:
    """Make the application; it opens the state file when it starts up. `log` gets each call of an SDK.

    Raises:
        StateFileError: At start-up, if the state file cannot be used.
    """
    service = Service(options)
    service.calls.listen(log)
    app = web.Application(middlewares=[_answer_problems(service), _admit(options.host)], client_max_size=LARGEST_BODY)

    async def answer_call(request: web.Request) -> web.StreamResponse:
        return await answer(service, request)

    async def keep_state(_: web.Application) -> AsyncIterator[None]:
        await service.open()
        yield
        await service.close()

    app.router.add_post("/", answer_call)
    app.router.add_post(RPC_PATH, answer_call)
    app.router.add_routes([*ConsolePage().routes(), *Control(service).routes()])
    app.cleanup_ctx.append(keep_state)
    return app


async def serve(
    options: Options,
    *,
    announce: Callable[[str], None],
    stop: asyncio.Event,
    log: Callable[[LoggedCall], object] = ignore,
) -> None:
    """Serve until `stop` is set.

    `announce` gets the base URL once the port takes connections; `log` gets each call of an SDK.

    Raises:
        StateFileError: The state file cannot be used.
        OSError: The address cannot be listened on.
    """
    # Bodies stay as they were signed: no decompression. Calls held by a fault do not delay the end.
    runner = web.AppRunner(create_app(options, log), access_log=None, shutdown_timeout=0.5, auto_decompress=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
        host, port = runner.addresses[0][:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _admit(listens_on: str) -> Middleware:
    """Return the middleware that refuses pages of other origins, and queries that a path does not have."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The page itself holds nothing of the emulator, so a link in another page may lead to it.
        opens_console = request.method == "GET" and request.path == "/"
        fault = None if opens_console else find_fault(request.headers, listens_on)
        if fault is not None:
            raise ControlError(fault, status=403, kind="foreign-page")
        if request.path.startswith("/_emulator/"):
            check_query(request)
        return await handler(request)

    return admit


def _answer_problems(service: Service) -> Middleware:
    """Return the middleware that words problems, and logs a call of an SDK that no path takes."""

    @web.middleware
    async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ControlError as error:
            return _problem(error.status, error.kind, str(error))
        except web.HTTPException as error:
            kind = error.reason.lower().replace(" ", "-")
            detail = f"{request.method} {request.rel_url.raw_path:.100}: {_explain(error)}"
            if any(name.lower().startswith(_OF_SDKS) for name in request.headers):
                notes = CallNotes("unknown", str(uuid4()), status=error.status, error=kind, message=detail)
                service.calls.add(notes, service.clock.now())
            return _problem(error.status, kind, detail)
        except OSError as error:
            return _problem(500, "state-file", f"The state file: {error.strerror}")

    return answer_problems


def _explain(error: web.HTTPException) -> str:
    match error:
        case web.HTTPMethodNotAllowed():
            return f"the method must be {' or '.join(sorted(error.allowed_methods))}"
        case web.HTTPNotFound():
            return "there is no such path; GET / is the console, and docs/emulator.md lists the control API"
        case _:
            return error.reason


def _problem(status: int, kind: str, detail: str) -> web.Response:
    problem = {"type": f"urn:marketplace-emulator:{kind}", "title": kind, "status": status, "detail": detail}
    return respond(problem, status=status, media_type="application/problem+json")

"""The standard reflection service: tells generic clients what can be called, and with which messages."""

from typing import Any

from penstock_server.grpc_service.http2.call import Conversation, Streaming
from penstock_server.grpc_service.messages import HEALTH, POOL, REFLECTIONS, SERVICE, calls_of
from penstock_server.grpc_service.parsing import parse
from penstock_server.grpc_service.status import Status
from penstock_server.protocol.json_tensors import shown

_SERVICES = (SERVICE, HEALTH, *REFLECTIONS)


def streaming() -> dict[str, Streaming]:
    """Return the calls, of both versions."""
    calls: dict[str, Streaming] = {}
    for service in REFLECTIONS:
        asked, answered = calls_of(service)["ServerReflectionInfo"]
        calls[f"/{service}/ServerReflectionInfo"] = _answers(asked, answered)
    return calls


def _answers(asked: Any, answered: Any) -> Streaming:
    async def converse(conversation: Conversation) -> None:
        while (body := await conversation.receive()) is not None:
            request = parse(asked, body)
            answer = answered(valid_host=request.host, original_request=request, **_answer(request))
            conversation.send(answer.SerializeToString())

    return converse


def _answer(request: Any) -> dict[str, Any]:
    kind = request.WhichOneof("message_request")
    try:
        match kind:
            case "list_services":
                return {"list_services_response": {"service": [{"name": name} for name in _SERVICES]}}
            case "file_by_filename":
                return _file(POOL.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                return _file(POOL.FindFileContainingSymbol(request.file_containing_symbol))
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                POOL.FindMessageTypeByName(name)
                return {"all_extension_numbers_response": {"base_type_name": name}}
            case _:
                return _error(Status.NOT_FOUND, "there are no extensions" if kind else "nothing is asked")
    except KeyError:
        return _error(Status.NOT_FOUND, f"there is no {shown(getattr(request, kind))}")


def _file(file: Any) -> dict[str, Any]:
    # No file needs another one, so there is nothing else to send.
    return {"file_descriptor_response": {"file_descriptor_proto": [file.serialized_pb]}}


def _error(code: Status, message: str) -> dict[str, Any]:
    return {"error_response": {"error_code": int(code), "error_message": message}}

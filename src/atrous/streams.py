"""CUDA streams as the caller names them."""

from __future__ import annotations

from typing import Any

from .errors import ProblemError, sentence, shown


def stream_pointer(operation: str, stream: Any) -> int:
    """Return the CUDA stream handle that `stream` means: an int, or an object with `__cuda_stream__`, `ptr` or `cuda_stream`."""
    if isinstance(stream, int) and not isinstance(stream, bool) and stream >= 0:
        return stream
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        try:
            return int((protocol() if callable(protocol) else protocol)[1])
        except Exception as error:  # the stream's own, of any kind
            came = f"stream cannot be used: its __cuda_stream__ raised {type(error).__name__}: {error}"
            raise ProblemError(sentence(operation, came, "(version, handle)", "pass the handle as an int")) from error
    for attribute in ("ptr", "cuda_stream"):
        if isinstance(getattr(stream, attribute, None), int):
            return int(getattr(stream, attribute))
    came = f"stream is {shown(stream)} of type {type(stream).__name__}"
    raise ProblemError(sentence(operation, came, "an int >= 0 or an object with __cuda_stream__", "pass stream=None for the current stream"))

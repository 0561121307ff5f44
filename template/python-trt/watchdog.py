"""Runs the function's own models, through the watchdog of this replica, which
knows where they are loaded. It needs the standard library alone; numpy arrays go
in and out as bytes."""

import array
import http.client
import json
import os
import threading

# The codes of module array for the datatypes that it has.
CODES = {
    "BOOL": "B", "INT8": "b", "UINT8": "B", "INT16": "h", "UINT16": "H", "INT32": "i", "UINT32": "I",
    "INT64": "q", "UINT64": "Q", "FP32": "f", "FP64": "d",
}
TIMEOUT = 60  # seconds; the watchdog's exec_timeout ends most sooner


class Unavailable(Exception):
    """A model cannot answer now; another try may succeed."""


class Tensor:
    """Data of a datatype of the Open Inference Protocol, such as "FP32", and a
    shape: bytes (little-endian, row by row; a numpy array's tobytes()) or a
    sequence of numbers."""

    def __init__(self, datatype, shape, data):
        self.datatype, self.shape = datatype, list(shape)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            data = array.array(self._code(), data).tobytes()
        self.data = data

    def array(self):
        """The values, row by row. For numpy: frombuffer(t.data, ...).reshape(t.shape)."""
        values = array.array(self._code())
        values.frombytes(self.data)
        return values

    def _code(self):
        if self.datatype not in CODES:
            raise ValueError(f"datatype {self.datatype} has no array: give and take its bytes")
        return CODES[self.datatype]


def infer(model, inputs, headers=None, version=None):
    """Runs a model on inputs, a dict of Tensor by name, and returns its outputs so.
    headers are those of the request that is answered: by its call id the watchdog
    knows what the model is used for, and tells in the answer what the cache had.
    ValueError if the model does not take the inputs, Unavailable if another try
    may succeed."""
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    head, body = encode(inputs)
    sent = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(head),
        "X-Call-Id": (headers or {}).get("X-Call-Id") or "",
    }
    try:
        status, head, answer = exchange(path, body, sent)
    except (OSError, http.client.HTTPException) as e:
        raise Unavailable(f"model {model}: {e!r}") from e
    if status != 200:
        text = answer.decode(errors="replace").strip()
        kind = {400: ValueError, 413: ValueError, 429: Unavailable, 503: Unavailable, 504: Unavailable}.get(status, RuntimeError)
        raise kind(f"model {model}: {text}")
    return decode(answer, int(head or len(answer)))


def encode(inputs):
    """A request as the protocol's extension for binary data has it: the length of
    its JSON, and the JSON with the tensors behind it."""
    described = [
        {"name": name, "datatype": t.datatype, "shape": t.shape, "parameters": {"binary_data_size": len(t.data)}}
        for name, t in inputs.items()
    ]
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    return len(head), b"".join([head, *(t.data for t in inputs.values())])


def decode(answer, head):
    """The outputs of an answer whose JSON has head bytes."""
    view, outputs = memoryview(answer), {}
    for o in json.loads(answer[:head])["outputs"]:
        size = o.get("parameters", {}).get("binary_data_size")
        data = o.get("data")
        if size is not None:
            data = view[head : head + size]
            head += size
        outputs[o["name"]] = Tensor(o["datatype"], o["shape"], data)
    return outputs


local = threading.local()


def exchange(path, body, headers):
    """Sends a request over this thread's connection; an inference changes nothing,
    so one that met a connection which had been closed is sent again."""
    reused = getattr(local, "connection", None) is not None
    if not reused:
        local.connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("port", "8080")), timeout=TIMEOUT)
    try:
        local.connection.request("POST", path, body, headers)
        response = local.connection.getresponse()
        return response.status, response.headers.get("Inference-Header-Content-Length"), response.read()
    except (OSError, http.client.HTTPException) as e:
        local.connection.close()
        local.connection = None
        if not reused or isinstance(e, TimeoutError):
            raise
    return exchange(path, body, headers)

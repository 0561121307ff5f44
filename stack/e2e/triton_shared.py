"""Infers with Triton's own client on tensors in shared memory. The memory is handed
over at the cache manager's socket, with the function's token. Usage:

    TOKEN=... triton_shared.py HOST:PORT/BASE MODEL /run/faas-gpu/shm.sock

Prints "ok" if a Relu comes out right."""

import array
import fcntl
import json
import mmap
import os
import socket
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


class Sharing:
    """Memory that the cache manager knows as self.region, while this lives."""

    def __init__(self, path, token, size):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self._ask({"op": "hello", "token": token})
        fd = os.memfd_create("tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.region = self._ask({"op": "register"}, [fd])["region"]
        self.memory = mmap.mmap(fd, size)
        os.close(fd)

    def _ask(self, request, descriptors=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.socket.sendmsg([json.dumps(request).encode()], rights if descriptors else [])
        reply = json.loads(self.socket.recv(16384))
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply


def main(url, model, path):
    shape = [1, 3, 224, 224]
    size = 4 * int(np.prod(shape))
    shared = Sharing(path, os.environ["TOKEN"], 2 * size)
    values = np.random.default_rng(1).random(shape, np.float32) - np.float32(0.5)
    shared.memory[:size] = values.tobytes()

    client = triton.InferenceServerClient(url)
    tensor = triton.InferInput("input", shape, "FP32")
    tensor.set_shared_memory(shared.region, size)
    wanted = triton.InferRequestedOutput("output")
    wanted.set_shared_memory(shared.region, size, offset=size)
    result = client.infer(model, [tensor], outputs=[wanted])
    (output,) = result.get_response()["outputs"]
    assert output["parameters"]["shared_memory_region"] == shared.region, output
    assert output["parameters"]["shared_memory_byte_size"] == size, output
    got = np.frombuffer(shared.memory, np.float32, offset=size).reshape(shape)
    assert np.array_equal(got, np.maximum(values, 0)), "wrong output"

    tensor.set_shared_memory("another", size)
    try:
        client.infer(model, [tensor])
    except InferenceServerException as e:
        assert "another" in str(e), e
    else:
        raise AssertionError("an unknown region was taken")
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])

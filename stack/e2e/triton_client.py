"""Talks to a function with Triton's own client, unmodified: every call that a
client makes to serve a model, with binary and with JSON tensors. Usage:

    triton_client.py HOST:PORT/BASE MODEL

Prints the model's output for an input of zeros, as hexadecimal bytes."""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def main(url, model):
    client = triton.InferenceServerClient(url)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(model)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(model)
    (spec,) = metadata["inputs"]
    (out,) = metadata["outputs"]
    config = client.get_model_config(model)
    assert config["name"] == model and config["max_batch_size"] == 0, config
    assert config["input"][0]["dims"] == spec["shape"] and config["input"][0]["data_type"] == "TYPE_" + spec["datatype"], config

    answers = set()
    for binary_in in (True, False):
        for binary_out in (True, False):
            tensor = triton.InferInput(spec["name"], spec["shape"], spec["datatype"])
            tensor.set_data_from_numpy(np.zeros(spec["shape"], np.float32), binary_data=binary_in)
            wanted = triton.InferRequestedOutput(out["name"], binary_data=binary_out)
            result = client.infer(model, [tensor], outputs=[wanted], request_id="42")
            assert result.get_response()["id"] == "42", result.get_response()
            array = result.as_numpy(out["name"])
            assert list(array.shape) == out["shape"], array.shape
            answers.add(array.astype("<f4").tobytes())
    assert len(answers) == 1, "binary and JSON answers differ"

    (stats,) = client.get_inference_statistics(model)["model_stats"]
    assert stats["inference_stats"]["success"]["count"] >= 4, stats
    assert model in [entry["name"] for entry in client.get_model_repository_index()]
    client.unload_model(model)
    client.load_model(model)
    assert client.is_model_ready(model)
    try:
        client.infer("no-such-model", [tensor])
    except InferenceServerException as e:
        assert "no-such-model" in str(e), e
    else:
        raise AssertionError("an unknown model was served")
    print(answers.pop().hex())


if __name__ == "__main__":
    main(*sys.argv[1:])

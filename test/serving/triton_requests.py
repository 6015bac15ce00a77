"""All that tritonclient asks a server for; runs where tritonclient is installed: URL MODEL SHAPES.npz."""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, name, arrays = sys.argv[1:]
rows, columns = (dict(np.load(f"{arrays}/{kind}.npz")) for kind in ("rows", "columns"))
client = triton.InferenceServerClient(url)
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready(name) and client.is_model_ready(name, "1")
assert client.get_server_metadata()["name"] == "nanoforge"
metadata = client.get_model_metadata(f"{name}_features")
assert metadata["versions"] == ["1"] and {tensor["name"] for tensor in metadata["inputs"]} == set(rows)
index = client.get_model_repository_index()
assert [(one["name"], one["state"]) for one in index] == [(name, "READY"), (f"{name}_features", "READY")]


def inputs_of(tensors, binary=True):
    inputs = [triton.InferInput(key, list(values.shape), "FP32") for key, values in tensors.items()]
    for one, values in zip(inputs, tensors.values()):
        one.set_data_from_numpy(values, binary_data=binary)
    return inputs


def infer(model, tensors, binary, version=""):
    outputs = [triton.InferRequestedOutput("scores", binary_data=binary)]
    answer = client.infer(model, inputs_of(tensors, binary), outputs=outputs, model_version=version, request_id="7")
    assert answer.get_response()["id"] == "7"
    return answer.as_numpy("scores")


of_rows, of_event = infer(f"{name}_features", rows, True, "1"), infer(name, columns, True)
np.testing.assert_allclose(infer(f"{name}_features", rows, False), of_rows, rtol=1e-6)
np.testing.assert_allclose(infer(name, columns, False), of_event, rtol=1e-6)
by_default = client.infer(f"{name}_features", inputs_of(rows))  # all outputs, binary
np.testing.assert_array_equal(by_default.as_numpy("scores"), of_rows)
for waiting in [client.async_infer(f"{name}_features", inputs_of(rows)) for _ in range(3)]:
    np.testing.assert_array_equal(waiting.get_result().as_numpy("scores"), of_rows)
client.unload_model(f"{name}_features")
assert not client.is_model_ready(f"{name}_features")
client.load_model(f"{name}_features")
assert client.is_model_ready(f"{name}_features")
try:
    infer("no_such_model", columns, binary=True)
    raise AssertionError
except InferenceServerException as error:
    assert "no_such_model" in error.message(), error
np.savez(f"{arrays}/scores.npz", rows=of_rows, columns=of_event)

"""A server of KServe's SDK for one ONNX model: MODEL PORT."""

import sys

import kserve
import onnxruntime


class Scores(kserve.Model):
    def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        values = self.session.run(["scores"], {"event": payload.inputs[0].as_numpy().astype("float32")})[0]
        output = kserve.InferOutput("scores", list(values.shape), "FP32")
        output.set_data_from_numpy(values, binary_data=payload.inputs[0]._raw_data is not None)
        return kserve.InferResponse("1", "bench_features", [output])


if __name__ == "__main__":
    model = Scores("bench_features")
    model.load()
    kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([model])

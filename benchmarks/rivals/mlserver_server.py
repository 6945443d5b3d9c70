"""MLServer with a model in ONNX Runtime: clients send the states with each step, and get them back.

python benchmarks/rivals/mlserver_server.py MODEL.onnx PORT
"""

import asyncio
import json
import sys

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class OnnxModel(MLModel):
    """Answers one step of one stream, from the states in the request or the initial ones."""

    async def load(self) -> bool:
        """Open the file."""
        self.session = onnxruntime.InferenceSession(sys.argv[1])
        self.names = [each.name for each in self.session.get_outputs()]
        metadata = self.session.get_modelmeta().custom_metadata_map["initial_states"]
        self.blank = {name: np.float32(row) for name, row in json.loads(metadata).items()}
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request; the outputs are the answer and the states."""
        given = {
            each.name: np.float32(each.data.root).reshape(each.shape) for each in payload.inputs
        }
        answers = map(np.asarray, self.session.run(None, {**self.blank, **given}))
        outputs = [
            ResponseOutput(
                name=name, shape=list(each.shape), datatype="FP32", data=each.ravel().tolist()
            )
            for name, each in zip(self.names, answers, strict=True)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


settings = Settings(
    debug=False,
    host="127.0.0.1",
    http_port=int(sys.argv[2]),
    grpc_port=int(sys.argv[2]) + 1,
    metrics_endpoint=None,
    parallel_workers=0,
)
asyncio.run(MLServer(settings).start([ModelSettings(name="abc", implementation=OnnxModel)]))

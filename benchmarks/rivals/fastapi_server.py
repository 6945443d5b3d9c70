"""A FastAPI handler around ONNX Runtime, with the states of all streams in a dictionary.

What one writes without a server that knows streams: nothing is kept beyond the process.

    python benchmarks/rivals/fastapi_server.py MODEL.onnx PORT
"""

import json
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request, Response

session = onnxruntime.InferenceSession(sys.argv[1])
names = [each.name for each in session.get_inputs()]
initial = json.loads(session.get_modelmeta().custom_metadata_map["initial_states"])
blank = {name: np.float32(row) for name, row in initial.items()}
streams: dict[str, dict[str, np.ndarray]] = {}
app = FastAPI()


@app.post("/v1/streams/{name}/feed")
async def feed(name: str, request: Request) -> Response:
    """Feed one step of one stream."""
    body = await request.json()
    states = streams.get(name, blank)
    x = np.float32([[body["x"]]])
    output, *after = session.run(None, {names[0]: x, **states})
    streams[name] = dict(zip(states, after, strict=True))
    answer = {"stream": name, "y": output.ravel().tolist()}
    return Response(json.dumps(answer), media_type="application/json")


uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)

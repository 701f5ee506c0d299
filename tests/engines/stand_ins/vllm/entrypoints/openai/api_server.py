"""Stands for vLLM's server: answers with what it was asked. A child process keeps its name in a file."""

import http.server
import json
import os
import subprocess
import sys
import time

arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
folder = os.environ["STAND_IN_FOLDER"]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as vLLM does."""

    def log_message(self, *parts):
        """Say nothing."""

    def _send(self, status, found):
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        """Answer /health, /version and /v1/models."""
        if self.path == "/health":
            return self._send(200, {})
        if self.headers.get("Authorization") != "Bearer " + os.environ["VLLM_API_KEY"]:
            return self._send(401, {"error": "no key"})
        if self.path == "/version":
            return self._send(200, {"version": "0.0.stand-in"})
        return self._send(200, {"data": [{"id": arguments["--served-model-name"], "max_model_len": 64}]})

    def do_POST(self):
        """Answer a chat."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][-1]["content"]
        if "wait" in text:
            time.sleep(600)
        message = {"role": "assistant", "content": f"re: {text}"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        if not asked.get("stream"):
            return self._send(200, {"choices": [choice], "usage": usage})
        event = {
            "choices": [{"delta": {"content": message["content"]}, "finish_reason": "stop"}],
            "usage": usage,
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode())


if "--crash" in sys.argv:
    print("a long story")
    sys.exit("ValueError: no GPU here")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.path.join(folder, "pids"), "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
with open(os.path.join(folder, "arguments"), "w") as file:
    file.write(json.dumps(sys.argv[1:]))
http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments["--port"])), Handler).serve_forever()

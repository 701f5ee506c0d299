"""simonw/llm as a program: an answer whole and streamed."""

import json
import os
import subprocess
import sys
from pathlib import Path

lines = [
    "- model_id: local",
    "  model_name: storyteller",
    f"  api_base: {os.environ['LLMKIT_URL']}/v1",
    "  api_key_name: ours",
]
Path(os.environ["LLM_USER_PATH"], "keys.json").write_text(json.dumps({"ours": os.environ["OPENAI_API_KEY"]}))
Path(os.environ["LLM_USER_PATH"], "extra-openai-models.yaml").write_text("\n".join(lines))
program = Path(sys.executable).with_name("llm")
for more in ([], ["--no-stream"]):
    command = [str(program), "-m", "local", "-o", "max_tokens", "8", *more, "Write a story about a dog."]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert text.strip()
print("done")

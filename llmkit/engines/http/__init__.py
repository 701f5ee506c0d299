"""Text generation by a server with OpenAI's HTTP API: vLLM, llama.cpp, ollama, TGI, `llmkit serve`."""

"""The client in `transformers chat`: huggingface_hub's, against an address of ours."""

import asyncio
import os

from huggingface_hub import AsyncInferenceClient


async def main() -> None:
    async with AsyncInferenceClient(os.environ["LLMKIT_URL"], token=os.environ["OPENAI_API_KEY"]) as client:
        stream = await client.chat_completion(
            [{"role": "user", "content": "Write a story about a dog."}],
            model="storyteller",
            stream=True,
            max_tokens=8,
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        assert text.strip()


asyncio.run(main())
print("done")

"""LibreTranslate's Python client."""

import os

from libretranslatepy import LibreTranslateAPI

client = LibreTranslateAPI(f"{os.environ['LLMKIT_URL']}/", api_key=os.environ["OPENAI_API_KEY"])
assert client.translate("The cat sleeps.", "en", "de")
assert client.detect("Der Hund und die Katze sind nicht da.")[0]["language"] == "de"
print("done")

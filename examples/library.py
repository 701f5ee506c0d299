"""llmkit from Python: load a model once, then generate with it in several ways."""

from __future__ import annotations

from llmkit import GenerationOptions, ModelSpec, generate, load


def main() -> None:
    stories = load(ModelSpec("stories"))
    print("device, precision, attention:", *stories.notes, sep="\n  ")

    prompts = ["Once upon a time", "Lily had a red ball."]
    greedy = GenerationOptions(max_new_tokens=30, greedy=True)
    for prompt, result in zip(prompts, generate(stories, prompts, greedy), strict=True):
        print(f"\n{prompt}{result.text}")

    # Three samples of one prompt. The same seed gives the same three, whatever else is in the batch.
    sampled = GenerationOptions(max_new_tokens=20, temperature=0.8, seed=7, num_return_sequences=3)
    (result,) = generate(stories, "The dog saw", sampled)
    for answer in result.answers:
        print(f"\n{answer.tokens} tokens: The dog saw{answer.text}")


if __name__ == "__main__":
    main()

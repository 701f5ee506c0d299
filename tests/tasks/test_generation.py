"""Generation on tiny random models: what is written does not depend on how the work was batched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import llmkit
from llmkit import GenerationOptions, InputError, LoadedModel, ModelSpec, generate, load
from llmkit.engines.base import Request
from llmkit.engines.open import as_engine
from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.errors import OptionError, RowError
from llmkit.records.batches import Budget
from llmkit.records.rows import Row
from llmkit.records.task import fields_of_one
from llmkit.runtime.padding import pad
from llmkit.tasks.generation import Generation, GenerationResult, stream
from llmkit.tasks.prompts import Prompt
from tests.conftest import TinyModel

PROMPTS = [
    "Once upon a time there was",
    "The",
    "One day, Tom and Lily went to the park to play with a red ball. The cat sat on the mat",
    "春天来了，花",
    "“Where are you going?” asked the old man",
]
DECODERS = ["gpt2", "llama", "qwen3", "gemma3", "opt", "bloom"]
ENCODER_DECODERS = ["t5", "bart"]
SHORT = GenerationOptions(max_new_tokens=12)
SAMPLED = GenerationOptions(max_new_tokens=12, temperature=1.0, top_k=0, seed=7)


@pytest.fixture(scope="module")
def loaded(tiny_model: TinyModel) -> Any:
    cache: dict[str, LoadedModel] = {}

    def get(family: str) -> LoadedModel:
        if family not in cache:
            cache[family] = load(ModelSpec(str(tiny_model(family)), device="cpu"))
        return cache[family]

    return get


def generation_of(loaded: LoadedModel, options: GenerationOptions) -> Generation:
    return Generation(as_engine(loaded), options)


def prepared(generation: Generation, *texts: str) -> list[Prompt]:
    return generation.prompts.prepare_all(texts)


def fields(generation: Generation, text: str) -> dict[str, Any]:
    return fields_of_one(generation, Row(0, {"prompt": text}, "x:1"), generation.budget(None))


def texts(results: list[GenerationResult]) -> list[str]:
    return [text for result in results for text in result.texts]


@pytest.mark.parametrize("family", DECODERS)
def test_left_padded_logits_equal_single_ones(loaded: Any, family: str) -> None:
    """Prefill and three cached decoding steps, each row of a batch against the row alone."""
    model = loaded(family)
    ids = [one.ids or [] for one in prepared(generation_of(model, SHORT), *PROMPTS)]

    def step_logits(rows: list[list[int]]) -> torch.Tensor:
        input_ids, mask = pad(rows, model.tokenizer.pad_token_id, model.tokenizer.padding_side)
        start = input_ids.shape[1]

        def force(so_far: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            token = 11 + so_far.shape[1] - start
            return torch.full_like(scores, float("-inf")).index_fill_(1, torch.tensor([token]), 0.0)

        with torch.inference_mode():
            output = model.model.generate(
                input_ids=input_ids,
                attention_mask=mask,
                max_new_tokens=4,
                do_sample=False,
                logits_processor=[force],
                output_logits=True,
                return_dict_in_generate=True,
            )
        return torch.stack(output.logits, dim=1)

    batched = step_logits(ids)
    for i, row in enumerate(ids):
        torch.testing.assert_close(batched[i : i + 1], step_logits([row]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", DECODERS + ENCODER_DECODERS)
@pytest.mark.parametrize("options", [SHORT, SAMPLED], ids=["greedy", "sampled"])
def test_a_batch_writes_what_single_runs_write(loaded: Any, family: str, options: GenerationOptions) -> None:
    generation = generation_of(loaded(family), options)
    batch = prepared(generation, *PROMPTS)
    together = generation.run(batch)
    alone = [generation.run([one])[0] for one in batch]
    assert together == alone
    assert len(set(texts(together))) > 1


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("options", [SHORT, SAMPLED], ids=["greedy", "sampled"])
def test_streamed_pieces_add_up_to_the_answer(loaded: Any, family: str, options: GenerationOptions) -> None:
    options = dataclasses.replace(options, max_new_tokens=90)
    generation = generation_of(loaded(family), options)
    for prompt in prepared(generation, *PROMPTS):
        pieces: list[str] = []
        result = generation.stream(prompt, lambda text, thought, pieces=pieces: pieces.append(text))
        assert "".join(pieces) == result.text == generation.run([prompt])[0].text


def test_greedy_is_what_transformers_generates(loaded: Any) -> None:
    model = loaded("llama")
    inputs = model.tokenizer(PROMPTS[0], return_tensors="pt")
    with torch.inference_mode():
        output = model.model.generate(**inputs, max_new_tokens=12, do_sample=False)
    expected = model.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert texts(generate(model, PROMPTS[0], SHORT)) == [expected]


def test_a_sample_depends_on_seed_and_row_alone(loaded: Any) -> None:
    generation = generation_of(loaded("llama"), SAMPLED)
    batch = prepared(generation, *PROMPTS)
    whole = generation.run(batch)
    assert generation.run(list(reversed(batch))) == list(reversed(whole))
    assert generation.run(batch[3:]) == whole[3:]
    other = generation_of(loaded("llama"), dataclasses.replace(SAMPLED, seed=8))
    assert other.run(batch) != whole
    same_text_twice = generation.run(prepared(generation, "The", "The"))
    assert same_text_twice[0] != same_text_twice[1]


def test_samples_follow_the_models_distribution(loaded: Any) -> None:
    """4,000 first tokens against softmax(logits / temperature) cut to top-k: chi-squared at 0.1%."""
    model = loaded("llama")
    options = GenerationOptions(max_new_tokens=1, temperature=0.7, top_k=8, num_return_sequences=4000, seed=1)
    generation = generation_of(model, options)
    (prompt,) = prepared(generation, "The cat")
    request = Request(dataclasses.replace(generation.sampling, max_new_tokens=1), prompt.ids, key=(1, 0, 0))
    ids = [one.ids for one in generation.engine.generate([request])[0]]
    with torch.inference_mode():
        logits = model.model(torch.tensor([prompt.ids])).logits[0, -1].double() / 0.7
    top = logits.topk(8)
    expected = 4000 * top.values.softmax(-1)
    counts = torch.tensor([sum(row[0] == token for row in ids) for token in top.indices.tolist()])
    assert counts.sum() == 4000
    assert ((counts - expected) ** 2 / expected).sum() < 24.32  # chi-squared, 7 degrees of freedom


def test_giving_a_temperature_turns_sampling_on_and_zero_or_greedy_off(loaded: Any) -> None:
    model = loaded("llama")
    greedy = texts(generate(model, PROMPTS, SHORT))
    assert texts(generate(model, PROMPTS, dataclasses.replace(SHORT, temperature=1.0, seed=3))) != greedy
    assert texts(generate(model, PROMPTS, dataclasses.replace(SHORT, temperature=0.0))) == greedy
    assert texts(generate(model, PROMPTS, dataclasses.replace(SAMPLED, greedy=True))) == greedy
    assert texts(generate(model, PROMPTS, dataclasses.replace(SHORT, top_p=0.9, seed=3))) != greedy


def test_the_models_generation_config_is_followed(loaded: Any) -> None:
    model = loaded("llama")
    greedy = texts(generate(model, PROMPTS, SHORT))
    before = model.model.generation_config.do_sample
    model.model.generation_config.do_sample = True
    try:
        assert texts(generate(model, PROMPTS, dataclasses.replace(SHORT, seed=3))) != greedy
    finally:
        model.model.generation_config.do_sample = before


def test_a_drawn_seed_differs_from_run_to_run(loaded: Any) -> None:
    options = dataclasses.replace(SAMPLED, seed=None)
    assert generate(loaded("llama"), PROMPTS, options) != generate(loaded("llama"), PROMPTS, options)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_several_answers_to_one_prompt(loaded: Any, family: str) -> None:
    three = dataclasses.replace(SAMPLED, num_return_sequences=3)
    results = generate(loaded(family), PROMPTS, three)
    assert [len(result.texts) for result in results] == [3] * len(PROMPTS)
    assert all(len(set(result.texts)) > 1 for result in results)
    # The first of several samples is the one that a single sample would have been.
    alone = generate(loaded(family), PROMPTS, SAMPLED)
    assert [result.answers[0] for result in results] == [result.answers[0] for result in alone]


def test_beam_search_returns_its_best_beams(loaded: Any) -> None:
    model = loaded("llama")
    options = GenerationOptions(max_new_tokens=8, num_beams=4, num_return_sequences=2)
    inputs = model.tokenizer(PROMPTS[0], return_tensors="pt")
    with torch.inference_mode():
        output = model.model.generate(**inputs, max_new_tokens=8, num_beams=4, num_return_sequences=2)
    expected = model.tokenizer.batch_decode(
        output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    assert texts(generate(model, PROMPTS[0], options)) == expected


def test_beam_samples_do_not_depend_on_neighbours(loaded: Any) -> None:
    options = dataclasses.replace(SAMPLED, num_beams=2)
    generation = generation_of(loaded("llama"), options)
    batch = prepared(generation, *PROMPTS)
    assert generation.run(batch)[2] == generation.run([batch[2]])[0]


def test_the_repetition_penalty_does_not_see_padding(loaded: Any, tiny_model: TinyModel) -> None:
    """The pad token is the end token here: penalising it would keep padded rows from ending."""
    model = load(ModelSpec(str(tiny_model("gpt2", pad=False, bos=False))))
    generation = generation_of(model, dataclasses.replace(SHORT, repetition_penalty=5.0))
    batch = prepared(generation, *PROMPTS)
    assert generation.run(batch) == [generation.run([one])[0] for one in batch]
    assert generation.run(batch) != generation_of(model, SHORT).run(batch)


def test_stop_strings_end_the_text_and_are_left_out(loaded: Any) -> None:
    model = loaded("llama")
    (whole,) = texts(generate(model, PROMPTS[0], dataclasses.replace(SHORT, max_new_tokens=40)))
    stop = whole[10:13]
    options = dataclasses.replace(SHORT, max_new_tokens=40, stop=(stop, "never there"))
    (result,) = generate(model, PROMPTS[0], options)
    assert result.text == whole[: whole.index(stop)]
    assert result.tokens < 40
    generation = generation_of(model, options)
    pieces: list[str] = []
    generation.stream(prepared(generation, PROMPTS[0])[0], lambda text, thought: pieces.append(text))
    assert "".join(pieces) == result.text


def test_a_prompt_longer_than_the_context_is_refused_or_cut(loaded: Any) -> None:
    model = loaded("llama")  # 128 positions
    long = " ".join(["moon"] * 300) + " and the last words"
    with pytest.raises(
        InputError,
        match=r"prompt 1: the prompt has \d+ tokens, but .* has a context of 128; cut it with truncate=",
    ):
        generate(model, long, SHORT)
    for side, start in (("left", "the last words"), ("right", "moon moon")):
        generation = generation_of(model, dataclasses.replace(SHORT, truncate=side))
        (prompt,) = prepared(generation, long)
        assert len(prompt.ids) == 128 - 12
        assert prompt.ids[0] == model.tokenizer.bos_token_id
        assert start in model.tokenizer.decode(prompt.ids)
        assert generation.run([prompt])[0].tokens <= 12


def test_an_answer_ends_where_the_context_does_whoever_is_beside_it(loaded: Any) -> None:
    model = loaded("llama")
    generation = generation_of(model, GenerationOptions(max_new_tokens=100))
    near_full = model.tokenizer.decode([50] * 119)
    batch = prepared(generation, near_full, "The")
    assert batch[0].new_tokens == 128 - batch[0].length < 100
    together = generation.run(batch)
    assert together == [generation.run([one])[0] for one in batch]
    assert together[0].tokens <= batch[0].new_tokens


def test_a_long_input_of_an_encoder_decoder_is_refused_or_cut(loaded: Any) -> None:
    long = " ".join(["moon"] * 300)
    with pytest.raises(InputError, match="has a context of 128"):
        generate(loaded("bart"), long, SHORT)
    assert texts(generate(loaded("bart"), long, dataclasses.replace(SHORT, truncate="right")))
    assert texts(generate(loaded("t5"), long, SHORT))  # relative positions: no limit


def test_an_empty_prompt_starts_from_the_start_token(loaded: Any) -> None:
    assert texts(generate(loaded("llama"), "", SHORT))
    assert texts(generate(loaded("gpt2"), "", SHORT))


def test_a_result_says_what_it_took(loaded: Any) -> None:
    model = loaded("llama")
    (result,) = generate(model, PROMPTS[0], dataclasses.replace(SAMPLED, num_return_sequences=2))
    assert result.prompt_tokens == len(model.tokenizer(PROMPTS[0])["input_ids"])
    assert result.tokens == sum(answer.tokens for answer in result.answers) <= 24
    assert result.seed == 7
    assert (result.text, result.finish_reason) == (result.texts[0], result.answers[0].finish_reason)


def test_a_stream_is_an_iterator_that_ends_with_the_result(loaded: Any) -> None:
    model = loaded("llama")
    (expected,) = generate(model, PROMPTS[0], SAMPLED)
    *pieces, last = stream(model, PROMPTS[0], SAMPLED)
    assert "".join(piece.text for piece in pieces) == expected.text
    assert len(pieces) > 2
    assert (last.text, last.result) == ("", expected)
    assert all(piece.result is None for piece in pieces)


def test_a_stream_that_is_closed_stops_the_model(loaded: Any) -> None:
    model, written = loaded("llama"), 0

    def count(*arguments: Any) -> None:
        nonlocal written
        written += 1

    handle = model.model.register_forward_hook(count)
    try:
        pieces = stream(model, PROMPTS[0], dataclasses.replace(SAMPLED, max_new_tokens=100))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        seen = written
        assert seen < 100
        assert written == seen
    finally:
        handle.remove()


def test_a_stream_raises_what_the_model_raises(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="num_return_sequences"):
        list(stream(loaded("llama"), "x", dataclasses.replace(SAMPLED, num_return_sequences=2)))
    monkeypatch.setattr(loaded("llama").model, "generate", lambda **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(stream(loaded("llama"), "x", SHORT))


def test_no_prompts_no_answers(loaded: Any) -> None:
    assert generate(loaded("llama"), [], SHORT) == []


def test_a_name_is_loaded(tiny_model: TinyModel, loaded: Any) -> None:
    options = dataclasses.replace(SHORT, seed=0)
    assert generate(str(tiny_model("llama")), PROMPTS, options) == generate(loaded("llama"), PROMPTS, options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -1.0),
        ("top_p", 1.5),
        ("top_k", -1),
        ("min_p", 2.0),
        ("num_beams", 0),
        ("repetition_penalty", 0.0),
        ("stop", ("",)),
        ("truncate", "middle"),
        ("num_return_sequences", 0),
        ("max_new_tokens", "5"),
        ("max_new_tokens", 5.5),
        ("temperature", "hot"),
    ],
)
def test_bad_options_are_named(option: str, value: Any) -> None:
    with pytest.raises(OptionError) as raised:
        GenerationOptions(**{option: value})
    assert raised.value.option == option


def test_one_stop_string_is_not_its_characters() -> None:
    assert GenerationOptions(stop="END").stop == ("END",)


def test_a_model_is_also_a_path_or_a_request(loaded: Any) -> None:
    path = Path(loaded("llama").spec.name)
    greedy = GenerationOptions(max_new_tokens=3, greedy=True)
    texts = {generate(model, "x", greedy)[0].text for model in (path, ModelSpec(str(path)), loaded("llama"))}
    assert len(texts) == 1
    with pytest.raises(TypeError, match="not NoneType"):
        generate(None, "x")  # type: ignore[arg-type]


def test_several_greedy_answers_are_bad_usage(loaded: Any) -> None:
    with pytest.raises(OptionError, match=r"num_return_sequences.*add `temperature`, or set num_beams=2"):
        generate(loaded("llama"), "x", GenerationOptions(num_return_sequences=2))


@pytest.mark.parametrize("temperature", [None, 0.8])
def test_more_answers_than_beams_are_bad_usage(loaded: Any, temperature: float | None) -> None:
    options = GenerationOptions(num_beams=2, num_return_sequences=4, temperature=temperature)
    with pytest.raises(OptionError, match=r"num_return_sequences` is 4.* 2 beams; set num_beams=4"):
        generate(loaded("llama"), "x", options)


def test_the_budget_counts_all_sequences_of_a_row(loaded: Any) -> None:
    one = generation_of(loaded("llama"), SHORT).budget(None)
    four = generation_of(loaded("llama"), dataclasses.replace(SAMPLED, num_return_sequences=4)).budget(None)
    assert one.tokens is not None
    assert four.tokens == one.tokens // 4
    assert generation_of(loaded("llama"), SHORT).budget(8) == Budget(tokens=None, rows=8, new_tokens=12)


class TestChat:
    """Models with a chat template."""

    @pytest.fixture(scope="class")
    def model(self, tiny_model: TinyModel) -> LoadedModel:
        return load(ModelSpec(str(tiny_model("llama", chat=True))))

    def ids(self, model: LoadedModel, data: dict[str, Any], **options: Any) -> str:
        generation = generation_of(model, GenerationOptions(max_new_tokens=4, **options))
        (row,) = generation.prepare([Row(index=0, data=data, where="x:1")])
        if isinstance(row, RowError):
            raise row
        return model.tokenizer.decode(row.payload.ids)

    def test_a_prompt_is_a_turn_with_one_start_token(self, model: LoadedModel) -> None:
        assert self.ids(model, {"prompt": "Hi"}) == "<s><|user|>Hi</s><|assistant|>"

    def test_a_system_message_comes_first(self, model: LoadedModel) -> None:
        shown = self.ids(model, {"prompt": "Hi"}, system="Be brief.")
        assert shown == "<s><|system|>Be brief.</s><|user|>Hi</s><|assistant|>"

    def test_no_chat_takes_the_text_as_it_is(self, model: LoadedModel) -> None:
        assert self.ids(model, {"prompt": "Hi"}, chat=False) == "<s>Hi"

    def test_a_conversation(self, model: LoadedModel) -> None:
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        shown = self.ids(model, {"messages": [*turns, {"role": "user", "content": "c"}]}, system="S")
        assert shown == "<s><|system|>S</s><|user|>a</s><|assistant|>b</s><|user|>c</s><|assistant|>"

    @pytest.mark.parametrize("messages", [[], "hi", [{"role": "user"}], [3], None])
    def test_a_broken_conversation_names_its_row(self, model: LoadedModel, messages: Any) -> None:
        with pytest.raises(RowError, match="x:1: "):
            self.ids(model, {"messages": messages})

    def test_a_template_that_refuses_names_the_row(self, model: LoadedModel) -> None:
        before = model.tokenizer.chat_template
        model.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
        try:
            with pytest.raises(RowError, match="x:1: the chat template refuses it: roles must alternate"):
                self.ids(model, {"prompt": "Hi"})
        finally:
            model.tokenizer.chat_template = before

    def test_chat_flags_need_a_template(self, loaded: Any) -> None:
        for options in ({"chat": True}, {"system": "S"}):
            with pytest.raises(InputError, match="needs a chat template"):
                generation_of(loaded("llama"), GenerationOptions(**options))

    def test_thoughts_go_into_a_field_of_their_own(
        self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generation = generation_of(model, GenerationOptions(max_new_tokens=30))
        answer = model.tokenizer("<think>\nhm\n</think>\n\nFour.", add_special_tokens=False)["input_ids"]
        monkeypatch.setattr(TransformersEngine, "_forward", lambda self, rows, settings, choices: [answer])
        assert fields(generation, "2+2?") == {"generated_text": "Four.", "reasoning": "hm"}


def test_full_text_gives_the_prompt_back(loaded: Any) -> None:
    model = loaded("llama")
    (text,) = texts(generate(model, PROMPTS[0], SHORT))
    generation = generation_of(model, dataclasses.replace(SHORT, full_text=True))
    assert fields(generation, PROMPTS[0]) == {"generated_text": PROMPTS[0] + text}


def test_several_answers_are_a_list_in_the_row(loaded: Any) -> None:
    generation = generation_of(loaded("llama"), dataclasses.replace(SAMPLED, num_return_sequences=2))
    assert len(fields(generation, PROMPTS[0])["generated_text"]) == 2


def test_pipeline_is_transformers_own_on_our_model(tiny_model: TinyModel) -> None:
    pipe = llmkit.pipeline("text-generation", str(tiny_model("llama")), dtype="bfloat16")
    assert type(pipe).__name__ == "TextGenerationPipeline"
    assert pipe.model.dtype == torch.bfloat16
    (answer,) = pipe("The cat", max_new_tokens=3)
    assert answer["generated_text"].startswith("The cat")


def test_pipeline_refusals(tiny_model: TinyModel, loaded: Any) -> None:
    with pytest.raises(InputError, match="no pipeline for task 'poetry'"):
        llmkit.pipeline("poetry")
    with pytest.raises(InputError, match="loaded already"):
        llmkit.pipeline("text-generation", loaded("llama"), dtype="bfloat16")


def test_an_adapter_generates(tiny_model: TinyModel, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = load(ModelSpec(str(tiny_model("llama"))))
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    tuned = get_peft_model(base.model, config)
    tuned.peft_config["default"].base_model_name_or_path = str(tiny_model("llama"))
    tuned.save_pretrained(tmp_path)
    with_adapter = texts(generate(str(tmp_path), PROMPTS, SHORT))
    assert with_adapter != texts(generate(str(tiny_model("llama")), PROMPTS, SHORT))

#!/usr/bin/env bash
# A batch that survives being killed: the second command finishes what the first one began, and the file is
# byte for byte what one uninterrupted run would have written.
set -euo pipefail
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

arguments=(--input prompts.jsonl --template "One day, {name} found a {thing}." --max-new-tokens 40
           --temperature 0.8 --seed 7 --batch-size 1 --output "$out/stories.jsonl")

llmkit generate "${arguments[@]}" & pid=$!
until grep -qs '"batch"' "$out/stories.jsonl.journal"; do sleep 0.05; done
kill -9 $pid
wait $pid 2>/dev/null || true

llmkit generate "${arguments[@]}" --resume
llmkit generate "${arguments[@]/stories.jsonl/uninterrupted.jsonl}"
cmp "$out/stories.jsonl" "$out/uninterrupted.jsonl"
cat "$out/stories.jsonl"

"""Prompts of several kinds."""

PROMPTS = [
    "Once upon a time",
    "The capital of France is",
    "Water boils at",
    "def fibonacci(n):",
    "In 1969, the first",
    "The three primary colors are",
    "To make a cup of tea, first",
    "The largest planet in the solar system is",
    "Dear Sir or Madam,",
    "1, 2, 3, 4,",
    "The quick brown fox",
    "A week has seven days:",
    "Photosynthesis is the process by which",
    "import numpy as np\n",
    "Roses are red,",
    "The opposite of hot is",
    "She opened the door and",
    "The Great Wall of China",
    "Q: What is 2 + 2?\nA:",
    "My favorite season is",
]

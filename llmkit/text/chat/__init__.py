"""Conversations: their turns, their rendering by chat templates, and the thoughts of reasoning models."""

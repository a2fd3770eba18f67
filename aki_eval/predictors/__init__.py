"""Whatever can answer a prompt: AKI itself, any VLMEvalKit model, any OpenAI-compatible endpoint."""

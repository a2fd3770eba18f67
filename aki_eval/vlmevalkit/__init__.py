"""VLMEvalKit from outside: its models as predictors here, our models in its own loop."""

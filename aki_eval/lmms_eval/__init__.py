"""AKI inside lmms-eval, by its plug-in entry point: `lmms-eval --model aki --model_args pretrained=ckpt/ --tasks ...`.

manifest    what the entry point names: which class answers to `aki`
messages    a chat of lmms-eval as a prompt of ours
model       the class
"""

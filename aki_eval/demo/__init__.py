"""`aki-demo`: a page to talk with AKI about pictures, and to see what its attention does. Needs Gradio."""

GRADIO = "gradio==6.31.0"
"""Installed without its dependencies, which are the extra `demo`: it refuses Pillow 13 (`pillow<13`), and Pillow 12
resizes pictures to other bytes than AKI was trained and measured with. Tested with what stands here."""

"""Vision-language models that are asked about pictures and never trained: one way to reach one a file."""

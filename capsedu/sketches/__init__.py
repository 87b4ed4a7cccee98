"""Pictures that answer at once: each a plain function of its parameters, written as SVG."""

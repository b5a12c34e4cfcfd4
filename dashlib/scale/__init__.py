"""Training and evaluation at the paper's scale: presets, many processes, Inception scores."""

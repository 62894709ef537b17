"""Training an adapter: the loop, and teaching a model facts."""

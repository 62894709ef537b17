"""What a study says about each claim: effect, interval and verdict."""

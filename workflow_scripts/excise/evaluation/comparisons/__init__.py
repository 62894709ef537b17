"""Comparisons of unlearning methods: at matched forgetting, over frontiers, by regression."""

"""The benchmark: people's slots, questions, checks of the generated records, export."""

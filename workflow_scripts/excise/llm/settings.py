"""The settings of the client: section `generation.llm` of the config."""


def load_settings(settings: dict) -> dict:
    """Check a `generation.llm` section and fill in its defaults.

    Raises:
        InputError: the first fault, in one line that names the key.
    """
    return settings

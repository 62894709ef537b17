"""The settings of the client: section `generation.llm` of the config."""

from excise.config.llm import check_llm


def load_settings(section: dict) -> dict:
    """Check a `generation.llm` section and fill in its defaults.

    Args:
        section: the section from the config or from `--hp`; it needs `model`.

    Returns:
        The settings for `Session`: a new mapping with all keys.

    Raises:
        InputError: the first fault, in one line that names the key.
    """
    return check_llm(section)

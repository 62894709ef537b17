"""The settings of the client: section `generation.llm` of the config."""

from excise.config.llm import check_llm


def load_settings(section: dict) -> dict:
    """Check a `generation.llm` section and fill in its defaults.

    Args:
        section: the section as the config has it or as `--hp` brings it; `model` is needed.

    Returns:
        The settings that `Session` takes: a new mapping with every key present.

    Raises:
        InputError: the first fault, in one line that names the key.
    """
    return check_llm(section)

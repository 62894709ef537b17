"""A language model writes the texts; everything they say is drawn in code and checked in code.

`meanings` says what each slot is about, `prompts` reads the versioned prompt files, `checks` holds
a reply to the values it was given, `asking` draws again what was refused or wrong, and `profiles`,
`facts`, `qa` and `forget_paraphrased` turn records into calls and replies into records.
"""

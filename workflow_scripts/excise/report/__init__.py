"""The report: all results of one study, or of several, in one page that needs no network."""

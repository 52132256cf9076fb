"""Translations of other systems' attributes to atrous' arguments; each module is imported only when asked for."""

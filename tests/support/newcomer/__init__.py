"""Games written from the manual alone, as somebody new to Vinom would."""

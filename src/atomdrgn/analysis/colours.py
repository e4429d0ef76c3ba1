"""Colours that people with any kind of colour vision tell apart."""

# Okabe & Ito, Color Universal Design (2008), without black and without the yellow that does not show on white; what moves as
# one has one of them each. Their order puts the strongest contrasts first.
GROUP_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A7A7A", "#8C6D1F")

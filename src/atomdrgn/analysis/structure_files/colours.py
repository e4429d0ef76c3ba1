"""Colours that people with any kind of colour vision tell apart."""

# Okabe & Ito, Color Universal Design (2008), without black and without the yellow
# that does not show on white; what moves as one has one of them each. Their order
# puts the strongest contrasts first.
GROUP_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#7A7A7A",
    "#8C6D1F",
)

# Seven of cividis (Nuñez, Anderton & Renslow 2018), from low to high, as the report's maps have
# them: lightness alone tells.
RAMP = ("#00224e", "#2a3f6d", "#575d6d", "#7d7c78", "#a59c74", "#d2c060", "#fee838")


def on_ramp(fraction: float) -> str:
    """The colour of RAMP at a place from 0 (its first) to 1 (its last).

    What lies outside has that of the end.
    """
    place = min(max(fraction, 0.0), 1.0) * (len(RAMP) - 1)
    first = min(int(place), len(RAMP) - 2)
    ends = [
        [int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in RAMP[first : first + 2]
    ]
    return "#" + "".join(
        f"{round(low + (place - first) * (high - low)):02x}"
        for low, high in zip(*ends, strict=True)
    )

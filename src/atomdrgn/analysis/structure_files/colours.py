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

STILL = "#A9B4BD"  # the part that others are seen to turn from: what has a colour moves

# Tol's muted scheme (Technical Note SRON/EPS/TN/09-002): states and clusters are no parts, and have
# no colour of one.
STATE_COLOURS = (
    "#332288",
    "#AA4499",
    "#117733",
    "#DDCC77",
    "#882255",
    "#44AA99",
    "#999933",
    "#661100",
)

# Seven of cividis (Nuñez, Anderton & Renslow 2018), from low to high, as the report's maps have
# them: lightness alone tells.
RAMP = ("#00224e", "#2a3f6d", "#575d6d", "#7d7c78", "#a59c74", "#d2c060", "#fee838")


def group_colours(count: int, still: int | None) -> list[str]:
    """The colour of each group: the still one is grey, the others follow each other.

    Parameters
    ----------
    count : int
        How many groups there are.
    still : int or None
        Which of them is still, as others are seen from it; a group by itself has a colour.
    """
    moving = [number for number in range(count) if number != still or count == 1]
    place = {number: order for order, number in enumerate(moving)}
    return [
        GROUP_COLOURS[place[number] % len(GROUP_COLOURS)] if number in place else STILL
        for number in range(count)
    ]


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

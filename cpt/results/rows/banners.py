"""Labels of studies whose numbers must not pass as real results of our own."""

from cpt.results.rows.published import SOURCE

TOY = "toy"
TOY_LABEL = "TOY — synthetic languages, tiny models; no number here says anything about real ones"
PUBLISHED = "published"
PUBLISHED_LABEL = f"PUBLISHED — the study's own numbers, taken from its tables ({SOURCE}); nothing here was run by us"
BANNERS = {TOY: TOY_LABEL, PUBLISHED: PUBLISHED_LABEL}
"""By scale, the label to show above all numbers."""

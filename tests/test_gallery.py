"""The figure of the gallery says the numbers that it draws."""

import re

from capsedu.figures.mistakes import Exhibit, wrong_yet_accurate

GALLERY = {
    "another function": Exhibit(passed=True, cosine=0.428, error=0.983, accuracy=0.842),
    "a wrong gradient": Exhibit(passed=False, cosine=-0.25, error=1.66, accuracy=0.5),
    "almost nothing": Exhibit(passed=True, cosine=1.0, error=1e-7, accuracy=0.921),
}


def test_the_alt_text_says_each_exhibit_and_the_line_it_is_held_to():
    alt = wrong_yet_accurate(GALLERY, [0.914, 0.93, 0.9]).alt
    assert "91 % without a mistake, 90 to 93 % from other first weights" in alt
    assert "another function: passes its own gradient check, off by 98 %, cosine 0.43, 84 %" in alt
    assert "a wrong gradient: fails its own gradient check, off by 166 %, cosine -0.25, 50 %" in alt
    # Sorted by their errors, the smallest first.
    names = re.findall("|".join(GALLERY), alt)
    assert names == ["almost nothing", "another function", "a wrong gradient"]


def test_it_draws_exhibits_of_one_kind_alone():
    for name in GALLERY:
        one = wrong_yet_accurate({name: GALLERY[name]}, [0.9])
        assert one.png.startswith(b"\x89PNG") and name in one.alt

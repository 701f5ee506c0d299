"""Every token but the first is predicted once, from as much context as fits."""

from __future__ import annotations

import pytest

from llmkit.errors import OptionError
from llmkit.evaluation.likelihood.windows import Window, two_sided, windows


def test_by_hand():
    # x0..x10: the first window feeds x0..x3 and predicts x1..x4; then two more at a time.
    assert list(windows(11, 4, 2)) == [Window(0, 4, 4), Window(2, 6, 2), Window(4, 8, 2), Window(6, 10, 2)]
    # The last window has one token left to predict and still a full window of context.
    assert list(windows(10, 4, 2))[-1] == Window(5, 9, 1)
    # With the beginning-of-sequence token in front, a later window has room for three others.
    assert list(windows(11, 4, 2, repeat_bos=True))[1] == Window(3, 6, 2)


@pytest.mark.parametrize("repeat_bos", [False, True])
@pytest.mark.parametrize("window", [2, 3, 8, 50])
def test_each_token_is_predicted_once(window, repeat_bos):
    for length in range(1, 40):
        for stride in range(1, window + 1):
            predicted = []
            for one in windows(length, window, stride, repeat_bos=repeat_bos):
                fed = one.end - one.start + (repeat_bos and one.start > 0)
                assert one.scored <= fed <= window
                assert fed == window or one.start == 0
                predicted += range(one.end - one.scored + 1, one.end + 1)
            assert predicted == list(range(1, length))


@pytest.mark.parametrize(
    ("window", "stride", "option"), [(1, 1, "window"), (8, 0, "stride"), (8, 9, "stride")]
)
def test_impossible_windows(window, stride, option):
    with pytest.raises(OptionError) as caught:
        list(windows(20, window, stride))
    assert caught.value.option == option


def test_what_is_given_is_not_predicted():
    # x0..x2 are given: x3 is the first to be predicted.
    assert list(windows(6, 8, 4, given=3)) == [Window(0, 5, 3)]
    # x0..x8 do not even fit the window, which is moved on at once.
    assert list(windows(13, 6, 2, given=9)) == [Window(4, 10, 2), Window(6, 12, 2)]


@pytest.mark.parametrize("window", [2, 5, 8])
def test_two_sided_windows_score_each_token_once(window):
    assert [(w.start, w.end, w.scored) for w in two_sided(10, 6, 2)] == [
        (0, 6, range(0, 4)),
        (2, 8, range(4, 6)),
        (4, 10, range(6, 10)),
    ]
    for length in range(0, 30):
        for stride in range(1, window + 1):
            found = list(two_sided(length, window, stride))
            assert [place for one in found for place in one.scored] == list(range(length))
            assert all(one.start <= place < one.end for one in found for place in one.scored)
            assert all(one.end - one.start == min(window, length) for one in found)

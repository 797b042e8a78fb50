"""The table of windows says on which side of the tabulated temperatures a window ends."""

from rich.console import Console

from searcher.evaluation.diagram import print_diagram


def table(start: float, stop: float, coldest: float | None, hottest: float | None) -> str:
    entry = {"pressure": 1e-10, "from": coldest, "to": hottest}
    window = {"facet": "110", "id": "A", "from": start, "to": stop, "temperature": [entry]}
    console = Console(width=120)
    with console.capture() as captured:
        print_diagram({"windows": [window]}, console)
    return captured.get()


def test_a_window_colder_than_all_temperatures_does_not_end_at_the_hottest():
    assert "<100" in table(-0.05, 0.0, None, None) and ">6000" not in table(-0.05, 0.0, None, None)


def test_a_window_may_be_open_at_either_end():
    assert "<100 … 439" in table(-0.861, -0.05, None, 439.0)
    assert "900 … >6000" in table(-40.0, -2.0, 900.0, None)

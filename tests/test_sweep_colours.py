"""A loss that weighs mean colours."""

import torch

from benchmarks.sweep import colours
from dashlib.data import Batch
from dashlib.guidance import Branches
from dashlib.losses import Dash
from dashlib.schedule import Schedule


def test_dash_may_weigh_the_colour_of_the_image(fixed):
    """A constant error is all colour: times 1/SNR in the image, 100 at most; details are none."""
    x, t = torch.randn(4, 3, 2, 2), torch.tensor([100, 500, 900, 999])
    teacher = Branches(torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
    batch = Batch(x, t, torch.arange(4), torch.arange(4), torch.randn(4, 3, 2, 2), teacher)

    def found(e_c, e_u):
        both = (teacher.cond + e_c).repeat(2, 1, 1, 1), (teacher.uncond + e_u).repeat(2, 1, 1, 1)
        return colours.ColourDash(colour=2.0).terms(fixed(*both), batch)

    terms, plain = found(0.3, -0.2), (1 / Schedule().snr(t)).clamp(max=100)
    want = plain * (0.3**2 + 0.2**2)
    torch.testing.assert_close(terms["colour"].double(), want, rtol=1e-6, atol=0)
    assert (plain[0] < 0.1, plain[-1]) == (True, 100)
    details = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    torch.testing.assert_close(found(details, details)["colour"], torch.zeros(4), atol=1e-9, rtol=0)
    ours, dash = colours.ColourDash(colour=2.0), Dash()
    without = {name: term for name, term in terms.items() if name != "colour"}
    torch.testing.assert_close(ours.total(terms), dash.total(without) + 2 * terms["colour"])

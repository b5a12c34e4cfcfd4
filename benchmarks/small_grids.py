"""The digits networks with their small grids convolved by torch, and as one matrix product."""

from timing import digits_pass, hardware, report

from dashlib.scale.small_grids import with_products
from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet, UNetConfig


def compare(name: str, cfg: UNetConfig, n: int, *, train: bool) -> None:
    """Print the ratio for one network."""
    functions = {
        "convolution": digits_pass(UNet(cfg), n, train=train),
        "matrix product": digits_pass(with_products(UNet(cfg)), n, train=train),
    }
    what = "forward and backward" if train else "forward"
    report(f"digits {name}, {what}, batch {n}", functions)


def main() -> None:
    """Training batches, and the batch of 1,000 samples with both branches."""
    hardware()
    compare("teacher", TEACHER_DIGITS, 128, train=True)
    compare("student", STUDENT_DIGITS, 256, train=True)
    compare("student", STUDENT_DIGITS, 2000, train=False)


if __name__ == "__main__":
    main()

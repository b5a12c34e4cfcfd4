"""The digits networks on 2x2 patches (a 4x4 grid) and on pixels (8x8)."""

from dataclasses import replace

from timing import digits_pass, hardware, report

from dashlib.unet import STUDENT_DIGITS, TEACHER_DIGITS, UNet


def main() -> None:
    """Attention stays on the 4x4 grid in both."""
    hardware()
    for name, cfg in (("teacher", TEACHER_DIGITS), ("student", STUDENT_DIGITS)):
        for train in (False, True):
            functions = {
                "pixels": digits_pass(UNet(replace(cfg, patch_size=1)), 128, train=train),
                "2x2 patches": digits_pass(UNet(cfg), 128, train=train),
            }
            what = "forward and backward" if train else "forward"
            report(f"digits {name}, {what}, batch 128", functions, repeats=7)


if __name__ == "__main__":
    main()

"""The authors' checkpoints."""

from pathlib import Path

from torch import Tensor

from dashlib.checkpoints import CheckpointError, load_into, read_pickled
from dashlib.unet import UNet, UNetConfig


def load_official(path: Path) -> tuple[UNet, Tensor | None]:
    """An authors' ``.pth``: averaged model, lambda ``(1000,)``; ``CheckpointError`` if none."""
    content = read_pickled(path)
    try:
        named = dict(content["ema_state_dict"]["shadow"]).items()  # by DataParallel, torch.compile
        shadow = {k.removeprefix("module.").removeprefix("_orig_mod."): v for k, v in named}
        classes, ch = len(shadow["class_embed.weight"]) - 1, len(shadow["conv_in.weight"])
        blocks = 1 + ("down.0.block.1.conv1.weight" in shadow)
        model = UNet(UNetConfig(ch=ch, blocks=blocks, num_classes=classes))
        lam = (content.get("tirt_state_dict") or {}).get("importance_adjustment")
        if lam is not None and not (lam.shape == (1000,) and lam.isfinite().all()):
            raise ValueError(f"TIRT lambda should be (1000,), finite: {lam!s:.80}")
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a DASH checkpoint ({error})") from error
    load_into(model, shadow, str(path))
    return model.eval(), lam

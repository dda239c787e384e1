"""MINT-AD with a label prompt (§3.3, Fig. 3b, Table 4)."""

from __future__ import annotations

from torch import Tensor, nn

from mintad.model.mint_ad import MintAD
from mintad.model.variants import variant


@variant("label_prompt")
class LabelPrompt(MintAD):
    """MINT-AD whose token is looked up by the label, in training and at test time (Fig. 3b)."""

    needs_labels = True

    def make_prompt(self, classes: int) -> None:
        """Make a table with a learned token per class."""
        self.label_tokens = nn.Embedding(classes, self.config.prompt_mapper.token_width)

    def prompt(self, adapted_BLC: Tensor, labels_B: Tensor | None) -> tuple[Tensor, None]:
        """Return the class token (B, T) of each label; there is no head."""
        return self.label_tokens(self.require_labels(labels_B)), None

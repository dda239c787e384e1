"""HVQ-Trans as its authors' released code runs it: told the class of every image."""

from __future__ import annotations

from mintad.baselines.base import baseline
from mintad.baselines.hvq_trans import HVQTrans


@baseline("hvq_trans_told")
class HVQTransTold(HVQTrans):
    """HVQ-Trans that is told the class, in training and at test. **It knows more than a unified method.**"""

    title = "HVQ-Trans, told the class"
    needs_labels = True

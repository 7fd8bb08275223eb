"""Whether the loss may take a model's features and its output projection in the place of its logits."""

import inspect
import sys
from typing import Any, Optional

from fairseq.models import BaseFairseqModel
from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from torch import nn

# Where torch keeps the hooks of a module.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def plain_output_projection(model: nn.Module) -> Optional[nn.Linear]:
    """The projection that alone makes ``model``'s logits from its features, or None if that cannot be known.

    Then ``model(**net_input, features_only=True)`` followed by this projection and a log-softmax is exactly what the
    model computes: nothing between features and log-probabilities is overridden, hooked, sharded or mixed in.
    Models such as transformer_align, lightconv, fconv, lstm and the pointer-generator, those with an adaptive
    softmax, and subclasses that override one of these steps have None.
    """
    if not _wrapper_leaves_parameters_alone(model):
        return None
    module = unwrap(model)
    decoder: Any = getattr(module, "decoder", None)
    projection: Any = getattr(decoder, "output_projection", None)
    stock = (
        isinstance(module, TransformerModelBase)
        and isinstance(decoder, TransformerDecoderBase)
        and "features_only" in inspect.signature(module.forward).parameters
        and _inherits(module, TransformerModelBase, "forward", "get_normalized_probs")
        and _inherits(module, BaseFairseqModel, "get_targets", "get_normalized_probs_scriptable")
        and _inherits(decoder, TransformerDecoderBase, "forward", "output_layer")
        and _inherits(decoder, FairseqDecoder, "get_normalized_probs", "get_normalized_probs_scriptable")
        and getattr(decoder, "adaptive_softmax", None) is None
    )
    # A subclass of Linear, or a hook (quantisation noise, pruning, probing), may do more than the matrix product.
    if not stock or type(projection) is not nn.Linear or "forward" in vars(projection):
        return None
    if any(_has_hooks(it) for it in (module, decoder, projection)) or _has_global_hooks():
        return None
    return projection


def _has_hooks(module: nn.Module) -> bool:
    """Whether something is called before or after the forward or backward pass of this very module."""
    return any(getattr(module, name, None) for name in _HOOKS)


def _has_global_hooks() -> bool:
    """The same of hooks on every module."""
    return any(getattr(nn.modules.module, f"_global{name}", None) for name in _HOOKS)


def _inherits(instance: nn.Module, base: type, *names: str) -> bool:
    """Whether ``instance`` uses the methods ``names`` of ``base``: overridden neither in its class nor on itself."""
    return all(getattr(type(instance), name) is getattr(base, name) and name not in vars(instance) for name in names)


def unwrap(model: Any) -> nn.Module:
    """The model inside fairseq's and torch's wrappers for distributed training."""
    while not isinstance(model, BaseFairseqModel) and isinstance(getattr(model, "module", None), nn.Module):
        model = model.module
    return model


def _wrapper_leaves_parameters_alone(model: Any) -> bool:
    """Whether a parameter may be used outside the wrapped model's forward.

    Wrappers that shard or exchange parameters inside forward do not allow it, and with find_unused_parameters
    DistributedDataParallel takes the projection for unused and fails when its gradient arrives.
    """
    while not isinstance(model, BaseFairseqModel):
        name = type(model).__name__
        if isinstance(model, nn.parallel.DistributedDataParallel):
            if model.find_unused_parameters or model.static_graph:
                return False
        elif name not in ("ModuleProxyWrapper", "LegacyDistributedDataParallel"):
            return False
        model = getattr(model, "module", None)
    # Parameters that torch has sharded. To import their class takes seconds; where there are any, it has been imported.
    tensor = sys.modules.get("torch.distributed.tensor")
    sharded = getattr(tensor, "DTensor", ())
    return not any(isinstance(parameter, sharded) for parameter in model.parameters())

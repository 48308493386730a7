"""The numbers of a step, fetched at once and judged before an optimizer uses its gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gradviz.record.alarm import Alarm, Judge
from gradviz.record.torch.kept import Kept
from gradviz.record.torch.watch import norms
from gradviz.record.torch.watch.events import Tape
from gradviz.record.torch.watch.motion import parameters_of
from gradviz.record.torch.watch.replay import models


def verdict(
    tape: Tape, optimizer: Any, judge: Judge, parameters: list[Tensor], kept: Kept
) -> tuple[Alarm | None, float | None, bool]:
    """What is wrong with a step, the norm of its gradients, and whether there are any now."""
    passes = [] if tape.used else [p for p in tape.passes if p.accumulates] or tape.passes
    losses = [p.loss for p in passes if p.loss is not None]
    now, others = norms.Norms(parameters), norms.Norms(())
    if not tape.used and not tape.closures:
        own = set(map(id, parameters))
        rest = (o for o in tape.optimizers if o is not optimizer and not kept.done(o))
        more = (p for o in rest for p in parameters_of(o))
        others = norms.Norms(p for p in more if id(p) not in own)
    scales = [p.scale for p in passes if p.scale is not None][:1]
    late = getattr(optimizer, "grad_scale", None)  # of one that unscales them itself
    found_inf = getattr(optimizer, "found_inf", None)
    clipped = {key: tape.clipped[key] for key in now.keys if key in tape.clipped}
    parts = [losses, now.tensors, others.tensors, list(clipped.values()), scales]
    parts.append([t for t in (late, found_inf) if isinstance(t, Tensor)])
    told = iter(norms.numbers([t for part in parts for t in part]))
    own_losses, own_norms, other_norms, raw, scale, fused = (
        [next(told) for _ in part] for part in parts
    )
    by = scale[0] if scale else 1.0
    loss = [x / by for x in own_losses]
    if len(fused) == 2 and fused[1]:
        alarm = judge.skipped(loss, by)
        norm = None
    else:
        gradients = dict.fromkeys(map(id, parameters), 0.0)
        gradients |= dict(zip(now.keys, own_norms, strict=True))
        gradients |= dict(zip(clipped, raw, strict=True))
        norm = norms.total(gradients.values()) if now.keys else None
        if norm is not None:
            scaled = by if tape.closures or optimizer is None else fused[0] if fused else 1.0
            norm = norms.sure(norm, parameters) / scaled
            if not all(map(math.isfinite, own_norms)):  # after clipping it, perhaps
                norm = norms.sure(norms.total(own_norms), parameters) / scaled
        if other_norms and not math.isfinite(norms.total(other_norms)) and norm is not None:
            every = (p for o in tape.optimizers for p in parameters_of(o))
            norm = norm if norms.finite(every) else math.nan
        again = optimizer is not None and not tape.closures and any(own_norms)
        again = again and kept.are_in(optimizer)
        tape.whole = tape.whole and not again
        place = passes[-1].place if again and passes else ""
        if tape.closures and tape.evaluated:
            alarm = judge.evaluated(loss, norm)
        else:
            alarm = judge.step(loss, norm, gradients, place)
        tape.evaluated = True
    tape.clipped.clear()
    return alarm, norm, any(own_norms)


def is_told(tape: Tape, alarm: Alarm, optimizer: Any, judges: Mapping[Any, Judge]) -> bool:
    """Whether what is not finite came from a part that another optimizer's report was about."""
    others = [o for o, j in judges.items() if o is not optimizer and j.is_told(alarm.kind)]
    if "not finite" not in alarm.kind or not others:
        return False
    events = tape.needed([p for p in tape.passes if p.accumulates] or tape.passes)
    read = {id(t) for event in events for t, _ in event.given}
    read.update(id(p) for root in models(events).values() for p in root.parameters())
    return any(id(p) in read for other in others for p in parameters_of(other))

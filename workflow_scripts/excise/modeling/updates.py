"""How an unlearning update lies to the finetuning update, from the factors of two adapters.

Finetuning adds ΔW_f = B_f·A_f to a weight W (scale included in B), and the unlearned model has
B·A instead. The unlearning update is ΔW_u = B·A − B_f·A_f. No matrix of the size of W is made.

With P_c and P_r the projections onto the column and row space of ΔW_f (rank k), the shares of the
update's energy in the known subspace are ‖P_c·ΔW_u‖²/‖ΔW_u‖², ‖ΔW_u·P_r‖²/‖ΔW_u‖² and
‖P_c·ΔW_u·P_r‖²/‖ΔW_u‖². Two comparisons stand beside them:

- by chance: a random subspace of the same rank has k/out, k/in and their product.
- by chance for an adapter: with dB = B − B_f and dA = A − A_f, ΔW_u = dB·A_f + B_f·dA + dB·dA. The
  first term lies in the row space and the second in the column space, *whatever* is learned. So
  the expectation is computed for a dB and a dA of the same size in random directions:
  dB → Q·dB and dA → dA·R, with Q and R random rotations. The products of different terms vanish.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Factors:
    """The update of one adapted weight, or of each expert of a stacked one, in fp64.

    Attributes:
        up: B with the scale, (…, out, rank).
        down: A, (…, rank, in).
    """

    up: torch.Tensor
    down: torch.Tensor


def energy(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """‖up·down‖² from r × r matrices, (…): tr(upᵀ·up · down·downᵀ)."""
    return _trace(up.mT @ up, down @ down.mT)


def _trace(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Trace of the product of two symmetric matrices, (…)."""
    return (one * other).sum(dim=(-2, -1))


SHARES = ("columns", "rows", "both")


class Known:
    """The subspace of the finetuning update of one weight.

    Args:
        finetuned: the update.

    Attributes:
        columns: orthonormal basis of the column space, (…, out, r); 0 beyond the rank.
        rows: of the row space, (…, in, r).
        part: share of each space in the whole: k/out, k/in and their product, (…) each.
    """

    def __init__(self, finetuned: Factors) -> None:
        self.finetuned = finetuned
        up, up_rest = torch.linalg.qr(finetuned.up)
        down, down_rest = torch.linalg.qr(finetuned.down.mT)
        left, sizes, right = torch.linalg.svd(up_rest @ down_rest.mT, full_matrices=False)
        rounding = torch.finfo(sizes.dtype).eps * max(up.shape[-2], down.shape[-2])
        kept = sizes > rounding * sizes[..., :1]
        mask = kept[..., None, :].to(sizes.dtype)
        self.columns, self.rows = up @ (left * mask), down @ (right.mT * mask)
        rank = kept.sum(dim=-1, dtype=sizes.dtype)
        self.part = {"columns": rank / up.shape[-2], "rows": rank / down.shape[-2]}
        self.part["both"] = self.part["columns"] * self.part["rows"]

    def measure(self, model: Factors | None) -> dict[str, float]:
        """Energies of the unlearning update; those of a stacked weight's experts are summed.

        Args:
            model: the update of the compared model to the same base weight; None: it has no
                adapter, as the base model.

        Returns:
            `finetuned` ‖ΔW_f‖², `adapter` ‖B·A‖², `update` ‖ΔW_u‖²; `columns`, `rows`, `both`:
            its energy in these subspaces; each of them with `_by_chance` and with `_of_adapter`,
            the two comparisons. `_of_adapter` is NaN if the ranks of the adapters differ.
        """
        before = self.finetuned
        if model is None:
            model = Factors(torch.zeros_like(before.up), before.down)
        up = torch.cat([model.up, before.up], dim=-1)
        down = torch.cat([model.down, -before.down], dim=-2)
        ups, downs = up.mT @ up, down @ down.mT
        in_columns, in_rows = self.columns.mT @ up, down @ self.rows
        in_columns, in_rows = in_columns.mT @ in_columns, in_rows @ in_rows.mT
        update = _trace(ups, downs)
        found = {
            "finetuned": energy(before.up, before.down),
            "adapter": energy(model.up, model.down),
            "update": update,
            "columns": _trace(in_columns, downs),
            "rows": _trace(ups, in_rows),
            "both": _trace(in_columns, in_rows),
        }
        of_adapter = self._of_adapter(model)
        for name in SHARES:
            found[f"{name}_by_chance"] = update * self.part[name]
            found[f"{name}_of_adapter"] = update * of_adapter[name]
        return {key: value.sum().item() for key, value in found.items()}

    def _of_adapter(self, model: Factors) -> dict[str, torch.Tensor]:
        """Expected shares of an update by steps of the same size in random directions, (…)."""
        before, part = self.finetuned, self.part
        if model.up.shape != before.up.shape:
            return {name: torch.full_like(part["columns"], torch.nan) for name in SHARES}
        up, down = model.up - before.up, model.down - before.down
        first, second, third = energy(up, before.down), energy(before.up, down), energy(up, down)
        in_rows = energy(up, before.down @ self.rows)
        in_columns = energy(self.columns.mT @ before.up, down)
        inside = {
            "columns": part["columns"] * (first + third) + in_columns,
            "rows": in_rows + part["rows"] * (second + third),
            "both": part["columns"] * in_rows + part["rows"] * in_columns + part["both"] * third,
        }
        total = first + second + third
        return {name: torch.where(total > 0, one / total, 0.0) for name, one in inside.items()}

//! What other rooms keep in the control lane: what of budgets was used, and small values by their names.

use super::Shared;
use crate::store::BudgetUse;

impl Shared {
    /// As it was last said of each.
    pub(in crate::store) fn budgets(&self) -> Vec<BudgetUse> {
        self.ledger().budgets.values().cloned().collect()
    }

    /// As it was last committed.
    pub(in crate::store) fn kept(&self, name: &str) -> Option<Vec<u8>> {
        self.ledger().kept.get(name).map(|value| value.to_vec())
    }
}

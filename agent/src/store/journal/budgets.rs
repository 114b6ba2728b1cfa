//! What of budgets was used, as the control lane says it.

use super::Shared;
use crate::store::BudgetUse;

impl Shared {
    /// As it was last said of each.
    pub(in crate::store) fn budgets(&self) -> Vec<BudgetUse> {
        self.ledger().budgets.values().cloned().collect()
    }
}

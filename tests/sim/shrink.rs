//! A failing run made smaller: operations and faults that it fails without are left out.

use crate::bench::Bench;
use crate::plan::Plan;
use crate::run::{Outcome, play};

/// Tries each operation and each fault once, from the end.
pub(crate) fn shrink(bench: &mut Bench, mut plan: Plan, mut outcome: Outcome) -> (Plan, Outcome) {
    for fault in plan.mix.clone().on().map(|(fault, _)| fault) {
        let less = Plan { mix: plan.mix.without(fault), ..plan.clone() };
        keep(bench, &mut plan, &mut outcome, less);
    }
    for at in (0..plan.ops.len()).rev() {
        let less = plan.without_op(at);
        keep(bench, &mut plan, &mut outcome, less);
    }
    outcome = play(bench, &plan, true);
    (plan, outcome)
}

fn keep(bench: &mut Bench, plan: &mut Plan, outcome: &mut Outcome, less: Plan) {
    let tried = play(bench, &less, false);
    if !tried.violations.is_empty() {
        *plan = less;
        *outcome = tried;
    }
}

//! `POST /test/invoices/{id}/simulate`: lets something happen to an invoice of test mode.
//!
//! To a live key, and where the deployment has no simulated chain, the address does not exist.

use xthonpay_domain::access::Mode;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::id::InvoiceId;
use xthonpay_payments::simulation::{Case, Wish};
use xthonpay_payments::snapshot::InvoiceSnapshot;

use crate::answer::Answer;
use crate::api::Api;
use crate::door::Call;
use crate::error::{ApiError, Fault};
use crate::json::{fields, optional_text};

pub(crate) async fn invoice(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let caller = call.caller();
    let simulation = api.simulation.as_ref().filter(|_| caller.mode() == Mode::Test);
    let simulation = simulation.ok_or_else(ApiError::not_found)?;
    let id = call.segment_before_last().parse::<InvoiceId>().map_err(|_| ApiError::not_found())?;
    let mut fields = fields(call.headers(), call.body())?;
    let case = optional_text::<Case>(&mut fields, Fault::InvalidRequest, "case")?;
    let amount = optional_text::<String>(&mut fields, Fault::InvalidAmount, "amount")?;
    fields.finish()?;
    let missing = || {
        let cases = Case::ALL.map(Case::name).join(", ");
        ApiError::at(Fault::InvalidRequest, "case", format!("case is missing; give one of: {cases}"))
    };
    let case = case.ok_or_else(missing)?;
    let invoice = simulation.invoice(caller, &id).await?;
    let decimals = simulation.paid_in(case, &invoice)?.decimals;
    let amount = amount.map(|text| parse(&text, decimals)).transpose()?;
    let simulated = simulation.simulate(caller, &id, Wish { case, amount }).await?;
    Ok(Answer::data(InvoiceSnapshot::new(&simulated.invoice, &simulated.deposits, api.catalog.as_ref())))
}

fn parse(text: &str, decimals: Decimals) -> Result<Amount, ApiError> {
    Amount::parse(text, decimals)
        .map_err(|error| ApiError::at(Fault::InvalidAmount, "amount", format!("amount: {error}")))
}

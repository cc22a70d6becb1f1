//! The capability `signing`: statements for purposes that the operator granted. The guest gives a message, of which the host
//! takes the digest, and never sees or chooses what is signed.

use sha2::{Digest as _, Sha256};
use wasmtime::component::Resource;
use xthonpay_domain::text::LoanLabel;
use xthonpay_payments::port::lending::attestation::{AttestError, Statement};

use super::refusal::Refusal;
use crate::bindings::base::xthonpay::host::signing as wit;
use crate::grant::Capability;
use crate::instance::{CallState, Effects};

/// A signer that the guest has opened.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenSigner {
    label: LoanLabel,
}

impl wit::Host for CallState {}

impl wit::HostSigner for CallState {
    async fn open(&mut self, label: String) -> Result<Resource<OpenSigner>, Refusal> {
        self.ask(Capability::Signing, "open")?;
        let granted = self.profile.borrowed.signers.keys().find(|known| known.as_str() == label);
        let Some(label) = granted.cloned() else { return Err(self.not_granted(Capability::Signing, &label)) };
        Ok(self.table.push(OpenSigner { label })?)
    }

    async fn public_key(&mut self, handle: Resource<OpenSigner>) -> wasmtime::Result<Option<Vec<u8>>> {
        self.ask(Capability::Signing, "public-key")?;
        let label = &self.table.get(&handle)?.label;
        Ok(self.profile.borrowed.signers.get(label).map(|grant| grant.attestor.public_key()))
    }

    async fn attest(
        &mut self,
        handle: Resource<OpenSigner>,
        purpose: String,
        message: Vec<u8>,
    ) -> Result<wit::Signature, Refusal> {
        self.ask(Capability::Signing, "attest")?;
        let label = self.table.get(&handle)?.label.clone();
        let borrowed = &self.profile.borrowed;
        let (Some(grant), Some(plugin)) = (borrowed.signers.get(&label), borrowed.plugin.clone()) else {
            return Err(self.not_granted(Capability::Signing, label.as_str()));
        };
        if !grant.purposes.contains(&purpose) {
            let key = format!("plugins.{}.grants.signing.{label}.purposes", self.profile.name);
            return Err(Refusal::denied("purpose", format!("the purpose is not among {key}")));
        }
        if self.profile.effects == Effects::None {
            return Err(Refusal::denied("candidate", "a candidate that is only compared signs nothing"));
        }
        if !borrowed.may_sign(&label, grant, self.call.at) {
            let key = format!("plugins.{}.grants.signing.{label}.per_minute", self.profile.name);
            return Err(Refusal::over_limit("rate", format!("more signatures in a minute than {key} allows")));
        }
        let digest = Sha256::digest(&message).into();
        let statement = Statement { plugin, merchant: self.call.merchant.clone(), purpose, digest, at: self.call.at };
        let attested = grant.attestor.attest(statement).await.map_err(|error| match error {
            AttestError::NotRecorded(_) => Refusal::unavailable("audit_trail", "the audit trail cannot be written now"),
        })?;
        let scheme = attested.scheme.to_owned();
        Ok(wit::Signature { scheme, key_id: attested.key_id, value: attested.signature, attrs: Vec::new() })
    }

    async fn drop(&mut self, handle: Resource<OpenSigner>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

//! Transactions as they were signed, put together from their members in JSON.
//!
//! The bytes that a transaction's hash covers follow from its type: each type has its own members in its own order, and a
//! member of another type is not part of it. The encodings are alloy's. Signatures are not checked: the root of the header
//! covers them.

use alloy_consensus::transaction::from_eip155_value;
use alloy_consensus::{Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Signature, TxKind};
use thiserror::Error;

use super::{AccessedSlots, Delegation, Fixed, Quantity, WholeTransaction, Wide, address, bytes, number, word};

/// A transaction whose signed bytes cannot be put together here.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// A type that is not one of Ethereum's.
    #[error("the unknown type {0:#x}")]
    Type(u64),
    /// A member that its type has everywhere else.
    #[error("no usable {0}")]
    Member(&'static str),
}

impl Unknown {
    /// Always `false`: the same transaction looks the same the next time.
    #[cfg_attr(not(test), expect(dead_code, reason = "it becomes the port's error, which answers the same question"))]
    pub(crate) fn is_transient(self) -> bool {
        match self {
            Self::Type(_) | Self::Member(_) => false,
        }
    }
}

/// A transaction as it was signed.
#[derive(Debug)]
pub(crate) enum SignedTransaction {
    Legacy(Signed<TxLegacy>),
    Eip2930(Signed<TxEip2930>),
    Eip1559(Signed<TxEip1559>),
    Eip4844(Signed<TxEip4844>),
    Eip7702(Signed<TxEip7702>),
}

impl SignedTransaction {
    /// Appends the bytes that the transaction's hash and the root cover.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Legacy(signed) => signed.eip2718_encode(bytes),
            Self::Eip2930(signed) => signed.eip2718_encode(bytes),
            Self::Eip1559(signed) => signed.eip2718_encode(bytes),
            Self::Eip4844(signed) => signed.eip2718_encode(bytes),
            Self::Eip7702(signed) => signed.eip2718_encode(bytes),
        }
    }
}

impl WholeTransaction {
    /// What was signed.
    pub(super) fn signed(self) -> Result<SignedTransaction, Unknown> {
        Ok(match self.kind.map_or(0, |Quantity(kind)| kind) {
            0 => SignedTransaction::Legacy(self.legacy()?),
            1 => SignedTransaction::Eip2930(self.eip2930()?),
            2 => SignedTransaction::Eip1559(self.eip1559()?),
            3 => SignedTransaction::Eip4844(self.eip4844()?),
            4 => SignedTransaction::Eip7702(self.eip7702()?),
            other => return Err(Unknown::Type(other)),
        })
    }

    /// The first type names no chain but in its signature.
    fn legacy(self) -> Result<Signed<TxLegacy>, Unknown> {
        let (odd, chain_id) = from_eip155_value(present(self.v, "v")?.0).ok_or(Unknown::Member("v"))?;
        let signature = self.signature(odd)?;
        let tx = TxLegacy {
            chain_id,
            nonce: self.nonce.0,
            gas_price: present(self.gas_price, "gasPrice")?.0,
            gas_limit: self.gas.0,
            to: recipient(self.to),
            value: number(self.value),
            input: bytes(self.input),
        };
        Ok(Signed::new_unhashed(tx, signature))
    }

    fn eip2930(self) -> Result<Signed<TxEip2930>, Unknown> {
        let signature = self.typed_signature()?;
        let tx = TxEip2930 {
            chain_id: self.chain_id()?,
            nonce: self.nonce.0,
            gas_price: present(self.gas_price, "gasPrice")?.0,
            gas_limit: self.gas.0,
            to: recipient(self.to),
            value: number(self.value),
            access_list: access_list(self.access_list),
            input: bytes(self.input),
        };
        Ok(Signed::new_unhashed(tx, signature))
    }

    fn eip1559(self) -> Result<Signed<TxEip1559>, Unknown> {
        let signature = self.typed_signature()?;
        let (max_fee_per_gas, max_priority_fee_per_gas) = self.fees()?;
        let tx = TxEip1559 {
            chain_id: self.chain_id()?,
            nonce: self.nonce.0,
            gas_limit: self.gas.0,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: recipient(self.to),
            value: number(self.value),
            access_list: access_list(self.access_list),
            input: bytes(self.input),
        };
        Ok(Signed::new_unhashed(tx, signature))
    }

    fn eip4844(self) -> Result<Signed<TxEip4844>, Unknown> {
        let signature = self.typed_signature()?;
        let (max_fee_per_gas, max_priority_fee_per_gas) = self.fees()?;
        let blobs = present(self.blob_versioned_hashes.as_ref(), "blobVersionedHashes")?;
        let tx = TxEip4844 {
            chain_id: self.chain_id()?,
            nonce: self.nonce.0,
            gas_limit: self.gas.0,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: address(present(self.to, "to")?),
            value: number(self.value),
            blob_versioned_hashes: blobs.iter().copied().map(word).collect(),
            max_fee_per_blob_gas: present(self.max_fee_per_blob_gas, "maxFeePerBlobGas")?.0,
            access_list: access_list(self.access_list),
            input: bytes(self.input),
        };
        Ok(Signed::new_unhashed(tx, signature))
    }

    fn eip7702(self) -> Result<Signed<TxEip7702>, Unknown> {
        let signature = self.typed_signature()?;
        let (max_fee_per_gas, max_priority_fee_per_gas) = self.fees()?;
        let delegations = present(self.authorization_list.as_ref(), "authorizationList")?;
        let tx = TxEip7702 {
            authorization_list: delegations.iter().map(Delegation::signed).collect::<Result<_, _>>()?,
            chain_id: self.chain_id()?,
            nonce: self.nonce.0,
            gas_limit: self.gas.0,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: address(present(self.to, "to")?),
            value: number(self.value),
            access_list: access_list(self.access_list),
            input: bytes(self.input),
        };
        Ok(Signed::new_unhashed(tx, signature))
    }

    fn signature(&self, odd: bool) -> Result<Signature, Unknown> {
        Ok(Signature::new(number(present(self.r, "r")?), number(present(self.s, "s")?), odd))
    }

    /// The signature of every type but the first. Nodes name the parity `yParity`, `v`, or both.
    fn typed_signature(&self) -> Result<Signature, Unknown> {
        let parity = self.y_parity.map(|Quantity(parity)| u128::from(parity)).or(self.v.map(|Wide(v)| v));
        match present(parity, "yParity")? {
            0 => self.signature(false),
            1 => self.signature(true),
            _ => Err(Unknown::Member("yParity")),
        }
    }

    fn chain_id(&self) -> Result<u64, Unknown> {
        present(self.chain_id, "chainId").map(|Quantity(id)| id)
    }

    /// The most that is paid for gas, and for precedence.
    fn fees(&self) -> Result<(u128, u128), Unknown> {
        let (most, precedence) = (self.max_fee_per_gas, self.max_priority_fee_per_gas);
        Ok((present(most, "maxFeePerGas")?.0, present(precedence, "maxPriorityFeePerGas")?.0))
    }
}

impl Delegation {
    fn signed(&self) -> Result<SignedAuthorization, Unknown> {
        let inner =
            Authorization { chain_id: number(self.chain_id), address: address(self.address), nonce: self.nonce.0 };
        // The chain does not check it before the transaction is in the block, so any byte may stand here.
        let parity = u8::try_from(self.y_parity.0).map_err(|_| Unknown::Member("yParity"))?;
        Ok(SignedAuthorization::new_unchecked(inner, parity, number(self.r), number(self.s)))
    }
}

fn present<T>(member: Option<T>, name: &'static str) -> Result<T, Unknown> {
    member.ok_or(Unknown::Member(name))
}

fn recipient(to: Option<Fixed<20>>) -> TxKind {
    to.map_or(TxKind::Create, |to| TxKind::Call(address(to)))
}

fn access_list(slots: Option<Vec<AccessedSlots>>) -> AccessList {
    let item = |slots: AccessedSlots| AccessListItem {
        address: address(slots.address),
        storage_keys: slots.storage_keys.into_iter().map(word).collect(),
    };
    AccessList(slots.unwrap_or_default().into_iter().map(item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(members: &str) -> Result<SignedTransaction, Unknown> {
        let (hash, address) = ("11".repeat(32), "22".repeat(20));
        let text = format!(
            r#"{{"hash":"0x{hash}","from":"0x{address}","to":"0x{address}","value":"0x1","nonce":"0x1","gas":"0x1",
                "input":"0x","gasPrice":"0x1","r":"0x1","s":"0x1"{members}}}"#
        );
        serde_json::from_str::<WholeTransaction>(&text).expect("well formed").signed()
    }

    const FEES: &str = r#","maxFeePerGas":"0x3","maxPriorityFeePerGas":"0x2","chainId":"0x38","yParity":"0x1""#;

    #[test]
    fn what_cannot_be_put_together_is_told_apart() {
        let table = [
            (r#","v":"0x1b""#.to_owned(), None),
            (r#","v":"0x1d""#.to_owned(), Some(Unknown::Member("v"))),
            (String::new(), Some(Unknown::Member("v"))),
            (format!(r#"{FEES},"type":"0x2""#), None),
            (format!(r#"{FEES},"type":"0x3""#), Some(Unknown::Member("blobVersionedHashes"))),
            (format!(r#"{FEES},"type":"0x4""#), Some(Unknown::Member("authorizationList"))),
            (r#","type":"0x7e""#.to_owned(), Some(Unknown::Type(0x7e))),
            (r#","type":"0x2","v":"0x2""#.to_owned(), Some(Unknown::Member("yParity"))),
            (r#","type":"0x1","v":"0x1""#.to_owned(), Some(Unknown::Member("chainId"))),
        ];
        for (members, expected) in table {
            let found = transaction(&members).err();
            assert_eq!(found, expected, "{members}");
            assert!(!found.is_some_and(Unknown::is_transient));
        }
    }

    /// No development chain mines a transaction with blobs; its bytes are written here from EIP-4844.
    #[test]
    fn a_transaction_with_blobs_is_encoded_as_its_proposal_says() {
        let blob = "01".repeat(32);
        let members = format!(r#"{FEES},"type":"0x3","maxFeePerBlobGas":"0x4","blobVersionedHashes":["0x{blob}"]"#);
        let mut encoded = Vec::new();
        transaction(&members).expect("known").encode(&mut encoded);
        let mut expected = vec![0x03];
        // 0x03 || rlp([chain_id, nonce, tip, fee, gas, to, value, data, access_list, blob_fee, [hashes], parity, r, s])
        let fields = [
            vec![0x38, 0x01, 0x02, 0x03, 0x01, 0x94],
            vec![0x22; 20],
            vec![0x01, 0x80, 0xc0, 0x04, 0xe1, 0xa0],
            vec![0x01; 32],
            vec![0x01, 0x01, 0x01],
        ]
        .concat();
        expected.extend([0xf8, u8::try_from(fields.len()).expect("short")]);
        expected.extend(fields);
        assert_eq!(encoded, expected);
    }
}

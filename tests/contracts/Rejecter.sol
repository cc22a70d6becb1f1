// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Refuses every call and every value. Its runtime code, set at an address, makes a plain transfer to it fail.
contract Rejecter {
    receive() external payable {
        revert("no thanks");
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface Erc20 {
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// Pays many recipients in one transaction; a recipient may appear more than once.
contract Disperse {
    /// Moves the caller's tokens; the caller has approved this contract before.
    function disperseToken(address token, address[] calldata recipients, uint256[] calldata amounts) external {
        require(recipients.length == amounts.length, "lengths differ");
        for (uint256 i = 0; i < recipients.length; i++) {
            require(Erc20(token).transferFrom(msg.sender, recipients[i], amounts[i]), "transfer refused");
        }
    }

    /// Sends the value of the call; the amounts must sum to it. Recipients receive by internal calls, which leave no log.
    function disperseNative(address[] calldata recipients, uint256[] calldata amounts) external payable {
        require(recipients.length == amounts.length, "lengths differ");
        uint256 rest = msg.value;
        for (uint256 i = 0; i < recipients.length; i++) {
            rest -= amounts[i];
            (bool sent,) = recipients[i].call{value: amounts[i]}("");
            require(sent, "recipient refused");
        }
        require(rest == 0, "value left over");
    }
}

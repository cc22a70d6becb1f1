import { call } from "./xthonpay.mjs";

const order = { amount: "50.00", asset: "USDT", external_id: "order_12345" };
const { data: invoice } = await call("POST", "/api/v1/invoices", order);
console.log("pay", invoice.amount, invoice.asset, "on", invoice.chain, "to", invoice.deposit_address);

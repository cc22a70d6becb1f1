from xthonpay import call

invoice = call("POST", "/api/v1/invoices", {"amount": "50.00", "asset": "USDT", "external_id": "order_12345"})["data"]
print("pay", invoice["amount"], invoice["asset"], "on", invoice["chain"], "to", invoice["deposit_address"])

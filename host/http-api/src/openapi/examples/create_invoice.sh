. ./xthonpay.sh
call POST /api/v1/invoices '{"amount":"50.00","asset":"USDT","external_id":"order_12345"}'

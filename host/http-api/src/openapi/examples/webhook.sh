# Checks a delivery that was saved: its body in the file `body`, its headers in the variables.
# Needs XTHONPAY_WEBHOOK_SECRET, ID, TIMESTAMP and SIGNATURES, the values of webhook-id, webhook-timestamp and
# webhook-signature.
key=$(printf '%s' "${XTHONPAY_WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
expected=v1,$({ printf '%s.%s.' "$ID" "$TIMESTAMP"; cat body; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
case " $SIGNATURES " in
*" $expected "*) echo "the signature holds" ;;
*) echo "the signature does not hold" && exit 1 ;;
esac

# Signed calls with curl and openssl: `. ./xthonpay.sh`, then `call METHOD PATH [BODY]`; PATH may have a query.
# Needs XTHONPAY_KEY and XTHONPAY_SECRET in the environment. openssl is given the secret on its command line, which other
# users of the same machine can read: elsewhere than on your own, prefer Python or JavaScript.
: "${XTHONPAY_URL:=https://pay.example}"

call() {
    timestamp=$(date +%s)
    # Signed are the time stamp, the method, the path without its query, and the bytes of the body.
    signature=$(printf '%s\n%s\n%s\n%s' "$timestamp" "$1" "${2%%\?*}" "${3-}" |
        openssl dgst -sha256 -hmac "$XTHONPAY_SECRET" -r | cut -d ' ' -f 1)
    set -- "$1" "$2" ${3+--header "Content-Type: application/json" --data-raw "$3"}
    method=$1 target=$2
    shift 2
    curl --silent --show-error --fail-with-body --max-time 15 --request "$method" "$XTHONPAY_URL$target" \
        --header "X-API-Key: $XTHONPAY_KEY" \
        --header "X-Timestamp: $timestamp" \
        --header "X-Signature: $signature" \
        "$@"
}

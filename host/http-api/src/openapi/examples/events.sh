# Prints one page of what has happened since the last time.
. ./xthonpay.sh
cursor=$(cat cursor.txt 2>/dev/null || true)
page=$(call GET "/api/v1/events?limit=100${cursor:+&cursor=$cursor}") || exit 1
printf '%s\n' "$page"
# The place to go on from is the last field but one.
printf '%s' "$page" | sed -n 's/.*"next_cursor":"\([^"]*\)".*/\1/p' >cursor.txt

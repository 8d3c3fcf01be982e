# Sends the mail in the file MAIL_FILE with swaks.
exec swaks --server "$SMTP_HOST:$SMTP_PORT" --tls --tls-verify --tls-ca-path "$SMTP_CA" \
    --auth PLAIN --auth-user "$SMTP_USER" --auth-password "$SMTP_PASSWORD" \
    --from "$MAIL_FROM" --to "$MAIL_TO,$MAIL_BCC" --data "@$MAIL_FILE"

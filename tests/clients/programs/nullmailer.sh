# Sends the mail in the file MAIL_FILE with nullmailer's SMTP program: a message as its queue has it, the options as its
# nullmailer-send writes them.
queued=$HOME/queued
{
    printf '%s\n' "$MAIL_FROM" "$MAIL_TO" "$MAIL_BCC" ''
    tr -d '\r' <"$MAIL_FILE"
} >"$queued"
printf '%s\n' "host=$SMTP_HOST" "port=$SMTP_PORT" starttls "x509cafile=$SMTP_CA" \
    "user=$SMTP_USER" "pass=$SMTP_PASSWORD" '' | HELOHOST=client.example.com "$1" 3<"$queued"

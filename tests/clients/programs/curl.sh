# Sends the mail in the file MAIL_FILE with curl.
exec curl --silent --show-error --ssl-reqd --cacert "$SMTP_CA" \
    --url "smtp://$SMTP_HOST:$SMTP_PORT" --user "$SMTP_USER:$SMTP_PASSWORD" \
    --mail-from "$MAIL_FROM" --mail-rcpt "$MAIL_TO" --mail-rcpt "$MAIL_BCC" \
    --upload-file "$MAIL_FILE"

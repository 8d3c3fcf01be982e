# Sends the mail in the file MAIL_FILE with msmtp, as a program would that calls sendmail -t.
exec msmtp --file=/dev/null --host="$SMTP_HOST" --port="$SMTP_PORT" \
    --tls=on --tls-starttls=on --tls-trust-file="$SMTP_CA" \
    --auth=on --user="$SMTP_USER" --passwordeval='printenv SMTP_PASSWORD' \
    --from="$MAIL_FROM" --read-recipients <"$MAIL_FILE"

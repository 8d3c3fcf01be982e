# Sends one mail of text and attachment with s-nail, the mail command of cron jobs and scripts. It makes no HTML.
printf %s "$MAIL_TEXT" | exec s-nail -:/ -S v15-compat -S ttycharset=utf-8 -S sendcharsets=utf-8 -S sendwait -S nosave \
    -S mta="smtp://$SMTP_HOST:$SMTP_PORT" -S smtp-use-starttls -S tls-ca-file="$SMTP_CA" -S tls-verify=strict \
    -S smtp-auth=plain -S user="$SMTP_USER" -S password="$SMTP_PASSWORD" \
    -S from="$MAIL_FROM_NAME <$MAIL_FROM>" -s "$MAIL_SUBJECT" -b "$MAIL_BCC" -a "$MAIL_ATTACHMENT" "$MAIL_TO"

# Sends one mail with Ruby's mail library.
require 'mail'

Mail.defaults do
  delivery_method :smtp,
                  address: ENV['SMTP_HOST'],
                  port: ENV['SMTP_PORT'].to_i,
                  enable_starttls: true,
                  ca_file: ENV['SMTP_CA'],
                  openssl_verify_mode: 'peer',
                  authentication: :plain,
                  user_name: ENV['SMTP_USER'],
                  password: ENV['SMTP_PASSWORD']
end

sender = Mail::Address.new(ENV['MAIL_FROM'])
sender.display_name = ENV['MAIL_FROM_NAME']

Mail.deliver do
  from sender.format
  to ENV['MAIL_TO']
  bcc ENV['MAIL_BCC']
  subject ENV['MAIL_SUBJECT']
  text_part do
    content_type 'text/plain; charset=UTF-8'
    body ENV['MAIL_TEXT']
  end
  html_part do
    content_type 'text/html; charset=UTF-8'
    body ENV['MAIL_HTML']
  end
  add_file ENV['MAIL_ATTACHMENT']
end

# Sends one mail with Net::SMTP, which carries bytes: what composes the mail stands here.
use strict;
use warnings;
use Encode qw(decode_utf8 encode);
use File::Basename qw(basename);
use MIME::Base64 qw(encode_base64);
use Net::SMTP;

# Octets, as everything that goes to Net::SMTP must be: encode('MIME-Header') returns characters, and with one string of
# those in it Net::SMTP miscounts the rest.
sub header { encode('ascii', encode('MIME-Header', decode_utf8(shift))) }

sub base64_part {
    my ($type, $content, @more) = @_;
    return join "\n", "Content-Type: $type", 'Content-Transfer-Encoding: base64', @more, '', encode_base64($content);
}

open my $file, '<:raw', $ENV{MAIL_ATTACHMENT} or die "$ENV{MAIL_ATTACHMENT}: $!";
my $pdf  = do { local $/; <$file> };
my $name = header(basename $ENV{MAIL_ATTACHMENT});

my $mail = join "\n",
    'From: ' . header($ENV{MAIL_FROM_NAME}) . " <$ENV{MAIL_FROM}>",
    "To: $ENV{MAIL_TO}",
    "Bcc: $ENV{MAIL_BCC}",
    'Subject: ' . header($ENV{MAIL_SUBJECT}),
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary="mixed"',
    '',
    '--mixed',
    'Content-Type: multipart/alternative; boundary="alternative"',
    '',
    '--alternative',
    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n$ENV{MAIL_TEXT}",
    '--alternative',
    base64_part('text/html; charset=utf-8', $ENV{MAIL_HTML}),
    '--alternative--',
    '--mixed',
    base64_part('application/pdf', $pdf, "Content-Disposition: attachment; filename=\"$name\""),
    '--mixed--',
    '';

my $smtp = Net::SMTP->new($ENV{SMTP_HOST}, Port => $ENV{SMTP_PORT}) or die "connect: $@";
$smtp->starttls(SSL_ca_file => $ENV{SMTP_CA})       or die 'STARTTLS: ' . ($@ || $smtp->message);
$smtp->auth($ENV{SMTP_USER}, $ENV{SMTP_PASSWORD})   or die 'AUTH: ', $smtp->code, ' ', $smtp->message;
$smtp->mail($ENV{MAIL_FROM})                        or die 'MAIL: ', $smtp->code, ' ', $smtp->message;
$smtp->to($ENV{MAIL_TO}, $ENV{MAIL_BCC})            or die 'RCPT: ', $smtp->code, ' ', $smtp->message;
$smtp->data($mail)                                  or die 'DATA: ', $smtp->code, ' ', $smtp->message;
$smtp->quit;

<?php
// Sends one mail with PHPMailer.
require '/usr/share/php/libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

$mail = new PHPMailer(true);
$mail->isSMTP();
$mail->Host = getenv('SMTP_HOST');
$mail->Port = getenv('SMTP_PORT');
$mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;
$mail->SMTPOptions = ['ssl' => ['cafile' => getenv('SMTP_CA')]];
$mail->SMTPAuth = true;
$mail->Username = getenv('SMTP_USER');
$mail->Password = getenv('SMTP_PASSWORD');

$mail->CharSet = PHPMailer::CHARSET_UTF8;
$mail->setFrom(getenv('MAIL_FROM'), getenv('MAIL_FROM_NAME'));
$mail->addAddress(getenv('MAIL_TO'));
$mail->addBCC(getenv('MAIL_BCC'));
$mail->Subject = getenv('MAIL_SUBJECT');
$mail->msgHTML(getenv('MAIL_HTML'));
$mail->AltBody = getenv('MAIL_TEXT');
$mail->addAttachment(getenv('MAIL_ATTACHMENT'));
$mail->send();

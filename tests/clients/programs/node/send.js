// Sends one mail with nodemailer.
const { readFileSync } = require("node:fs");
const nodemailer = require("nodemailer");

const env = process.env;
const transport = nodemailer.createTransport({
  host: env.SMTP_HOST,
  port: Number(env.SMTP_PORT),
  secure: false,
  requireTLS: true,
  auth: { user: env.SMTP_USER, pass: env.SMTP_PASSWORD },
  tls: { ca: readFileSync(env.SMTP_CA) },
});

transport
  .sendMail({
    from: { name: env.MAIL_FROM_NAME, address: env.MAIL_FROM },
    to: env.MAIL_TO,
    bcc: env.MAIL_BCC,
    subject: env.MAIL_SUBJECT,
    text: env.MAIL_TEXT,
    html: env.MAIL_HTML,
    attachments: [{ path: env.MAIL_ATTACHMENT }],
  })
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
